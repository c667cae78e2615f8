"""Lattices with a side of one cell: planes across each axis, a row of cells, and a single one."""

FLAT = [(1, 9, 8), (7, 1, 8), (7, 6, 1), (1, 1, 9), (9, 1, 1), (1, 1, 1)]
