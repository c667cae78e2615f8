"""Is it alive? What a trained rule grows, holds and heals, measured on fire masks that training never used.

Holds the studies of bodies (`persistence`, `regeneration`, `robustness`, `emergence`, `laws`) and of cubes (`cube`,
`cube_hurt`, `specialisation`), `evaluate` that makes them, and the pages. May import everything below it (`lattice` …
`losses`), `pools`, and `visualize` inside functions of what draws: `report.py`, `study.py`, `cube_pictures.py` and
`cube_report.py`.
"""

from nca3d.evaluation.evaluate import evaluate
from nca3d.evaluation.laws.checks import check_laws
from nca3d.evaluation.presets import PRESETS, Preset, Wound
from nca3d.reports.report import Report

__all__ = ["PRESETS", "Preset", "Report", "Wound", "check_laws", "evaluate"]
