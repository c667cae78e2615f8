"""How fast and how lean the executors are on this machine: `nca3d bench`, and what a setting will cost before it is run.

Start with `settings.py` (what is measured), `textbook.py` (what it is measured against) and `measure.py` (how). May import
everything up to `rollout`. `settings` and `command` load no torch, so that bad input is refused at once.
"""
