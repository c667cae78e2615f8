"""Pictures of 3D bodies: numpy arrays in, pictures, films and figures out.

Holds stills (`volume`), films (`animate`, `side_by_side`), film strips, flat views (`slices`, `cuts`), the layers of a cube
(`layers`, `layers_film`), `kymograph`, plots (`curves`, `timeline`, `costs`, `batch_curves`), the figures of a study
(`heat_map`, `recovery`, `envelope`, `dot_plot`, `grouped_dot_plot`, `strip_plot`, `compare`, `dose_response`, `spectrum`),
pages that play in a browser (`viewer`) and files for other tools (`save`).
Imports nothing of nca3d; pyvista, matplotlib, Pillow, ffmpeg, trimesh and zarr load when something that needs them is made.
Arrays are (D,H,W,4) or (T,D,H,W,4), straight RGBA 0..1; x runs along W, y along H, z along D and up on screen.

In rooms, each of which says what it may import: `render` and `charts` stand on what all share (`arguments`, `clock`, `fields`,
`files`, `frames`), `film` on both, `formats` on `render`, `viewer` on what all share. Doors are looked up when they are first
used. No file or room up here bears the name of a function, so that none takes its place.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visualize import charts as charts
    from visualize import film as film
    from visualize import formats as formats
    from visualize import render as render
    from visualize import viewer
    from visualize.charts.batch_curves import batch_curves
    from visualize.charts.costs import Panel, costs
    from visualize.charts.curves import curves, logged, timeline
    from visualize.charts.cuts import cuts
    from visualize.charts.dose_response import dose_response
    from visualize.charts.dot_plot import compare, dot_plot
    from visualize.charts.envelope import envelope
    from visualize.charts.grouped_dot_plot import grouped_dot_plot
    from visualize.charts.heat_map import heat_map
    from visualize.charts.kymograph import kymograph
    from visualize.charts.layers import layers
    from visualize.charts.recovery import recovery
    from visualize.charts.slices import slices
    from visualize.charts.spectrum import spectrum
    from visualize.charts.strip_plot import strip_plot
    from visualize.film.animate import animate
    from visualize.film.film_strip import film_strip
    from visualize.film.layers_film import layers_film
    from visualize.film.side_by_side import side_by_side
    from visualize.formats import save
    from visualize.render.volume import volume
else:

    def __getattr__(name: str) -> object:
        name = _FORMER.get(name, name)
        if name in _HOMES:
            value = getattr(importlib.import_module(f"visualize.{_HOMES[name]}"), name)
        elif name in _ROOMS:
            value = importlib.import_module(f"visualize.{name}")
        else:
            raise AttributeError(f"module 'visualize' has no attribute {name!r}")
        globals()[name] = value
        return value


_HOMES = {
    "Panel": "charts.costs",
    "animate": "film.animate",
    "batch_curves": "charts.batch_curves",
    "compare": "charts.dot_plot",
    "costs": "charts.costs",
    "curves": "charts.curves",
    "cuts": "charts.cuts",
    "dose_response": "charts.dose_response",
    "dot_plot": "charts.dot_plot",
    "envelope": "charts.envelope",
    "film_strip": "film.film_strip",
    "grouped_dot_plot": "charts.grouped_dot_plot",
    "heat_map": "charts.heat_map",
    "kymograph": "charts.kymograph",
    "layers": "charts.layers",
    "layers_film": "film.layers_film",
    "logged": "charts.curves",
    "recovery": "charts.recovery",
    "save": "formats",
    "side_by_side": "film.side_by_side",
    "slices": "charts.slices",
    "spectrum": "charts.spectrum",
    "strip_plot": "charts.strip_plot",
    "timeline": "charts.curves",
    "volume": "render.volume",
}
# Names that some functions had before: scripts that say them go on working.
_FORMER = {"bars": "dot_plot", "doses": "dose_response", "rivals": "grouped_dot_plot"}
_ROOMS = ("charts", "film", "formats", "render", "viewer")

__all__ = [
    "Panel",
    "animate",
    "batch_curves",
    "compare",
    "costs",
    "curves",
    "cuts",
    "dose_response",
    "dot_plot",
    "envelope",
    "film_strip",
    "grouped_dot_plot",
    "heat_map",
    "kymograph",
    "layers",
    "layers_film",
    "logged",
    "recovery",
    "save",
    "side_by_side",
    "slices",
    "spectrum",
    "strip_plot",
    "timeline",
    "viewer",
    "volume",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
