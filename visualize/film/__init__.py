"""Bodies in time: films (`animate`, `side_by_side`, `layers_film`), film strips, and who writes .mp4, .gif and .webp.

May import what all rooms share, `render` and `charts`.
"""
