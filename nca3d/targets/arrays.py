"""From an array to a `Target`: straight RGBA or labels, checked, premultiplied or made one-hot."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.fit import centre_in, fit_labels, fit_rgba, labels_present
from nca3d.targets.options import check_fraction
from nca3d.targets.palette import parse_palette
from nca3d.targets.target import OCCUPIED_ALPHA, Size, Target

if TYPE_CHECKING:
    import torch

# Visible channels of a "classes" target, the empty one included.
MAX_CLASSES = 64
LAYOUTS = "(D, H, W, 4) straight RGBA, uint8 or float 0..1, or (D, H, W) integer or bool labels with 0 empty"


def from_voxels(
    array: "np.ndarray | torch.Tensor",
    where: object,
    name: str,
    size: Size,
    *,
    margin: int = 1,
    fit: bool | str = "auto",
    threshold: float = 0.5,
    palette: Any = None,
    names: Sequence[str] | None = None,
) -> Target:
    """An array as a target: kept at its own size and centred, or with fit=True resampled to the room inside the margin.

    Raises:
        InputError: see `check_array`; larger than the lattice without fit=True; nothing left after fitting.
    """
    threshold = check_fraction(threshold, where)
    voxels = check_array(array, where)
    if voxels.ndim == 4:
        rgba = fit_rgba(voxels, size, margin, threshold, where) if fit is True else centre_in(voxels, size, where)
        if palette is not None:
            raise InputError(where, "palette", "a palette for RGBA colours", "only with labels")
        return from_rgba(rgba, name, where)
    if voxels.dtype == bool and names is None:
        names = ("empty", "body")
    if len(labels_present(voxels)) >= MAX_CLASSES:  # before fitting, which takes its time over each of them
        raise InputError(
            where, "labels", f"{len(labels_present(voxels))} different labels", f"at most {MAX_CLASSES - 1} besides 0"
        )
    labels = fit_labels(voxels, size, margin, threshold, where) if fit is True else centre_in(voxels, size, where)
    return from_labels(labels, name, where, palette=palette, names=names)


def check_array(array: "np.ndarray | torch.Tensor", where: object) -> np.ndarray:
    """An array that can be a target: float32 RGBA (D, H, W, 4), or integer or bool labels (D, H, W).

    Raises:
        InputError: wrong rank, channels or dtype, not finite, out of range, or nothing in it.
    """
    voxels = _as_numpy(array, where)
    if voxels.ndim not in (3, 4) or (voxels.ndim == 4 and voxels.shape[-1] != 4) or 0 in voxels.shape:
        raise InputError(where, "shape", voxels.shape, LAYOUTS)
    kind = voxels.dtype.kind
    if not (kind in "uib" if voxels.ndim == 3 else kind == "f" or voxels.dtype == np.uint8):
        raise InputError(where, "dtype", f"{voxels.dtype} with shape {voxels.shape}", LAYOUTS)
    return _check_labels(voxels, where) if voxels.ndim == 3 else _check_rgba(voxels, where)


def _as_numpy(array: Any, where: object) -> np.ndarray:
    if isinstance(array, np.ndarray):
        return array
    import torch

    try:
        if isinstance(array, torch.Tensor):
            array = array.detach().cpu()
            array = array.float() if array.is_floating_point() else array  # NumPy has no bfloat16
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of uneven lengths, sparse tensors
        raise InputError(where, "array", f"{type(array).__name__} ({error})", LAYOUTS) from error


def _check_labels(labels: np.ndarray, where: object) -> np.ndarray:
    if labels.min() < 0:
        found = f"{int((labels < 0).sum())} negative, the least {labels.min()}"
        raise InputError(where, "labels", found, "0 (empty) and above")
    if not labels.any():
        raise InputError(where, "labels", f"no occupied cell in {labels.shape}", "at least one label above 0")
    return labels


def _check_rgba(voxels: np.ndarray, where: object) -> np.ndarray:
    check_finite(voxels, where, "finite numbers in 0..1")
    most = 255 if voxels.dtype == np.uint8 else 1
    if voxels.min() < 0 or voxels.max() > most:
        found = f"{voxels.dtype} from {voxels.min():.4g} to {voxels.max():.4g}"
        raise InputError(where, "values", found, "0..1 for floats (use uint8 for 0..255)")
    rgba = voxels.astype(np.float32) / np.float32(most)
    if not (rgba[..., 3] > OCCUPIED_ALPHA).any():
        found = f"no occupied cell in {rgba.shape[:3]}, largest alpha {rgba[..., 3].max():.3g}"
        raise InputError(where, "alpha", found, f"at least one cell above {OCCUPIED_ALPHA}")
    return rgba


def check_finite(array: np.ndarray, where: object, allowed: str = "finite numbers") -> None:
    """Every number is finite.

    Raises:
        InputError: some aren't; it says how many, and where the first is.
    """
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(where, "values", f"{int(bad.sum())} not finite, the first at {first}", allowed)


def from_rgba(rgba: np.ndarray, name: str, where: object) -> Target:
    """Straight RGBA (D, H, W, 4) in 0..1, of the lattice's size -> "rgb" target with premultiplied colours."""
    import torch

    alpha = rgba[..., 3:].astype(np.float32)
    values = np.moveaxis(np.concatenate([rgba[..., :3] * alpha, alpha], -1), -1, 0).astype(np.float32)
    occupied = values[3] > OCCUPIED_ALPHA
    if not occupied.any():
        raise InputError(where, "threshold", "no occupied cell after fitting", "a lower threshold or a larger lattice")
    return Target(torch.from_numpy(values.copy()), torch.from_numpy(occupied), "rgb", (), None, name)


def from_labels(
    labels: np.ndarray,
    name: str,
    where: object,
    *,
    palette: Any = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
) -> Target:
    """Labels (D, H, W) of the lattice's size -> "classes" target; the labels that occur become classes 1, 2, ...

    Args:
        labels: integers, 0 is empty.
        palette: one colour a class, a colour map's name, or the colours of the original labels.
        names: all class names ("empty" first), or the names of the original labels.
    """
    import torch

    kept = labels_present(labels)
    if not kept:
        raise InputError(where, "threshold", "no occupied cell after fitting", "a lower threshold or a larger lattice")
    classes = len(kept) + 1
    if names is None or isinstance(names, Mapping):
        known = names or {}
        names = ("empty", *(known.get(label, str(label)) for label in kept))
    if len(names) != classes:
        raise InputError(where, "names", f"{len(names)} names", f"{classes}, the first of them for empty cells")
    index = np.searchsorted(np.array([0, *kept]), labels.astype(np.int64))
    onehot = (index[None] == np.arange(classes)[:, None, None, None]).astype(np.float32)
    occupied = index > 0
    values = np.concatenate([onehot, occupied[None].astype(np.float32)])
    if isinstance(palette, Mapping):
        palette = [palette[label] for label in kept]
    colours = parse_palette(palette, classes, where)
    return Target(torch.from_numpy(values), torch.from_numpy(occupied), "classes", tuple(names), colours, name)
