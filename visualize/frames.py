"""What pictures are made of: checked RGBA frames, their occupied cells and the box that they fill."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visualize.arguments import quoted
from visualize.errors import ArgumentError

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Picture = NDArray[np.uint8]
Box = tuple[FloatArray, FloatArray]
Colour = str | Sequence[float]

OCCUPIED_ABOVE = 0.1
FARTHEST = 1e6  # cells: float32 still tells one from the next
# Non-finite cells are painted in a colour that no body wears by chance, so that a diverged run is seen and not hidden.
NOT_FINITE = (1.0, 0.0, 1.0, 1.0)
JUST_MAGENTA = (1.0, 1 / 255, 1.0, 1.0)  # a body's own, so that nobody takes it for a diverged cell


def as_frames(frames: ArrayLike, where: str) -> FloatArray:
    """Frames as float32 (T,D,H,W,4) in 0..1; integers are read as 0..255, non-finite cells become magenta.

    Raises:
        ValueError: the array isn't numeric, has another rank, another last axis, no frame or no cell.
    """
    return _checked(frames, where, "(T,D,H,W,4)", 5)


def as_frame(rgba: ArrayLike, where: str) -> FloatArray:
    """One frame as float32 (D,H,W,4) in 0..1; integers are read as 0..255, non-finite cells become magenta.

    Raises:
        ValueError: the array isn't numeric, has another rank, another last axis or no cell.
    """
    return _checked(rgba, where, "(D,H,W,4)", 4)


def _checked(values: ArrayLike, where: str, allowed: str, rank: int) -> FloatArray:
    try:
        array: NDArray[Any] = np.asarray(values)
    except ValueError:
        raise ArgumentError(where, "rgba", "arrays of different shapes", f"one array {allowed}") from None
    if array.dtype.kind not in "fiub":
        raise ArgumentError(where, "rgba", f"dtype {array.dtype}", "numbers, float 0..1 or uint8 0..255")
    if array.ndim != rank or array.shape[-1] != 4 or 0 in array.shape:
        raise ArgumentError(where, "rgba", f"shape {array.shape}", f"{allowed} with at least one cell")
    floats = array.astype(np.float32)
    if array.dtype.kind in "iu":
        floats = floats / 255.0
    broken = ~np.isfinite(floats).all(axis=-1)
    floats = np.clip(np.nan_to_num(floats, nan=0.0), 0.0, 1.0)
    floats[(floats == NOT_FINITE).all(axis=-1)] = JUST_MAGENTA
    floats[broken] = NOT_FINITE
    return floats


def occupied(rgba: FloatArray) -> BoolArray:
    """The cells that are drawn, bool (…,D,H,W) of RGBA (…,D,H,W,4): alpha above 0.1."""
    return np.asarray(rgba[..., 3] > OCCUPIED_ABOVE)


def is_dark(paper: FloatArray) -> bool:
    """Whether white letters are easier to read on a colour (3,), 0..1, than black ones (relative luminance, WCAG 2)."""
    return bool(np.asarray(paper, np.float64) ** 2.2 @ np.array([0.2126, 0.7152, 0.0722]) < 0.18)


def as_picture(colours: FloatArray) -> Picture:
    """Colours 0..1 of any shape as bytes 0..255."""
    return (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)


def lattice_box(rgba: FloatArray) -> Box:
    """Low and high corner (x,y,z) of the whole lattice; cell i spans [i, i+1]."""
    depth, height, width = rgba.shape[-4:-1]
    return np.zeros(3, np.float32), np.array([width, height, depth], np.float32)


def body_box(frames: FloatArray) -> Box:
    """Low and high corner (x,y,z) of every cell occupied in any frame; the lattice's own box when there is none."""
    cells = np.asarray(occupied(frames).reshape(-1, *frames.shape[-4:-1]).any(axis=0))
    if not cells.any():
        return lattice_box(frames)
    low, high = [], []
    for axis in (2, 1, 0):
        filled = np.flatnonzero(cells.any(axis=tuple(other for other in range(3) if other != axis)))
        low.append(filled[0])
        high.append(filled[-1] + 1)
    return np.array(low, np.float32), np.array(high, np.float32)


def as_box(box: object, where: str) -> Box:
    """Low and high corner (x,y,z) of a box in cells.

    Raises:
        ValueError: they aren't two times three finite numbers, the second above the first.
    """
    try:
        corners = np.asarray(box, np.float64) if not isinstance(box, str) else np.empty(0)
    except (TypeError, ValueError):
        corners = np.empty(0)
    if corners.shape != (2, 3) or not (np.abs(corners) <= FARTHEST).all() or not (corners[0] < corners[1]).all():
        raise ArgumentError(where, "box", quoted(box), "two corners (x,y,z) in cells, low below high")
    return corners[0].astype(np.float32), corners[1].astype(np.float32)


def as_activity(activity: ArrayLike, frame: FloatArray, where: str) -> FloatArray:
    """A scalar field as float32 (D,H,W) of a frame (D,H,W,4).

    Raises:
        ValueError: the field isn't numeric, has another shape or a value that isn't finite.
    """
    allowed = f"{frame.shape[:3]} finite numbers"
    try:
        field: NDArray[Any] = np.asarray(activity)
    except ValueError:
        raise ArgumentError(where, "activity", "rows of different lengths", allowed) from None
    if field.dtype.kind not in "fiub":
        raise ArgumentError(where, "activity", f"dtype {field.dtype}", allowed)
    if field.shape != frame.shape[:3]:
        raise ArgumentError(where, "activity", f"shape {field.shape}", allowed)
    largest = np.float64(np.finfo(np.float32).max) / 4  # differences must stay finite too
    broken = int((~(np.abs(field.astype(np.float64)) <= largest)).sum())
    if broken:
        raise ArgumentError(where, "activity", f"{broken} values that aren't finite", allowed)
    return field.astype(np.float32)


def as_range(limits: tuple[float, float], where: str) -> tuple[float, float]:
    """Low and high end of a scale.

    Raises:
        ValueError: they aren't two finite numbers, the second above the first.
    """
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low = high = float("nan")
    if not (np.isfinite([low, high]).all() and low < high):
        raise ArgumentError(where, "activity_range", quoted(limits), "(low, high), finite, low below high")
    return low, high


def as_colour(colour: Colour, where: str, field: str = "background") -> FloatArray:
    """A colour as floats (3,) in 0..1, from a CSS name, `#rrggbb` or three floats; `field` is whose colour it is.

    Raises:
        ValueError: the colour isn't known.
    """
    if isinstance(colour, str):
        from PIL import ImageColor

        try:
            return np.array(ImageColor.getrgb(colour)[:3], np.float32) / 255.0
        except ValueError:
            pass
    else:
        try:
            parts = np.asarray(colour, np.float64)
        except (TypeError, ValueError):
            parts = np.zeros(0)
        if parts.shape == (3,) and np.all((parts >= 0) & (parts <= 1)):
            return parts.astype(np.float32)
    raise ArgumentError(where, field, quoted(colour), "a CSS name, #rrggbb or three floats 0..1")
