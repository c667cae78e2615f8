"""Pictures of 3D bodies: numpy arrays in, pictures, films and figures out.

Holds stills (`volume`), films (`animate`), film strips, flat views (`slices`), plots (`curves`, `timeline`, `costs`) and
the figures of a study (`heat_map`, `recovery`, `envelope`, `bars`, `compare`, `spectrum`).
Imports nothing of nca3d; pyvista, matplotlib, Pillow and ffmpeg load when a picture that needs them is drawn.
Arrays are (D,H,W,4) or (T,D,H,W,4), straight RGBA 0..1; x runs along W, y along H, z along D and up on screen.
"""

from visualize.animate import animate
from visualize.costs import Panel, costs
from visualize.curves import curves, logged, timeline
from visualize.dots import bars, compare
from visualize.envelope import envelope
from visualize.film_strip import film_strip
from visualize.heat_map import heat_map
from visualize.recovery import recovery
from visualize.slices import slices
from visualize.spectrum import spectrum
from visualize.volume import volume

__all__ = [
    "Panel", "animate", "bars", "compare", "costs", "curves", "envelope", "film_strip", "heat_map", "logged", "recovery",
    "slices", "spectrum", "timeline", "volume",
]  # fmt: skip
