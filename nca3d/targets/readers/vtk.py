"""VTK images (.vti), read through pyvista."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.options import MAX_BYTES, VIZ
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, VolumeOptions, from_volume

if TYPE_CHECKING:
    import pyvista


def read_vtk(path: Path, size: Wanted, *, key: str | None = None, **options: Unpack[VolumeOptions]) -> Target:
    """Reads a target from a .vti file.

    Of several arrays `key` chooses. Without it: `labels`, if it has one whole number a voxel ("classes", with the file's own
    `label_names` and `label_colours`); else `rgba`, if it has four bands; else the active array; else the first.
    `visualize.save` writes `rgba`, `alpha`, `body`, and `labels` for bodies of classes: `key="rgba"` then reads their colours
    instead.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = its own cells and the margin, or `place.LONGEST` along the longest side of a scan.
        key: The array's name.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If the file is unreadable, truncated or too large, a value is not finite, or nothing is in it.
    """
    return from_volume(_read_vti(path, key), size, path, path.name.split(".")[0], **options)


def _read_vti(path: Path, key: str | None) -> Volume:
    """Reads a .vti, once its header promises no more voxels than memory has room for."""
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
        warnings.simplefilter("ignore")  # VTK's own events are reported below, in one line
        try:
            image = pyvista.read(path)
        except Exception as error:  # whatever the reader raises, the user needs one line
            raise InputError(path, "file", f"unreadable ({error})", "a whole .vti file") from error
    if caught.events or not image.array_names:
        found = caught.events[0].alert if caught.events else "no data array"
        raise InputError(path, "file", f"unreadable ({found})", "a whole .vti file with a data array")
    assert isinstance(image, pyvista.ImageData)  # as the header says
    return image_volume(image, path, key)


def image_volume(image: "pyvista.ImageData", where: object, key: str | None = None) -> Volume:
    """Returns one array of a pyvista ImageData, of points or of cells.

    Args:
        image: The ImageData.
        where: The name that errors give it.
        key: The array's name; None = the one that `read_vtk` describes.

    Raises:
        InputError: If there is no such array, or it has other numbers than a volume's.
    """
    arrays = {name: np.asarray(array) for data in (image.cell_data, image.point_data) for name, array in data.items()}
    if not arrays:
        raise InputError(where, "arrays", "none of points or cells", "a data array")
    name = _chosen(image, arrays) if key is None else key
    if name not in arrays:
        raise InputError(where, "key", repr(name), f"{', '.join(arrays)}{nearest(name, arrays)}")
    # VTK counts points: between n of them lie n - 1 cells. Its arrays run x first, which is our last axis.
    array, of_points = arrays[name], name in image.point_data
    width, height, depth = (n if of_points else max(n - 1, 1) for n in image.dimensions)
    colours = array.ndim == 2 and (
        (array.dtype == np.uint8 and array.shape[1] in (3, 4)) or (array.dtype.kind == "f" and array.shape[1] == 4)
    )
    if array.dtype.kind not in "uifb" or not (array.ndim == 1 or colours):
        allowed = "one number a voxel, 3 or 4 of uint8, or 4 floats 0..1"
        raise InputError(where, "array", f"{name} of {array.dtype} {array.shape}", allowed)
    dx, dy, dz = (float(step) for step in image.spacing)
    # RGBA on cells that are as long as wide as high: that is how `visualize.save` writes the cells of a lattice.
    candidates = [name, "rgba"] if not of_points and np.allclose((dy, dz), dx) else []
    cells = any(other in image.cell_data and _four_bands(arrays[other]) for other in candidates)
    names, palette = _label_fields(image, array) if name == "labels" and array.ndim == 1 else (None, None)
    return Volume(array.reshape(depth, height, width, *array.shape[1:]), (dz, dy, dx), cells, names, palette)


def _chosen(image: "pyvista.ImageData", arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the name of the array that is read without a key: labels, rgba, the active one, or the first."""
    labels, rgba = arrays.get("labels"), arrays.get("rgba")
    if labels is not None and labels.ndim == 1 and labels.dtype.kind in "ui":
        return "labels"
    if rgba is not None and _four_bands(rgba):
        return "rgba"
    active = image.active_scalars_name
    return active if active is not None and active in arrays else next(iter(arrays))


def _four_bands(array: np.ndarray) -> bool:
    """Whether an array has four numbers for each voxel."""
    return array.ndim == 2 and array.shape[1] == 4


def _label_fields(
    image: "pyvista.ImageData", labels: np.ndarray
) -> tuple[Mapping[int, str] | None, Mapping[int, tuple[float, ...]] | None]:
    """Returns names and colours of the labels from the fields that `visualize.save` writes; None for a missing field."""
    fields = {name: np.asarray(array) for name, array in image.field_data.items()}
    texts, colours = fields.get("label_names"), fields.get("label_colours")
    names = dict(enumerate(map(str, texts))) if texts is not None and texts.dtype.kind == "U" else None
    if colours is None or colours.dtype != np.uint8 or colours.ndim != 2 or colours.shape[1] != 3:
        return names, None
    if len(colours) <= labels.max(initial=0):  # too few: which label lacks its colour can't be known
        return names, None
    return names, {label: tuple(colour) for label, colour in enumerate((colours / 255).tolist())}
