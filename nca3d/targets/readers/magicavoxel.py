"""MagicaVoxel files (.vox): a model, or the scene of all of them, in its own colours; `vox_chunks` reads the format."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.options import MAX_CELLS
from nca3d.targets.readers.vox_chunks import Transform, VoxFile, read_chunks
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, VolumeOptions, from_volume

# The most nodes that are visited: groups may hold each other many times over, so that a small file unfolds into billions.
MAX_NODES, MAX_DEPTH = 1 << 16, 256

Extent = tuple[int, int, int]


class Instance(NamedTuple):
    """A model as it stands in the scene: v becomes rotation · v + shift, in whole voxels."""

    model: int
    rotation: np.ndarray
    shift: np.ndarray


def read_vox(
    path: Path, size: Wanted, *, model: int | str | None = None, kind: str = "rgb", **options: Unpack[VolumeOptions]
) -> Target:
    """Reads a target from a MagicaVoxel file: x, y and z of the file are those of the lattice, z up.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = its own cells and the margin.
        model: Which of several models, from 1 up, or "scene" = all of them as they stand, without what is hidden, in the
            first frame of an animation; None = the first with a voxel.
        kind: "rgb" = a body in the file's colours, "classes" = a class for each colour.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If the file is unreadable, truncated or too large, there is no such model, or nothing is in it.
    """
    if kind not in ("rgb", "classes"):
        raise InputError(path, "kind", repr(kind), "'rgb' (a body in colours) or 'classes' (one for each colour)")
    vox = read_chunks(path)
    voxels, extent, notes = _scene(vox, path) if model == "scene" else _model(vox, model, path)
    if not len(voxels):
        raise InputError(path, "voxels", "none", "a model, or a scene, with something in it")
    see_through = int((np.isin(voxels[:, 3], list(vox.glass)) | (vox.palette[voxels[:, 3], 3] < 255)).sum())
    if see_through:
        notes.append(f"{path.name}: {see_through:,} voxels of glass or of a transparent colour stand as solid cells")
    return from_volume(_volume(vox, voxels, extent, kind, notes), size, path, path.stem, **options)


def _model(vox: VoxFile, model: int | str | None, path: Path) -> tuple[np.ndarray, Extent, list[str]]:
    """Returns the voxels (n, 4) of one model, its size (x, y, z), and what was decided."""
    count = len(vox.models)
    allowed = f"1 to {count}, or 'scene' for all as they stand"
    if model is None:
        chosen = next((number for number, one in enumerate(vox.models) if len(one.voxels)), 0)
    elif isinstance(model, int) and not isinstance(model, bool) and 1 <= model <= count:
        chosen = model - 1
    else:
        raise InputError(path, "model", repr(model), allowed)
    size, voxels = vox.models[chosen]
    if model is not None or count == 1 or not len(voxels):
        return voxels, size, []
    which = "the first" if chosen == 0 else f"number {chosen + 1}, the first with a voxel"
    held = f"{len(np.unique(voxels[:, :3], axis=0)):,} cells of {' × '.join(map(str, size[::-1]))} (D × H × W)"
    others = f"model = {2 if chosen == 0 else chosen + 1}"
    others += " shows another frame" if vox.film else ', or model = "scene" for all as they stand'
    return (
        voxels,
        size,
        [f"{path.name}: {count} models{' (frames of an animation)' if vox.film else ''}: {which}, {held}; {others}"],
    )


def _scene(vox: VoxFile, path: Path) -> tuple[np.ndarray, Extent, list[str]]:
    """Returns the voxels (n, 4) of all models as they stand, from 0 up, their size (x, y, z), and what was decided.

    A model turns about the corner of voxels at floor(size / 2); where two overlap, the later one shows.
    """
    hidden: list[int] = []
    parts: list[np.ndarray] = []
    total = shown = 0
    for model, rotation, shift in _instances(vox, hidden, path):
        size, voxels = vox.models[model]
        total += len(voxels)
        shown += 1
        if total > MAX_CELLS:
            raise InputError(path, "scene", f"more than {MAX_CELLS:,} voxels", f"at most {MAX_CELLS:,}, or one model of it")
        # Twice the place of a voxel's middle: whole numbers, however the model is turned.
        middles = 2 * (voxels[:, :3].astype(np.int64) - np.array(size) // 2) + 1
        places = (middles @ rotation.T - 1) // 2 + shift
        parts.append(np.concatenate([places, voxels[:, 3:]], 1))
    if not total:
        found = f"nothing that is shown, {len(hidden)} hidden" if hidden or shown else "none in the file"
        raise InputError(path, "scene", found, f"model = 1 to {len(vox.models)}")
    voxels = np.concatenate(parts)
    low = voxels[:, :3].min(0)
    x, y, z = (int(n) for n in voxels[:, :3].max(0) - low + 1)
    if x * y * z > MAX_CELLS:
        allowed = f"at most {MAX_CELLS:,} cells in all, or one model of it: model = 1 to {len(vox.models)}"
        raise InputError(path, "scene", f"{z} × {y} × {x} cells (D × H × W)", allowed)
    voxels[:, :3] -= low
    said = f"{path.name}: a scene of {shown} placed model{'s' * (shown > 1)}"
    said += f"; hidden and left out: {len(hidden)}" if hidden else ""
    said += f"; the first frame of an animation ({len(vox.models)} models in the file)" if vox.film else ""
    return voxels, (x, y, z), [said]


def _instances(vox: VoxFile, hidden: list[int], path: Path) -> Iterator[Instance]:
    """Yields every model that is shown, in the order of the scene; the nodes that hide others are put into `hidden`.

    Without nodes, as in files of older versions, models are the frames of an animation: the first one is shown.
    """
    if not vox.nodes:
        yield Instance(0, np.eye(3, dtype=np.int64), np.zeros(3, np.int64))
        return
    still, visited = np.eye(3, dtype=np.int64), 0
    # Number of the node, how it is placed, and the nodes above it: one among these again would be a circle.
    waiting: list[tuple[int, np.ndarray, np.ndarray, frozenset[int]]] = [(0, still, np.zeros(3, np.int64), frozenset())]
    while waiting:
        number, rotation, shift, above = waiting.pop()
        visited += 1
        node = vox.nodes.get(number)
        if node is None or number in above or visited > MAX_NODES or len(above) > MAX_DEPTH:
            found = "missing" if node is None else "inside itself" if number in above else "one too many, or too deep"
            allowed = f"a scene like a tree, at most {MAX_NODES:,} nodes and {MAX_DEPTH} deep"
            raise InputError(path, "scene", f"node {number} {found}", allowed)
        if isinstance(node, Transform):
            if node.hidden or node.layer in vox.hidden_layers:
                hidden.append(number)
                continue
            shift = rotation @ node.shift + shift
            waiting.append((node.child, rotation @ node.rotation, shift, above | {number}))
        elif isinstance(node, list):
            waiting += [(child, rotation, shift, above | {number}) for child in reversed(node)]
            if len(waiting) > MAX_NODES:
                raise InputError(path, "scene", f"{len(waiting):,} nodes and more", f"at most {MAX_NODES:,}")
        elif not 0 <= node < len(vox.models):
            raise InputError(path, "scene", f"model {node} of {len(vox.models)}", f"0 to {len(vox.models) - 1}")
        else:
            yield Instance(node, rotation, shift)


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
