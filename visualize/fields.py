"""Numbers in cells: checked scalar fields over space and time, their range, and the colours that stand for them."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visualize.errors import ArgumentError
from visualize.frames import NOT_FINITE, FloatArray

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

COLOUR_MAP = "inferno"  # perceptually uniform, dark where there is nothing; its lightness alone tells the order
BUSY = 99.0  # percentile of the changing cells that takes the end of the colours: one outlier mustn't darken a film
NOISE = 0.02  # of the highest value: what changes less is at rest


def as_field(values: ArrayLike, shape: tuple[int, ...] | None, rank: int, where: str, name: str = "values") -> FloatArray:
    """Numbers as float32 of `rank` axes, (D,H,W) or (T,D,H,W); what isn't finite becomes NaN.

    Raises:
        ValueError: the array isn't numeric, is empty, or has another rank or shape.
    """
    letters = "(T,D,H,W)"[-2 * rank - 1 :] if rank == 4 else "(D,H,W)"
    allowed = f"{letters} with at least one cell" if shape is None else f"{shape}, as the frames are"
    try:
        array: NDArray[Any] = np.asarray(values)
    except ValueError:
        raise ArgumentError(where, name, "arrays of different shapes", allowed) from None
    if array.dtype.kind not in "fiub":
        raise ArgumentError(where, name, f"dtype {array.dtype}", "numbers")
    if array.ndim != rank or 0 in array.shape or (shape is not None and array.shape != shape):
        raise ArgumentError(where, name, f"shape {array.shape}", allowed)
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32)
    return np.where(np.isfinite(floats), floats, np.float32(np.nan))


def change(frames: FloatArray) -> FloatArray:
    """How much each cell's alpha changed since the frame before, (T,D,H,W) in 0..1; zero in the first frame."""
    alpha = frames[..., 3]
    return np.abs(np.diff(alpha, axis=0, prepend=alpha[:1]))


def glowing(activity: ArrayLike | None, frames: FloatArray, style: str, where: str) -> FloatArray | None:
    """What glows in style "activity", (T,D,H,W); nothing in the other styles.

    Raises:
        ValueError: activity that doesn't fit the frames, or that the style doesn't show.
    """
    if style != "activity":
        if activity is not None:
            raise ArgumentError(where, "style", f"{style!r} with activity given", "'activity'")
        return None
    if activity is None:
        return change(frames)
    field = as_field(activity, frames.shape[:4], 4, where, "activity")
    broken = int(np.isnan(field).sum())
    if broken:
        raise ArgumentError(where, "activity", f"{broken} values that aren't finite", "finite numbers")
    return field


def activity_limits(activity: FloatArray) -> tuple[float, float]:
    """One range (0, high) of activity (T,D,H,W) for a whole film: from 0 to nearly the highest value.

    What hardly changes is left out of the count, or a long rest would turn the growth before it into one white flash.
    """
    most = float(np.nanmax(activity, initial=0.0))
    high = float(np.percentile(activity[activity > NOISE * most], BUSY)) if most > 0 else 1.0
    return 0.0, high


def limits(values: NDArray[np.floating]) -> tuple[float, float]:
    """The lowest and the highest finite value of an array of any shape, 0 among them if none is negative; never equal."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    low = min(low, 0.0)
    return low, high if high > low else low + 1.0


def colour_map() -> "Colormap":
    """The colours of fields; magenta, which isn't among them, for what isn't finite."""
    import matplotlib

    return matplotlib.colormaps[COLOUR_MAP].with_extremes(bad=NOT_FINITE)
