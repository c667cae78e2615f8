"""What files of polygons have in common: numbers in text, faces of any number of corners, indices that must be there."""

import warnings
from pathlib import Path

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.meshes import MAX_FACES


def fans(lengths: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Cuts polygons into triangles, all from the first corner (exact for convex ones).

    Args:
        lengths: The number of corners of each polygon, (P,).
        path: The file.

    Returns:
        The places of the triangles' corners in the line of all polygons' corners, (N, 3), and the polygon of each, (N,).

    Raises:
        InputError: If there would be more than `MAX_FACES` triangles.
    """
    each = np.maximum(lengths - 2, 0)
    total = int(each.sum())
    if total > MAX_FACES:
        raise InputError(path, "faces", f"{total:,}", f"at most {MAX_FACES:,}: simplify it first (Blender: Decimate)")
    owner = np.repeat(np.arange(len(lengths)), each)
    first = (np.cumsum(lengths) - lengths)[owner]
    step = np.arange(total) - np.repeat(np.cumsum(each) - each, each)
    return np.stack([first, first + step + 1, first + step + 2], 1), owner


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
    """Returns all numbers of a text, float64.

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
