"""Volumes: .vti through pyvista, .nii and .nii.gz read here; labels become classes, scalars a coloured body."""

from __future__ import annotations

import gzip
import math
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.build import MAX_CLASSES, from_labels, from_rgba
from nca3d.targets.fit import Resampler, Size, centre_in, fit_labels, occupied_box, present
from nca3d.targets.meshes import VIZ
from nca3d.targets.options import check_share
from nca3d.targets.palette import colormap as map_colours
from nca3d.targets.target import Target

MAX_BYTES = 1 << 30
NIFTI_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
    128: "u1", 2304: "u1",
}  # fmt: skip


@dataclass(frozen=True)
class Volume:
    """Voxels (d, h, w), or (d, h, w, 3 or 4) colours as uint8, with the spacing (dz, dy, dx) between them."""

    voxels: np.ndarray
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)


def read_volume(
    path: Path,
    size: Size,
    *,
    margin: int = 1,
    fit: bool | str = "auto",
    threshold: float | None = None,
    coverage: float = 0.5,
    colormap: str = "magma",
    palette: Any = None,
    names: Sequence[str] | None = None,
    key: str | None = None,
) -> Target:
    """Target from a .vti, .nii or .nii.gz file; fitted unless fit=False.

    Args:
        path: the file.
        size: the lattice (D, H, W).
        margin: cells left free at each face.
        fit: False keeps the volume's own size.
        threshold: scalars at or above it are the body (default: halfway from lowest to highest); whole numbers become
            labels unless it is given.
        coverage: a cell is filled from this share of its volume.
        colormap: colours of the scalars, from the threshold up.
        palette: colours of the labels.
        names: names of the classes.
        key: the array's name in a .vti.

    Raises:
        InputError: unreadable, truncated, too large, not finite, or nothing in it.
    """
    if path.suffix.lower() == ".vti":
        volume = _read_vti(path, key)
    else:
        volume = _read_nifti(path)
    return from_volume(
        volume, size, path, path.name.split(".")[0],
        margin=margin, fit=fit, threshold=threshold, coverage=coverage, colormap=colormap, palette=palette, names=names,
    )  # fmt: skip


def from_volume(
    volume: Volume,
    size: Size,
    where: object,
    name: str,
    *,
    margin: int = 1,
    fit: bool | str = True,
    threshold: float | None = None,
    coverage: float = 0.5,
    colormap: str = "magma",
    palette: Any = None,
    names: Any = None,
) -> Target:
    """A volume of labels ("classes") or of scalars ("rgb") as a target; see `read_volume`."""
    coverage = check_share(coverage, where, "coverage")
    voxels = volume.voxels
    if voxels.size == 0:
        raise InputError(where, "voxels", voxels.shape, "at least one voxel")
    if voxels.dtype.kind == "f":
        bad = ~np.isfinite(voxels)
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            raise InputError(where, "values", f"{int(bad.sum())} not finite, the first at {first}", "finite numbers")
    if voxels.ndim == 3 and threshold is None and _are_labels(voxels):
        labels = voxels if voxels.dtype.kind in "uib" else voxels.astype(np.int64)
        if not labels.any():
            raise InputError(where, "labels", f"no occupied voxel in {labels.shape}", "at least one label above 0")
        if fit is False:
            labels = centre_in(labels, size, where)
        else:
            labels = fit_labels(labels, size, margin, coverage, where, volume.spacing)
        return from_labels(labels, name, where, palette=palette, names=names)
    return _from_scalars(volume, size, where, name, margin, fit, threshold, coverage, colormap)


def _are_labels(voxels: np.ndarray) -> bool:
    """Whole numbers from 0 up, few enough to be classes."""
    if voxels.dtype.kind == "f" and not (voxels == np.round(voxels)).all():
        return False
    return bool(voxels.min() >= 0 and len(present(voxels)) < MAX_CLASSES)


def _from_scalars(
    volume: Volume,
    size: Size,
    where: object,
    name: str,
    margin: int,
    fit: bool | str,
    threshold: Any,
    coverage: float,
    colormap: str,
) -> Target:
    voxels = volume.voxels
    scalars = voxels[..., :3].mean(-1) if voxels.ndim == 4 else voxels.astype(np.float64)
    low, high = float(scalars.min()), float(scalars.max())
    level = (low + high) / 2 if threshold is None else threshold
    if isinstance(level, bool) or not isinstance(level, int | float) or not math.isfinite(level):
        raise InputError(where, "threshold", repr(level), f"a number in {low:.4g}..{high:.4g}")
    body = scalars >= level
    if not body.any() or low == high:
        raise InputError(
            where, "threshold", f"{level:.4g}", f"a number in {low:.4g}..{high:.4g} with some voxels at or above it"
        )
    colours = (
        voxels[..., :3] / 255
        if voxels.ndim == 4
        else map_colours(colormap, 0.25 + 0.75 * (scalars - level) / max(high - level, 1e-12))
    )
    if fit is False:
        return from_rgba(
            centre_in(np.concatenate([colours * body[..., None], body[..., None]], -1), size, where), name, where
        )
    resample = Resampler(occupied_box(body), volume.spacing, size, margin, where)
    share = resample.average(body)
    mean = (
        np.stack([resample.average(colours[..., c] * body) for c in range(3)], -1) / np.maximum(share, 1e-9)[..., None]
    )
    filled = (share >= coverage - 1e-6)[..., None]
    return from_rgba(np.concatenate([np.clip(mean, 0, 1) * filled, filled], -1), name, where)


