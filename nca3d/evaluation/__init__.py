"""Is it alive? What a trained rule grows, holds and heals, measured on fire masks that training never used.

May import everything below it (`lattice` … `losses`), `pools`, and `visualize` inside functions of `report.py` alone.
"""

from nca3d.evaluation.evaluate import PRESETS, Preset, Report, evaluate

__all__ = ["PRESETS", "Preset", "Report", "evaluate"]
