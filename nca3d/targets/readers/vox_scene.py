"""The scene of a MagicaVoxel file: where each model stands, which way it is turned, and whether it is shown."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.options import MAX_CELLS
from nca3d.targets.readers.vox_chunks import Model, Shape, Transform, VoxFile

# The most nodes that are visited: groups may hold each other many times over, so that a small file unfolds into billions.
MAX_NODES, MAX_DEPTH = 1 << 16, 256
STILL = np.eye(3, dtype=np.int64)

Extent = tuple[int, int, int]


class Instance(NamedTuple):
    """A shape as it stands in the scene: v becomes rotation · v + shift, in whole voxels.

    `models` are its frames in their order, one where nothing moves; `shown` is whether neither a node above it nor a layer
    hides it.
    """

    models: tuple[int, ...]
    rotation: np.ndarray
    shift: np.ndarray
    shown: bool


def instances(vox: VoxFile, path: Path) -> list[Instance]:
    """Returns every shape of a scene in the order of its nodes, hidden ones too.

    Without nodes, as in files of older versions, all models are the frames of one shape.

    Raises:
        InputError: If the nodes are no tree, are too many, or speak of models that aren't there.
    """
    origin = np.zeros(3, np.int64)
    if not vox.nodes:
        return [Instance(tuple(range(len(vox.models))), STILL, origin, True)]
    found: list[Instance] = []
    visited = 0
    # Number of the node, how it is placed, whether it is shown, and the nodes above it: one among these would be a circle.
    waiting: list[tuple[int, np.ndarray, np.ndarray, bool, frozenset[int]]] = [(0, STILL, origin, True, frozenset())]
    while waiting:
        number, rotation, shift, shown, above = waiting.pop()
        visited += 1
        node = vox.nodes.get(number)
        if node is None or number in above or visited > MAX_NODES or len(above) > MAX_DEPTH:
            wrong = "missing" if node is None else "inside itself" if number in above else "one too many, or too deep"
            allowed = f"a scene like a tree, at most {MAX_NODES:,} nodes and {MAX_DEPTH} deep"
            raise InputError(path, "scene", f"node {number} {wrong}", allowed)
        if isinstance(node, Transform):
            shown = shown and not (node.hidden or node.layer in vox.hidden_layers)
            shift = rotation @ node.shift + shift
            waiting.append((node.child, rotation @ node.rotation, shift, shown, above | {number}))
        elif isinstance(node, Shape):
            outside = [model for model in node.models or (-1,) if not 0 <= model < len(vox.models)]
            if outside:
                raise InputError(path, "scene", f"model {outside[0]} of {len(vox.models)}", f"0 to {len(vox.models) - 1}")
            found.append(Instance(node.models, rotation, shift, shown))
        else:
            waiting += [(child, rotation, shift, shown, above | {number}) for child in reversed(node)]
            if len(waiting) > MAX_NODES:
                raise InputError(path, "scene", f"{len(waiting):,} nodes and more", f"at most {MAX_NODES:,}")
    return found


def turned(model: Model, rotation: np.ndarray) -> Model:
    """Returns a model turned by a rotation (3, 3) inside its own box, from 0 up again."""
    size = np.array(model.size)
    width, height, depth = (np.abs(rotation) @ size).tolist()
    # Twice the way from the middle of the box to that of a voxel: whole numbers, however the model is turned.
    ways = (2 * model.voxels[:, :3].astype(np.int64) + 1 - size) @ rotation.T
    places = (ways + np.array((width, height, depth)) - 1) // 2
    return Model((width, height, depth), np.concatenate([places.astype(np.uint8), model.voxels[:, 3:]], 1))


def whole_scene(vox: VoxFile, path: Path) -> tuple[np.ndarray, Extent, list[str]]:
    """Returns the voxels (n, 4) of all that is shown, from 0 up, their size (x, y, z), and what was decided.

    A model turns about the corner of voxels at floor(size / 2); where two overlap, the later one shows. Of an animation
    it is the first frame.

    Raises:
        InputError: If the scene can't be read, is too large, or shows nothing.
    """
    standing = instances(vox, path)
    shown = [one for one in standing if one.shown]
    hidden = len(standing) - len(shown)
    parts: list[np.ndarray] = []
    total = 0
    for one in shown:
        size, voxels = vox.models[one.models[0]]
        total += len(voxels)
        if total > MAX_CELLS:
            raise InputError(path, "scene", f"more than {MAX_CELLS:,} voxels", f"at most {MAX_CELLS:,}, or one model of it")
        middles = 2 * (voxels[:, :3].astype(np.int64) - np.array(size) // 2) + 1
        places = (middles @ one.rotation.T - 1) // 2 + one.shift
        parts.append(np.concatenate([places, voxels[:, 3:]], 1))
    if not total:
        found = f"nothing that is shown, {hidden} hidden" if standing else "none in the file"
        raise InputError(path, "scene", found, f"model = 1 to {len(vox.models)}")
    voxels = np.concatenate(parts)
    low = voxels[:, :3].min(0)
    x, y, z = (int(n) for n in voxels[:, :3].max(0) - low + 1)
    if x * y * z > MAX_CELLS:
        allowed = f"at most {MAX_CELLS:,} cells in all, or one model of it: model = 1 to {len(vox.models)}"
        raise InputError(path, "scene", f"{z} × {y} × {x} cells (D × H × W)", allowed)
    voxels[:, :3] -= low
    said = f"{path.name}: a scene of {len(shown)} placed model{'s' * (len(shown) > 1)}"
    said += f"; hidden and left out: {hidden}" if hidden else ""
    said += f"; the first frame of an animation ({len(vox.models)} models in the file)" if vox.film else ""
    return voxels, (x, y, z), [said]
