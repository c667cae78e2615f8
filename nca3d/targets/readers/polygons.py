"""What files of polygons have in common: numbers in text, faces of any number of corners, indices that must be there."""

import warnings
from pathlib import Path

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.meshes import MAX_FACES

# Corners times corners of all polygons that are cut ear by ear: some seconds.
MAX_EARS = 1 << 20


def cut(
    corners: np.ndarray, lengths: np.ndarray, points: np.ndarray, path: Path, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts polygons into triangles: all from the first corner, or ear by ear where that would fold over an edge.

    Args:
        corners: The points of all polygons' corners in one line.
        lengths: The number of corners of each polygon, (P,).
        points: The points, (Q, 3).
        path: The file.
        notes: Gets a line where polygons had to stay folded.

    Returns:
        The places of the triangles' corners in `corners`, (N, 3), and the polygon of each, (N,).

    Raises:
        InputError: If there would be more than `MAX_FACES` triangles, or a corner isn't one of the points.
    """
    each = np.maximum(lengths - 2, 0)
    total = int(each.sum())
    if total > MAX_FACES:
        raise InputError(path, "faces", f"{total:,}", f"at most {MAX_FACES:,}: simplify it first (Blender: Decimate)")
    owner = np.repeat(np.arange(len(lengths)), each)
    first = (np.cumsum(lengths) - lengths)[owner]
    step = np.arange(total) - np.repeat(np.cumsum(each) - each, each)
    slot = np.stack([first, first + step + 1, first + step + 2], 1)
    check_faces(points, corners[slot], path)
    if not (lengths > 3).any():
        return slot, owner
    a, b, c = points[corners[slot]].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    whole = np.stack([np.bincount(owner, normals[:, axis], len(lengths)) for axis in range(3)], 1)
    folded = np.unique(owner[(normals * whole[owner]).sum(1) < 0])
    # Each ear is looked for among all corners: of polygons with very many this would take for ever.
    affordable = np.cumsum(lengths[folded] ** 2) <= MAX_EARS
    if not affordable.all():
        count = int((~affordable).sum())
        notes.append(f"{count:,} bent faces of many corners may cover more than they should: triangulate them first")
    starts, triangles = np.cumsum(lengths) - lengths, np.cumsum(each) - each
    for polygon in folded[affordable].tolist():
        line = slice(starts[polygon], starts[polygon] + lengths[polygon])
        flat = np.delete(points[corners[line]], np.abs(whole[polygon]).argmax(), 1)
        mine = slice(triangles[polygon], triangles[polygon] + each[polygon])
        slot[mine] = starts[polygon] + _ears(flat)
    return slot, owner


def _ears(flat: np.ndarray) -> np.ndarray:
    """Cuts a simple polygon (n, 2) into n - 2 triangles by its ears (Meisters 1975, "Polygons have ears")."""
    x, y = flat.T
    turn = np.sign((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
    left, ears = list(range(len(flat))), []
    while len(left) > 3:
        for i in range(len(left)):
            a, b, c = left[i - 1], left[i], left[(i + 1) % len(left)]
            others = flat[[one for one in left if one not in (a, b, c)]]
            sides = [turn * _side(flat[p], flat[q], others) for p, q in ((a, b), (b, c), (c, a))]
            if turn * _side(flat[a], flat[b], flat[c]) > 0 and not np.logical_and.reduce([side >= 0 for side in sides]).any():
                break
        else:
            i = 0  # a polygon that crosses itself has no ear
        ears.append((left[i - 1], left[i], left[(i + 1) % len(left)]))
        del left[i]
    return np.array([*ears, tuple(left)])


def _side(p: np.ndarray, q: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns twice the areas of triangles p, q, point: above 0 where the point lies to the left of the way from p to q."""
    return np.asarray((q[0] - p[0]) * (points[..., 1] - p[1]) - (q[1] - p[1]) * (points[..., 0] - p[0]))


def check_faces(points: np.ndarray, triangles: np.ndarray, path: Path) -> None:
    """Checks that points (P, 3) are finite and triangles (N, 3) name none that isn't there.

    Raises:
        InputError: If they aren't.
    """
    bad = ~np.isfinite(points).all(-1)
    if bad.any():
        found = f"{int(bad.sum())} not finite, the first at index {int(np.flatnonzero(bad)[0])}"
        raise InputError(path, "vertices", found, "finite coordinates")
    outside = (triangles < 0) | (triangles >= len(points))
    if outside.any():
        found = f"index {int(triangles[outside][0])} in face {int(np.argwhere(outside)[0, 0])}"
        raise InputError(path, "faces", found, f"0..{len(points) - 1} ({len(points)} vertices)")


def numbers_of(text: bytes, path: Path) -> np.ndarray:
    """Returns all numbers of a text, float64 (N,).

    Raises:
        InputError: If there is anything else in it.
    """
    with warnings.catch_warnings():
        # NumPy stops at what is no number, by a warning or an error, whichever its version likes.
        warnings.simplefilter("error")
        try:
            return np.fromstring(text, np.float64, sep=" ")
        except (ValueError, DeprecationWarning) as error:
            raise InputError(path, "data", "text that is no number", "numbers") from error
