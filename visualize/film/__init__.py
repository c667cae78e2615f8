"""Bodies in time: films (`animate`, `side_by_side`, `layers_film`), film strips, and who writes .mp4, .gif and .webp.

May import what all rooms share, `render` and `charts`.
Doors: `Screen` (one picture of a film of layers), `activity_limits` (one range of colours for a whole film), `stills` (the
pictures of a strip, each for itself), `has_ffmpeg`.
"""

from visualize.fields import activity_limits
from visualize.film.layers_screen import Screen
from visualize.film.mp4 import has_ffmpeg
from visualize.film.stills import stills

__all__ = ["Screen", "activity_limits", "has_ffmpeg", "stills"]
