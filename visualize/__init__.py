"""Pictures of 3D bodies: numpy arrays in, pictures, films and figures out.

Holds stills (`volume`), films (`animate`), film strips, flat views (`slices`) and plots (`curves`, `timeline`, `costs`).
Imports nothing of nca3d; pyvista, matplotlib, Pillow and ffmpeg load when a picture that needs them is drawn.
Arrays are (D,H,W,4) or (T,D,H,W,4), straight RGBA 0..1; x runs along W, y along H, z along D and up on screen.
"""

from visualize.animate import animate
from visualize.costs import Panel, costs
from visualize.curves import curves, timeline
from visualize.film_strip import film_strip
from visualize.slices import slices
from visualize.volume import volume

__all__ = ["Panel", "animate", "costs", "curves", "film_strip", "slices", "timeline", "volume"]
