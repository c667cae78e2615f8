"""What data may hold, the one way: `spec.py` is one field, `record.py` a table of them, `saved.py` what a training saves.

May import `errors` alone; no torch. Tensors are looked at by those who know what they are of.
"""
