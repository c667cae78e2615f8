"""Figures of matplotlib: curves, costs and the figures of a study, and the flat views (slices, cuts, layers, kymographs).

May import what all rooms share (`arguments`, `clock`, `fields`, `files`, `frames`) and no other room.
Doors: `new_figure` and the colours of what is written and drawn in it (`COLOURS`, `INK`, `QUIET`), for figures of one's own.
"""

from visualize.charts.figure import COLOURS, INK, QUIET, new_figure

__all__ = ["COLOURS", "INK", "QUIET", "new_figure"]
