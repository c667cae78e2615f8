"""What a file holds, checked once for every format: frames, steps, labels with their names and colours, cell size."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visualize.arguments import as_number, quoted
from visualize.errors import ArgumentError
from visualize.frames import FloatArray, Picture, as_frames, as_picture

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Content:
    """Checked frames and what belongs to them.

    Attributes:
        frames: (T,D,H,W,4) float32, straight RGBA 0..1.
        steps: (T,) strictly increasing, int64 or float64.
        labels: (T,D,H,W), the smallest unsigned integers that hold them, or None.
        names: a name for each label, "empty" first; () when there are none.
        palette: (n,3) uint8, a colour for each label, or None.
        cell_size: edge of a cell.
        single: one frame was given without a time axis.
        as_bytes: the colours were given as integers.
        progress: show a bar on stderr.
    """

    frames: FloatArray
    steps: Numbers
    labels: Numbers | None
    names: tuple[str, ...]
    palette: Picture | None
    cell_size: float
    single: bool
    as_bytes: bool
    progress: bool

    @property
    def size(self) -> tuple[int, int, int]:
        """The lattice (D,H,W)."""
        _, depth, height, width, _ = self.frames.shape
        return depth, height, width

    def rgba(self, index: int) -> Picture:
        """One frame (D,H,W,4) as bytes, straight alpha."""
        return as_picture(self.frames[index])

    def each_frame(self) -> Iterator[int]:
        """The indices of all frames, with a bar if one was asked for."""
        from tqdm import tqdm

        yield from tqdm(range(len(self.frames)), desc="save", unit="frame", disable=not self.progress)


def check_content(
    frames: ArrayLike,
    steps: Sequence[float] | None,
    names: Sequence[str] | None,
    palette: ArrayLike | None,
    labels: ArrayLike | None,
    cell_size: float,
    progress: bool,
) -> Content:
    """Checks what `save` was given: frames (D,H,W,4) or (T,D,H,W,4) and what belongs to them, see `save`.

    Raises:
        ValueError: an argument can't be used.
    """
    try:
        given = np.asarray(frames)
    except ValueError:
        raise ArgumentError("save", "frames", "arrays of different shapes", "one array (T,D,H,W,4)") from None
    if given.ndim not in (4, 5):
        raise ArgumentError("save", "frames", f"shape {given.shape}", "(T,D,H,W,4) or (D,H,W,4)")
    single = given.ndim == 4
    checked = as_frames(given[None] if single else given, "save")
    least, most = np.nextafter(0, 1), np.finfo(np.float64).max
    cell_size = as_number(cell_size, "save", "cell_size", float(least), float(most), "a finite number above 0")
    classes = None if labels is None else _check_labels(labels, given.shape[:-1], single)
    if classes is None and (_some(names) or _some(palette)):
        raise ArgumentError("save", "names, palette", "some without labels", "only together with labels")
    highest = -1 if classes is None else int(classes.max())
    return Content(
        checked,
        _check_steps(steps, len(checked)),
        classes,
        _check_names(names, highest),
        _check_palette(palette, highest),
        cell_size,
        single,
        given.dtype.kind in "iu",
        progress,
    )


def _some(given: object) -> bool:
    """Whether something was given, of whatever kind: None and empty sequences are nothing."""
    return given is not None and not (isinstance(given, Sized) and len(given) == 0)


def _array(values: object, field: str, allowed: str) -> Numbers:
    try:
        return np.asarray(values)
    except ValueError:
        raise ArgumentError("save", field, "rows of different lengths", allowed) from None


def _check_steps(steps: Sequence[float] | None, count: int) -> Numbers:
    if steps is None:
        return np.arange(count, dtype=np.int64)
    array = _array(steps, "steps", f"one for each of {count} frames")
    if array.shape != (count,):
        raise ArgumentError("save", "steps", f"shape {array.shape}", f"one for each of {count} frames")
    # Tools take two frames of one time for two parts of one picture.
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all() or (np.diff(array.astype(np.float64)) <= 0).any():
        raise ArgumentError("save", "steps", quoted(array.tolist()), "finite numbers, each above the one before")
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def _check_labels(labels: ArrayLike, shape: tuple[int, ...], single: bool) -> Numbers:
    array = _array(labels, "labels", f"integers {shape}")
    if array.dtype.kind not in "iub" or array.shape != shape:
        raise ArgumentError("save", "labels", f"{array.dtype} {array.shape}", f"integers {shape}")
    if int(array.min()) < 0 or int(array.max()) >= 1 << 32:
        raise ArgumentError("save", "labels", f"{array.min()}..{array.max()}", f"0 (empty)..{(1 << 32) - 1}")
    small = array.astype(np.min_scalar_type(int(array.max())))
    return small[None] if single else small


def _check_names(names: Sequence[str] | None, highest: int) -> tuple[str, ...]:
    if names is None or not _some(names):
        return ()
    words = () if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
    if not all(isinstance(word, str) for word in words) or len(words) <= highest:
        raise ArgumentError("save", "names", quoted(names), f"a word for each label 0..{highest}, 'empty' first")
    return tuple(str(word) for word in words)


def _check_palette(palette: ArrayLike | None, highest: int) -> Picture | None:
    if palette is None or not _some(palette):
        return None
    colours = _array(palette, "palette", f"(n,3), a colour for each label 0..{highest}")
    if colours.dtype.kind not in "fiu" or colours.ndim != 2 or colours.shape[1] not in (3, 4) or len(colours) <= highest:
        found = f"{colours.dtype} {colours.shape}"
        raise ArgumentError("save", "palette", found, f"(n,3), a colour for each label 0..{highest}")
    colours = colours[:, :3]
    whole = colours.dtype == np.uint8 or (colours.dtype.kind in "iu" and colours.max() > 1)  # [1, 0, 0] is red, not black
    if not (np.isfinite(colours).all() and colours.min() >= 0 and colours.max() <= (255 if whole else 1)):
        raise ArgumentError("save", "palette", "colours out of range", "floats 0..1 or integers 0..255")
    return as_picture(colours.astype(np.float32) / np.float32(255 if whole else 1))
