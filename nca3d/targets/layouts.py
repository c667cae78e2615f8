"""Arrays as people keep them: channels first or last, colours of 0..1, 0..255 or 0..65535, masks as floats.

What an array plainly is, is read, and said in a line where it isn't the layout of the docs. What could be two things is refused
with the one line of numpy that settles it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.target import OCCUPIED_ALPHA

if TYPE_CHECKING:
    import torch

# The arrays that can be a target, for error messages.
LAYOUTS = "(D, H, W, 4) straight RGBA, uint8 or float 0..1, or (D, H, W) integer or bool labels with 0 empty"
# How far colours may lie outside 0..1 by rounding, and labels from whole numbers.
HAIR = 1e-3
# Floats up to here can be colours that are too bright; those above are 0..255.
BRIGHT = 32


def as_numpy(array: object, where: object) -> np.ndarray:
    """Returns an array of any shape as numpy, in this machine's byte order; a tensor comes off its device and graph.

    Raises:
        InputError: If numpy can't make numbers of it.
    """
    if not isinstance(array, np.ndarray):
        import torch

        try:
            if isinstance(array, torch.Tensor):
                array = array.detach().cpu()
                array = array.float() if array.is_floating_point() else array  # NumPy has no bfloat16
            array = np.asarray(array)
        except (TypeError, ValueError, RuntimeError) as error:  # lists of uneven lengths, sparse tensors
            raise InputError(where, "array", f"{type(array).__name__} ({error})", LAYOUTS) from error
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def read_layout(array: "np.ndarray | torch.Tensor", where: object) -> tuple[np.ndarray, tuple[str, ...]]:
    """Finds out what an array is.

    Args:
        array: A numpy array or torch tensor, or what numpy can turn into one.
        where: The name that errors give it, or its file.

    Returns:
        Straight RGBA, float32 (D, H, W, 4) in 0..1, or numbers (D, H, W); and what was decided, one line each.

    Raises:
        InputError: If its rank, channels or dtype can't be a target's, or it could be two things.
    """
    voxels = as_numpy(array, where)
    if voxels.dtype.kind not in "uifb":
        allowed = f"{mend(where, 'np.abs(a)')} or another real number, in {LAYOUTS}" if voxels.dtype.kind == "c" else LAYOUTS
        raise InputError(where, "dtype", f"{voxels.dtype} with shape {voxels.shape}", allowed)
    if voxels.ndim not in (3, 4) or 0 in voxels.shape:
        raise InputError(where, "shape", voxels.shape, LAYOUTS + _other_rank(voxels, where))
    if voxels.ndim == 3:
        _no_picture(voxels, where)
        return voxels, ()
    voxels, notes = _channels_last(voxels, where)
    if voxels.ndim == 3:
        return voxels, tuple(notes)
    if voxels.dtype.kind == "f":
        check_finite(voxels, where, "finite numbers in 0..1")
    scaled = _in_one(voxels, notes, where)
    return (scaled if scaled.shape[3] == 4 else _with_alpha(scaled, notes, where)), tuple(notes)


def mend(where: object, expression: str) -> str:
    """Returns the line of numpy that mends an array `a`; of a file, the one that saves it again."""
    if isinstance(where, Path) and where.suffix.lower() == ".npy":
        return f"a = np.load({where.name!r}); np.save({where.name!r}, {expression})"
    return expression


def check_finite(array: np.ndarray, where: object, allowed: str = "finite numbers") -> None:
    """Checks that every number is finite.

    Args:
        array: Numbers of any shape (...).
        where: The name that the error gives it.
        allowed: The error's words for what would be allowed.

    Raises:
        InputError: If some are not; it says how many, and where the first is.
    """
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(where, "values", f"{int(bad.sum())} not finite, the first at {first}", allowed)


def _other_rank(voxels: np.ndarray, where: object) -> str:
    """Returns the way on for an array of another rank, as the end of a line."""
    if voxels.ndim == 5 and 0 not in voxels.shape:
        return f"; of {len(voxels)} frames or samples the last one is {mend(where, 'np.asarray(a[-1])')}"
    # A picture, perhaps: its body is flat.
    return "; a flat body has D = 1, and an image file is one" if voxels.ndim == 2 else ""


def _no_picture(voxels: np.ndarray, where: object) -> None:
    """Refuses a picture, (H, W, 3) or (H, W, 4), which would be read as labels of a body three or four cells wide."""
    if voxels.shape[2] == 3 and voxels.dtype == np.uint8 and min(voxels.shape[:2]) >= 8 and len(np.unique(voxels)) > 8:
        allowed = f"{mend(where, 'np.expand_dims(a, 0)')} makes a flat body of it, {mend(where, 'np.pad(a, 1)')} labels"
        raise InputError(where, "shape", f"{voxels.shape} of uint8, which is a picture (rows, columns, RGB)", allowed)
    if voxels.shape[2] == 4 and voxels.dtype != bool:
        alpha, most = voxels[..., 3], 255 if voxels.max() > 1 else 1
        plainly = np.isin(alpha, (0, most)).all() and (alpha == most).any() and len(np.unique(voxels)) > 2
        if plainly and not voxels[..., :3][alpha == 0].any():
            allowed = f"{mend(where, 'np.expand_dims(a, 0)')} makes a flat body of it, {mend(where, 'np.pad(a, 1)')} labels"
            raise InputError(where, "shape", f"{voxels.shape}, which is a picture (rows, columns, RGBA)", allowed)


def _channels_last(voxels: np.ndarray, where: object) -> tuple[np.ndarray, list[str]]:
    """Returns colours (D, H, W, 3 or 4) or, of a single channel, numbers (D, H, W), and what was decided."""
    first, last = voxels.shape[0], voxels.shape[3]
    turned = f"{mend(where, 'np.moveaxis(a, 0, -1)')} if it is (channels, D, H, W)"
    for axis, is_last in ((3, True), (0, False)):
        # The parts of a one-hot cell, or its probabilities, make 1; those of colours don't.
        if voxels.shape[axis] in (3, 4) and (is_last or last != 4) and _sums_to_one(voxels, axis):
            labels = mend(where, f"np.argmax(a, {-1 if is_last else 0})")
            found = f"{voxels.shape}, where the {voxels.shape[axis]} numbers of each cell make 1: classes, not colours"
            raise InputError(where, "shape", found, f"labels (D, H, W): {labels}")
    if last == 4:
        # The layout of the docs, unless alpha says otherwise.
        if first == 4 and not _cut_out(voxels[..., 3], voxels[..., :3]) and _cut_out(voxels[3], np.moveaxis(voxels[:3], 0, -1)):
            raise InputError(where, "shape", f"{voxels.shape}, where the first axis looks like RGBA too", f"{turned}")
        return voxels, []
    if last == 3 and first in (3, 4):
        allowed = f"{turned}, {mend(where, 'np.insert(a, 3, a.max(-1) > 0, -1)')} if it is (D, H, W, RGB)"
        raise InputError(where, "shape", f"{voxels.shape}, which could be either", allowed)
    if last == 3:
        return voxels, []
    if first in (3, 4):
        words = f"{voxels.shape} is read as ({'RGBA' if first == 4 else 'RGB'}, D, H, W), channels first"
        return np.moveaxis(voxels, 0, -1), [f"{short_name(where)}: {words}"]
    if 1 in (first, last):
        flat = voxels[0] if first == 1 else voxels[..., 0]
        return flat, [f"{short_name(where)}: {voxels.shape} is read as {flat.shape}, one number a cell"]
    axis = -1 if _sums_to_one(voxels, 3) or (not _sums_to_one(voxels, 0) and last < first) else 0
    layout = "(D, H, W, K)" if axis else "(K, D, H, W)"
    onehot = f"; {mend(where, f'np.argmax(a, {axis})')} makes labels of one-hot {layout}"
    raise InputError(where, "shape", voxels.shape, LAYOUTS + onehot)


def _sums_to_one(voxels: np.ndarray, axis: int) -> bool:
    """Whether the numbers along an axis of an array (…) are parts of 1 in every cell, and not all of one kind."""
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        return False
    sums = voxels.sum(axis, dtype=np.float64)
    return bool(sums.size > 1 and voxels.min() >= 0 and np.abs(sums - 1).max() <= HAIR and np.ptp(voxels.argmax(axis)) > 0)


def _cut_out(alpha: np.ndarray, colours: np.ndarray) -> bool:
    """Whether an array (D, H, W) looks like alpha: empty and full alone, some of both, and no colour where it is empty."""
    full = alpha == alpha.max()
    return 8 <= full.sum() <= alpha.size - 8 and not alpha[~full].any() and not colours[~full].any()


def _in_one(voxels: np.ndarray, notes: list[str], where: object) -> np.ndarray:
    """Returns colours (D, H, W, 3 or 4) as float32 in 0..1; what was scaled or clipped is noted."""
    low, high = float(voxels.min()), float(voxels.max())
    dtype, name = voxels.dtype, short_name(where)
    if dtype == np.uint8:
        return voxels.astype(np.float32) / np.float32(255)
    if dtype.kind == "b":
        return voxels.astype(np.float32)
    clipped = mend(where, "np.clip(a, 0, 1)")
    if low < -HAIR:
        raise InputError(where, "values", f"{dtype} from {low:.4g} to {high:.4g}", f"0..1 for floats; {clipped} clips them")
    if high <= 1 + HAIR:
        if low < 0 or high > 1:
            notes.append(f"{name}: values from {low:.8g} to {high:.8g} are clipped to 0..1")
        return np.clip(voxels, 0, 1).astype(np.float32)
    whole = dtype.kind in "ui" or bool((voxels == np.round(voxels)).all())
    if dtype.kind == "u" and dtype.itemsize == 2 and high > 255:
        most = 65535
    elif high <= 255 * (1 + HAIR) and (whole or high > BRIGHT):
        most = 255
    else:
        allowed = f"0..1 or 0..255; {clipped} clips them, {mend(where, f'(a / {high:.6g})')} scales them"
        raise InputError(where, "values", f"{dtype} from {low:.4g} to {high:.4g}", allowed)
    scaled = np.clip(voxels.astype(np.float32) / np.float32(most), 0, 1)
    if dtype.kind == "f" and voxels.shape[3] == 4 and OCCUPIED_ALPHA < voxels[..., 3].max() <= 1:
        scaled[..., 3] = voxels[..., 3]  # 0..255 for colours, 0..1 for alpha
        notes.append(f"{name}: {dtype} colours of 0..255 are divided by 255, alpha is 0..1 as it is")
    else:
        notes.append(f"{name}: {dtype} of 0..{most} is divided by {most}")
    return scaled


def _with_alpha(rgb: np.ndarray, notes: list[str], where: object) -> np.ndarray:
    """Returns RGBA (D, H, W, 4) of colours (D, H, W, 3): black cells, or those of one colour at all corners, are empty."""
    corners = rgb[np.ix_(*[(0, -1)] * 3)].reshape(-1, 3)
    empty = (rgb == 0).all(-1)
    words = "black cells are empty"
    if not empty.any():
        if np.ptp(corners, axis=0).max() > 0:
            allowed = f"an alpha channel: {mend(where, 'np.insert(a, 3, a.max(-1) > 0, -1)')}, with what says where the body is"
            raise InputError(where, "shape", f"{rgb.shape}, colours that say nowhere that a cell is empty", allowed)
        empty = (rgb == corners[0]).all(-1)
        words = f"cells of its corners' colour {np.round(corners[0], 3).tolist()} are empty"
    if empty.all():
        allowed = f"colours that stand out from a ground, or an alpha channel: {mend(where, 'np.insert(a, 3, 1, -1)')}"
        raise InputError(where, "shape", f"{rgb.shape}, colours without alpha, and one colour alone", allowed)
    notes.append(f"{short_name(where)}: colours without alpha; {words}")
    return np.concatenate([rgb, ~empty[..., None]], -1).astype(np.float32)


def short_name(where: object) -> str:
    """Returns the short name of an array for its notes."""
    return where.name if isinstance(where, Path) else str(where).rpartition("/")[2].removeprefix("target ").strip("'")


def check_rgba(rgba: np.ndarray, where: object) -> np.ndarray:
    """Returns straight RGBA (D, H, W, 4) in 0..1 if some cell is occupied.

    Raises:
        InputError: If none is.
    """
    if not (rgba[..., 3] > OCCUPIED_ALPHA).any():
        found = f"no occupied cell in {rgba.shape[:3]}, largest alpha {rgba[..., 3].max():.3g}"
        raise InputError(where, "alpha", found, f"at least one cell above {OCCUPIED_ALPHA}")
    return rgba
