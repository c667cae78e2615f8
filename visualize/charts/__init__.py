"""Figures of matplotlib: curves, costs and the figures of a study, and the flat views (slices, cuts, layers, kymographs).

May import what all rooms share (`arguments`, `clock`, `fields`, `files`, `frames`) and no other room.
"""
