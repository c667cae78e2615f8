"""MagicaVoxel files (.vox): a model, or the scene of all of them, in its own colours.

`vox_chunks` reads the format, `vox_models` chooses a model, `vox_scene` places all of them.
"""

from pathlib import Path
from typing import Unpack

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.readers.vox_chunks import VoxFile, read_chunks
from nca3d.targets.readers.vox_models import one_model
from nca3d.targets.readers.vox_scene import Extent, whole_scene
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, VolumeOptions, from_volume


def read_vox(
    path: Path, size: Wanted, *, model: int | str | None = None, kind: str = "rgb", **options: Unpack[VolumeOptions]
) -> Target:
    """Reads a target from a MagicaVoxel file: x, y and z of the file are those of the lattice, z up.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = its own cells and the margin.
        model: Which of several models, from 1 up or from -1, the last, down, turned as its scene shows it; or "scene" = all
            of them as they stand, without what is hidden, in the first frame of an animation. None = the first that is
            shown; of a film that `visualize.save` wrote, the last.
        kind: "rgb" = a body in the file's colours, "classes" = a class for each colour.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If the file is unreadable, truncated or too large, there is no such model, or nothing is in it.
    """
    if kind not in ("rgb", "classes"):
        raise InputError(path, "kind", repr(kind), "'rgb' (a body in colours) or 'classes' (one for each colour)")
    vox = read_chunks(path)
    voxels, extent, notes = whole_scene(vox, path) if model == "scene" else one_model(vox, model, path)
    if not len(voxels):
        raise InputError(path, "voxels", "none", "a model, or a scene, with something in it")
    see_through = int((np.isin(voxels[:, 3], list(vox.glass)) | (vox.palette[voxels[:, 3], 3] < 255)).sum())
    if see_through:
        what = "voxel" if see_through == 1 else "voxels"
        stand = "stands as a solid cell" if see_through == 1 else "stand as solid cells"
        notes.append(f"{path.name}: {see_through:,} {what} of glass or of a transparent colour {stand}")
    return from_volume(_volume(vox, voxels, extent, kind, notes), size, path, path.stem, **options)


def _volume(vox: VoxFile, voxels: np.ndarray, extent: Extent, kind: str, notes: list[str]) -> Volume:
    """Returns voxels (n, 4), x, y, z from 0 up and an index, as RGBA or as labels in the lattice of that extent."""
    width, height, depth = extent
    x, y, z, index = voxels.T
    labels = np.zeros((depth, height, width), np.uint8)
    labels[z, y, x] = index
    if kind == "classes":
        palette = {label: tuple(colour) for label, colour in enumerate((vox.palette[:, :3] / 255).tolist())}
        return Volume(labels, cells=True, palette=palette, labels=True, notes=tuple(notes))
    colours = vox.palette.copy()
    colours[:, 3] = np.arange(256) > 0
    colours[:, 3] *= 255
    return Volume(colours[labels] * (labels > 0)[..., None], cells=True, notes=tuple(notes))
