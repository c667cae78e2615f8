"""Is it alive? What a trained rule grows, holds and heals, measured on fire masks that training never used.

`evaluate` fills a report (`nca3d.reports`) by the `studies` of a body, `laws` checks what must hold for any rule, and
`story.py` films a life. The package may import everything below it (`lattice` … `losses`, `reports`) and `pools`.
"""

from nca3d.evaluation.evaluate import evaluate
from nca3d.evaluation.laws.checks import check_laws
from nca3d.evaluation.presets import PRESETS, Preset
from nca3d.evaluation.wounds import Wound
from nca3d.reports.report import Report

__all__ = ["PRESETS", "Preset", "Report", "Wound", "check_laws", "evaluate"]
