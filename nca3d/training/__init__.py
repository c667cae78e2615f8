"""How a rule learns. Start with `loop.py` and `step.py`; the rest serves them.

May import everything below it (`lattice` … `losses`) and `pools`; `nca3d.train` is `experiment.train`, which adds the report.
"""
