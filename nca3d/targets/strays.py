"""What spoils a mesh unseen: faces far from the rest that set its scale, and holes of alpha that solid bodies would close."""

from dataclasses import replace

import numpy as np

from nca3d.targets.holes import Outline
from nca3d.targets.target import Size
from nca3d.targets.voxelise import Mesh, areas, samples

# Parts this share of the longest side away from all others are far from them, where they have less than `FEW` of the surface.
FAR = 0.5
FEW = 0.05

# A part of which alpha cuts out more than this share is a fence, a grid or leaves: no solid body that has some holes.
CUT = 0.25


def far_off(corners: np.ndarray, shape: Outline) -> str | None:
    """Returns the line about a few faces far from the rest of a mesh, which make that small; None if there are none.

    Args:
        corners: The corners of N triangles, measured in cells, (N, 3, 3).
        shape: How they hang together.
    """
    low, high = np.full((shape.parts, 3), np.inf), np.full((shape.parts, 3), -np.inf)
    np.minimum.at(low, shape.part, corners.min(1))
    np.maximum.at(high, shape.part, corners.max(1))
    area, faces = np.bincount(shape.part, areas(corners)), np.bincount(shape.part)
    longest = (high.max(0) - low.min(0)).max()
    for axis in range(3):
        order = np.argsort(low[:, axis])
        gaps = low[order[1:], axis] - np.maximum.accumulate(high[order, axis])[:-1]
        for after in np.flatnonzero(gaps > FAR * longest):
            for few, rest in ((order[: after + 1], order[after + 1 :]), (order[after + 1 :], order[: after + 1])):
                if area[few].sum() <= FEW * area.sum():
                    sides = np.maximum(np.ceil(high[rest].max(0) - low[rest].min(0) - 1e-6), 1).astype(int)
                    count = int(faces[few].sum())
                    lie = "1 face lies" if count == 1 else f"{count:,} faces lie"
                    left = " × ".join(str(side) for side in sides[::-1])
                    return f"{lie} far from the rest, which is only {left} cells therefore; without them it is larger"
    return None


def cut_out(mesh: Mesh, shape: Outline, room: Size) -> np.ndarray:
    """Returns which parts are cut out by alpha so far that they are shells, whatever they enclose, bool (P,).

    Args:
        mesh: The triangles, measured in cells.
        shape: How they hang together.
        room: The size (D, H, W) of the room that they lie in.
    """
    seen, asked = (np.zeros(len(mesh.corners)) for _ in range(2))
    for count, of in ((seen, mesh), (asked, replace(mesh, paint=None, colours=None))):
        for faces, _, _ in samples(of, room):
            count += np.bincount(faces, minlength=len(count))
    area = areas(mesh.corners)
    left = np.bincount(shape.part, area * seen / np.maximum(asked, 1), shape.parts)
    return left < (1 - CUT) * np.bincount(shape.part, area, shape.parts)
