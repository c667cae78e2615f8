"""From an array to a `Target`: straight RGBA is checked and premultiplied, labels are checked and made one-hot."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.fit import labels_present
from nca3d.targets.options import check_fraction
from nca3d.targets.palette import parse_palette
from nca3d.targets.place import place
from nca3d.targets.target import OCCUPIED_ALPHA, Target, Wanted

if TYPE_CHECKING:
    import torch

# The most visible channels of a "classes" target, the empty class included: each costs a channel of every cell's state.
MAX_CLASSES = 64
# The arrays that can be a target, for error messages.
LAYOUTS = "(D, H, W, 4) straight RGBA, uint8 or float 0..1, or (D, H, W) integer or bool labels with 0 empty"


def from_voxels(
    array: "np.ndarray | torch.Tensor",
    where: object,
    name: str,
    size: Wanted,
    *,
    margin: int = 1,
    fit: bool | str = "auto",
    threshold: float = 0.5,
    palette: object = None,
    names: Sequence[str] | None = None,
) -> Target:
    """Makes a target of an array, at its own size and centred, or with fit=True resampled to the room inside the margin.

    Args:
        array: Straight RGBA (D, H, W, 4) or labels (D, H, W), see `check_array`.
        where: The name that errors give it.
        name: The target's name in reports.
        size: The lattice (D, H, W); "auto" = what is occupied and the margin, see `place`.
        margin: The cells left free at each face, with fit=True or size="auto".
        fit: True resamples the array; False and "auto" keep its size.
        threshold: The share of its volume from which a cell is filled, above 0 to 1, with fit=True.
        palette: The colours of the classes, see `parse_palette`.
        names: The names of the classes, the first of them for empty cells.

    Raises:
        InputError: If the array can't be a target, is larger than the lattice without fit=True, or nothing is left after
            fitting.
    """
    threshold = check_fraction(threshold, where)
    voxels = check_array(array, where)
    if voxels.ndim == 4:
        if palette is not None:
            raise InputError(where, "palette", "a palette for RGBA colours", "only with labels")
        rgba, source_size = place(voxels, size, margin, threshold, where, fit=fit is True)
        return replace(from_rgba(rgba, name, where), source_size=source_size)
    if voxels.dtype == bool and names is None:
        names = ("empty", "body")
    if len(labels_present(voxels)) >= MAX_CLASSES:  # before fitting, which takes time for each label
        raise InputError(
            where, "labels", f"{len(labels_present(voxels))} different labels", f"at most {MAX_CLASSES - 1} besides 0"
        )
    labels, source_size = place(voxels, size, margin, threshold, where, fit=fit is True)
    return replace(from_labels(labels, name, where, palette=palette, names=names), source_size=source_size)


def check_array(array: "np.ndarray | torch.Tensor", where: object) -> np.ndarray:
    """Checks an array and returns it as float32 RGBA (D, H, W, 4), or as integer or bool labels (D, H, W).

    Args:
        array: A numpy array or torch tensor, or what numpy can turn into one.
        where: The name that errors give it.

    Raises:
        InputError: If its rank, channels or dtype can't be a target's, a value is not finite or out of range, or no cell is
            occupied.
    """
    voxels = _as_numpy(array, where)
    if voxels.ndim not in (3, 4) or (voxels.ndim == 4 and voxels.shape[-1] != 4) or 0 in voxels.shape:
        # A picture, perhaps: its body is flat.
        flat = "; a flat body has D = 1, and an image file is one" if voxels.ndim == 2 else ""
        raise InputError(where, "shape", voxels.shape, LAYOUTS + flat)
    kind = voxels.dtype.kind
    if not (kind in "uib" if voxels.ndim == 3 else kind == "f" or voxels.dtype == np.uint8):
        raise InputError(where, "dtype", f"{voxels.dtype} with shape {voxels.shape}", LAYOUTS)
    return _check_labels(voxels, where) if voxels.ndim == 3 else _check_rgba(voxels, where)


def _as_numpy(array: object, where: object) -> np.ndarray:
    """Returns the array as numpy; a tensor is taken off its device and out of its graph."""
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
    """Returns the labels if none is negative and some are above 0."""
    if labels.min() < 0:
        found = f"{int((labels < 0).sum())} negative, the least {labels.min()}"
        raise InputError(where, "labels", found, "0 (empty) and above")
    if not labels.any():
        raise InputError(where, "labels", f"no occupied cell in {labels.shape}", "at least one label above 0")
    return labels


def _check_rgba(voxels: np.ndarray, where: object) -> np.ndarray:
    """Returns the colours as float32 in 0..1 if they are in range and some cell is occupied."""
    check_finite(voxels, where, "finite numbers in 0..1")
    # The dtype alone says the range: floats of 0..255 are refused, not guessed at.
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


def from_rgba(rgba: np.ndarray, name: str, where: object) -> Target:
    """Makes an "rgb" target with premultiplied colours.

    Args:
        rgba: Straight RGBA of the lattice's size, (D, H, W, 4), 0..1.
        name: The target's name in reports.
        where: The name that errors give it.

    Raises:
        InputError: If no cell is occupied.
    """
    import torch

    alpha = rgba[..., 3:].astype(np.float32)
    values = np.moveaxis(np.concatenate([rgba[..., :3] * alpha, alpha], -1), -1, 0).astype(np.float32)
    occupied = values[3] > OCCUPIED_ALPHA
    if not occupied.any():
        raise InputError(where, "threshold", "no occupied cell after fitting", "a lower threshold or a larger lattice")
    # moveaxis is only a view: the copy has the channels first in memory, as a state does.
    return Target(torch.from_numpy(values.copy()), torch.from_numpy(occupied), "rgb", (), None, name)


def from_labels(
    labels: np.ndarray,
    name: str,
    where: object,
    *,
    palette: object = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
) -> Target:
    """Makes a "classes" target; the labels that occur become classes 1, 2, ... in rising order.

    Args:
        labels: Integer labels of the lattice's size, (D, H, W), 0 is empty.
        name: The target's name in reports.
        where: The name that errors give it.
        palette: One colour for each class, a colour map's name, or the colours of the original labels.
        names: All class names ("empty" first), or the names of the original labels.

    Raises:
        InputError: If no cell is occupied, or the number of names or colours is wrong.
    """
    import torch

    present = labels_present(labels)
    if not present:
        raise InputError(where, "threshold", "no occupied cell after fitting", "a lower threshold or a larger lattice")
    classes = len(present) + 1
    if names is None or isinstance(names, Mapping):
        known = names or {}
        names = ("empty", *(known.get(label, str(label)) for label in present))
    if len(names) != classes:
        raise InputError(where, "names", f"{len(names)} names", f"{classes}, the first of them for empty cells")
    # Every label occurs in the sorted list, so that its place there is its class.
    index = np.searchsorted(np.array([0, *present]), labels.astype(np.int64))
    onehot = (index[None] == np.arange(classes)[:, None, None, None]).astype(np.float32)
    occupied = index > 0
    values = np.concatenate([onehot, occupied[None].astype(np.float32)])
    if isinstance(palette, Mapping):
        palette = [palette[label] for label in present]
    colours = parse_palette(palette, classes, where)
    return Target(torch.from_numpy(values), torch.from_numpy(occupied), "classes", tuple(names), colours, name)