def _read_vti(path: Path, key: str | None) -> Volume:
    with path.open("rb") as file:
        start = file.read(16384)
    extent = re.search(rb'WholeExtent="\s*' + rb"\s+".join([rb"(-?\d+)"] * 6) + rb'\s*"', start)
    if b"<VTKFile" not in start or b"ImageData" not in start or extent is None:
        raise InputError(path, "header", repr(start[:24]), "a VTK XML file of type ImageData with its WholeExtent")
    ends = [int(n) for n in extent.groups()]
    counts = [ends[i + 1] - ends[i] + 1 for i in (0, 2, 4)]
    if min(counts) < 1 or counts[0] * counts[1] * counts[2] > MAX_BYTES // 4:
        raise InputError(
            path, "WholeExtent", f"{counts} points", f"1 or more along each axis, at most {MAX_BYTES // 4:,} in all"
        )
    try:
        import pyvista
    except ImportError as error:
        raise InputError(path, "pyvista", "not installed", VIZ) from error
    with pyvista.VtkErrorCatcher() as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said below, in one line
        try:
            image = pyvista.read(path)
        except Exception as error:  # whatever the reader raises, the user needs one line
            raise InputError(path, "file", f"unreadable ({error})", "a whole .vti file") from error
    if caught.events or not image.array_names:
        found = caught.events[0].alert if caught.events else "no data array"
        raise InputError(path, "file", f"unreadable ({found})", "a whole .vti file with a data array")
    return image_volume(image, path, key)


def image_volume(image: Any, where: object, key: str | None = None) -> Volume:
    """The chosen array of a pyvista ImageData (the active one by default), of points or of cells."""
    name = key if key is not None else (image.active_scalars_name or image.array_names[0])
    if name not in image.array_names:
        raise InputError(where, "key", repr(name), f"{', '.join(image.array_names)}{nearest(name, image.array_names)}")
    of_points = name in image.point_data
    array = np.asarray(image.point_data[name] if of_points else image.cell_data[name])
    width, height, depth = (n if of_points else max(n - 1, 1) for n in image.dimensions)
    if array.dtype.kind not in "uifb" or (array.ndim > 1 and (array.shape[1] not in (3, 4) or array.dtype != np.uint8)):
        raise InputError(
            where, "array", f"{name} of {array.dtype} {array.shape}", "one number a voxel, or 3 or 4 of uint8"
        )
    dx, dy, dz = (float(step) for step in image.spacing)
    return Volume(array.reshape(depth, height, width, *array.shape[1:]), (dz, dy, dx))


def _read_nifti(path: Path) -> Volume:
    """NIfTI-1 in one file. Read here: readers in common use crash on files with colours."""
    packed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(352)
            order = "<" if head[:4] == (348).to_bytes(4, "little") else ">"
            if (
                len(head) < 352
                or head[:4] not in ((348).to_bytes(4, "little"), (348).to_bytes(4, "big"))
                or head[344:347] != b"n+1"
            ):
                raise InputError(path, "header", repr(head[:4]), "a NIfTI-1 file (348 ... n+1)")
            dims = np.frombuffer(head, order + "i2", 8, 40).tolist()
            code, _ = np.frombuffer(head, order + "i2", 2, 70).tolist()
            steps = np.abs(np.frombuffer(head, order + "f4", 8, 76)).tolist()
            offset, slope, shift = np.frombuffer(head, order + "f4", 3, 108).tolist()
            if not 3 <= dims[0] <= 7 or min(dims[1:4]) < 1 or any(n > 1 for n in dims[4 : dims[0] + 1]):
                raise InputError(path, "dim", dims, "three axes of 1 or more")
            if code not in NIFTI_TYPES:
                raise InputError(path, "datatype", code, ", ".join(str(known) for known in sorted(NIFTI_TYPES)))
            bands = {128: 3, 2304: 4}.get(code, 1)
            dtype = np.dtype(order + NIFTI_TYPES[code])
            need = dims[1] * dims[2] * dims[3] * bands * dtype.itemsize
            held = MAX_BYTES if packed else path.stat().st_size
            if need > MAX_BYTES or need > held or not 352 <= offset <= 1 << 20:
                raise InputError(
                    path, "header", f"{need:,} bytes of voxels from byte {offset:.0f}", f"at most {held:,} bytes"
                )
            file.read(int(offset) - 352)
            data = file.read(need)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, "file", f"unreadable ({error})", "a whole NIfTI-1 file") from error
    if len(data) < need:
        raise InputError(path, "data", f"{len(data):,} bytes", f"the {need:,} bytes that its header speaks of")
    shape = (dims[3], dims[2], dims[1]) + ((bands,) if bands > 1 else ())
    voxels = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)
    if math.isfinite(slope) and slope != 0 and (slope, shift) != (1.0, 0.0) and bands == 1:
        voxels = voxels * slope + shift
    dx, dy, dz = (step if math.isfinite(step) and step > 0 else 1.0 for step in steps[1:4])
    return Volume(voxels, (dz, dy, dx))
