"""The one door to files for other tools: the suffix says which."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from numpy.typing import ArrayLike

from visualize.errors import ArgumentError
from visualize.files import room_for, writable
from visualize.formats.content import Content, check_content
from visualize.formats.glb import write_glb
from visualize.formats.minecraft import write_schematic, write_structure
from visualize.formats.npz import write_npz
from visualize.formats.ome_zarr import write_zarr
from visualize.formats.vox import write_vox
from visualize.formats.vti import write_pvd, write_vti


class Format(NamedTuple):
    """Who writes a format, with which library, and the extra that installs it."""

    write: Callable[[Content, Path], None]
    library: str = ""
    extra: str = ""
    folder: bool = False


FORMATS = {
    ".pvd": Format(write_pvd, "pyvista", "viz"),
    ".vti": Format(write_vti, "pyvista", "viz"),
    ".glb": Format(write_glb, "trimesh", "viz"),
    ".vox": Format(write_vox),
    ".ome.zarr": Format(write_zarr, "zarr", "zarr", folder=True),
    ".zarr": Format(write_zarr, "zarr", "zarr", folder=True),
    ".npz": Format(write_npz),
    ".nbt": Format(write_structure, "nbtlib", "games"),
    ".schem": Format(write_schematic, "nbtlib", "games"),
}


def save(
    frames: ArrayLike,
    path: str | os.PathLike[str],
    *,
    steps: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    palette: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    cell_size: float = 1.0,
    progress: bool = False,
) -> Path:
    """Writes a film or a body for another tool; the suffix says which. Gives the path back.

    | suffix       | for                  | holds                                                                    |
    |--------------|----------------------|--------------------------------------------------------------------------|
    | `.pvd`       | ParaView             | all frames, a `.vti` each in the folder NAME_frames beside; labels       |
    | `.vti`       | ParaView, pyvista    | the last frame; labels                                                   |
    | `.glb`       | Blender, web viewers | the last frame: visible faces, vertex colours, y up                      |
    | `.vox`       | MagicaVoxel          | all frames as an animation, 255 colours, at most 256 cells a side        |
    | `.ome.zarr`  | napari, Fiji         | all frames (t,c,z,y,x), colour times alpha; labels                       |
    | `.npz`       | NumPy                | everything, as it was given                                              |
    | `.nbt`       | Minecraft            | the last frame: a structure, a block for each class or the nearest colour |
    | `.schem`     | WorldEdit and others | the same as a schematic of Sponge                                        |

    x runs along W, y along H, z along D and up. Cells with alpha above 0.1 make the bodies of `.glb` and `.vox`, which
    keep no labels, and of `.nbt` and `.schem`; non-finite cells are magenta. Classes that are named after blocks
    ("oak_planks") become these, others the block of a near colour: a `LossyWarning` says so in one line. An earlier file of the
    same name is replaced.

    Args:
        frames: (T,D,H,W,4) or (D,H,W,4), straight RGBA 0..1 (or uint8).
        path: in an existing folder.
        steps: (T,) increasing numbers, when each frame was; default 0, 1, 2, ...
        names: a word for each label from 0 ("empty") up.
        palette: (n,3) a colour for each label, 0..1 or uint8.
        labels: integers (T,D,H,W) or (D,H,W), a class for each cell, 0 empty.
        cell_size: edge of a cell in the file, in a unit of your own (`.glb`: metres, `.ome.zarr`: micrometres).
        progress: show a progress bar on stderr.

    Raises:
        ValueError: an argument can't be used, a library is missing, or the file can't hold this body; one line says
            which, and nothing is written.
    """
    target, chosen = _check_path(path)
    content = check_content(frames, steps, names, palette, labels, cell_size, progress)
    with room_for(target, "save"):
        chosen.write(content, target)
    return target


def _check_path(path: str | os.PathLike[str]) -> tuple[Path, Format]:
    """The path and how to write it, if a file can be written there."""
    name = Path(path).name.lower() if isinstance(path, str | os.PathLike) else ""
    suffix = next((known for known in FORMATS if name.endswith(known)), "")
    chosen = FORMATS.get(suffix, FORMATS[".npz"])  # what isn't known is refused in the next line
    target = writable(path, "save", tuple(FORMATS), folder=chosen.folder)
    if chosen.library and importlib.util.find_spec(chosen.library) is None:
        here = ", ".join(known for known, one in FORMATS.items() if not one.library)
        raise ArgumentError(
            "save", "path", f"{suffix} without {chosen.library}", f"{here} here, or after: pip install 'nca3d[{chosen.extra}]'"
        )
    return target, chosen
