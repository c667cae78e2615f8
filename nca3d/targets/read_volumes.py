"""Volume files: .vti is read through pyvista, .nii and .nii.gz here."""

import gzip
import math
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.options import MAX_BYTES, VIZ
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, from_volume

if TYPE_CHECKING:
    import pyvista

# NumPy's name of each NIfTI-1 data type that is read; 128 and 2304 are three and four bytes a voxel, RGB and RGBA.
NIFTI_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
    128: "u1",
    2304: "u1",
}


def read_volume(
    path: Path,
    size: Wanted,
    *,
    margin: int = 1,
    fit: bool | str = "auto",
    threshold: float | None = None,
    coverage: float = 0.5,
    colormap: str = "magma",
    palette: object = None,
    names: Sequence[str] | None = None,
    key: str | None = None,
) -> Target:
    """Reads a target from a .vti, .nii or .nii.gz file.

    One whole number a voxel makes "classes", other numbers a body cut at `threshold`. Four bands are straight RGBA: alpha
    says where the body is, so that black cells stay. Three bands are colours, cut by their brightness.

    Of several arrays in a .vti, `key` chooses. Without it: `labels`, if it has one whole number a voxel ("classes", with
    the file's own `label_names` and `label_colours`); else `rgba`, if it has four bands; else the active array; else the
    first. `visualize.save` writes `rgba`, `alpha`, `body`, and `labels` for bodies of classes: `key="rgba"` then reads
    their colours instead.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = its own cells and the margin, or `place.LONGEST` along the longest side of a scan.
        margin: The cells left free at each face, if the volume is fitted.
        fit: False keeps the volume's own size, True fits it. "auto" fits too, except for cells that `visualize.save`
            wrote (.vti with RGBA on its cells, as long as wide as high): if the lattice has room they keep their size,
            centred, as an array does.
        threshold: Scalars at or above it are the body (default: halfway from lowest to highest), of RGBA the voxels
            with at least this alpha (default: all, as they are). Whole numbers become labels unless there is a threshold.
        coverage: The share of its volume from which a cell is filled, above 0 to 1.
        colormap: The colour map of the scalars, from the threshold up.
        palette: The colours of the labels, instead of the file's.
        names: The names of the classes, instead of the file's.
        key: The array's name in a .vti.

    Raises:
        InputError: If the file is unreadable, truncated or too large, a value is not finite, or nothing is in it.
    """
    volume = _read_vti(path, key) if path.suffix.lower() == ".vti" else _read_nifti(path)
    return from_volume(
        volume,
        size,
        path,
        path.name.split(".")[0],
        margin=margin,
        fit=fit,
        threshold=threshold,
        coverage=coverage,
        colormap=colormap,
        palette=palette,
        names=names,
    )


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
        key: The array's name; None = the one that `read_volume` describes.

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


def _read_nifti(path: Path) -> Volume:
    """Reads NIfTI-1 in one file, packed or not (Cox et al. 2004, "A (sort of) new image data format standard").

    It is read here because readers in common use crash on files with colours.
    """
    packed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(352)
            # The header begins with its own length, 348: the order of these bytes is that of all numbers.
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
            held = MAX_BYTES if packed else path.stat().st_size  # a packed file doesn't say how long it really is
            if need > MAX_BYTES or need > held or not 352 <= offset <= 1 << 20:
                raise InputError(path, "header", f"{need:,} bytes of voxels from byte {offset:.0f}", f"at most {held:,} bytes")
            file.read(int(offset) - 352)
            data = file.read(need)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, "file", f"unreadable ({error})", "a whole NIfTI-1 file") from error
    if len(data) < need:
        raise InputError(path, "data", f"{len(data):,} bytes", f"the {need:,} bytes that its header speaks of")
    # NIfTI runs x first, which is our last axis.
    shape = (dims[3], dims[2], dims[1]) + ((bands,) if bands > 1 else ())
    voxels = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)
    # A slope of 0 means that values are stored as they are; colours are never scaled.
    if math.isfinite(slope) and slope != 0 and (slope, shift) != (1.0, 0.0) and bands == 1:
        voxels = voxels * slope + shift
    dx, dy, dz = (step if math.isfinite(step) and step > 0 else 1.0 for step in steps[1:4])
    return Volume(voxels, (dz, dy, dx))
