"""Pictures of 3D bodies: numpy arrays in, pictures, films and figures out.

Holds stills (`volume`), films (`animate`, `side_by_side`), film strips, flat views (`slices`, `cuts`), the layers of a cube
(`layers`, `layers_film`), `kymograph`, plots (`curves`, `timeline`, `costs`), the figures of a study (`heat_map`, `recovery`,
`envelope`, `bars`, `compare`, `doses`, `rivals`, `spectrum`),
pages that play in a browser (`viewer`) and files for other tools (`save`).
Imports nothing of nca3d; pyvista, matplotlib, Pillow, ffmpeg, trimesh and zarr load when something that needs them is made.
Arrays are (D,H,W,4) or (T,D,H,W,4), straight RGBA 0..1; x runs along W, y along H, z along D and up on screen.
"""

from visualize import viewer
from visualize.charts.costs import Panel, costs
from visualize.charts.curves import curves, logged, timeline
from visualize.charts.cuts import cuts
from visualize.charts.doses import doses
from visualize.charts.dots import bars, compare
from visualize.charts.envelope import envelope
from visualize.charts.heat_map import heat_map
from visualize.charts.kymograph import kymograph
from visualize.charts.layers import layers
from visualize.charts.recovery import recovery
from visualize.charts.rivals import rivals
from visualize.charts.slices import slices
from visualize.charts.spectrum import spectrum
from visualize.film.animate import animate
from visualize.film.film_strip import film_strip
from visualize.film.layers_film import layers_film
from visualize.film.side_by_side import side_by_side
from visualize.formats import save
from visualize.render.volume import volume

__all__ = [
    "Panel",
    "animate",
    "bars",
    "compare",
    "costs",
    "curves",
    "cuts",
    "doses",
    "envelope",
    "film_strip",
    "heat_map",
    "kymograph",
    "layers",
    "layers_film",
    "logged",
    "recovery",
    "rivals",
    "save",
    "side_by_side",
    "slices",
    "spectrum",
    "timeline",
    "viewer",
    "volume",
]
