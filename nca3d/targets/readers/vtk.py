"""VTK images (.vti, and .vtk of the older kind), read by VTK in a child process.

The reader of VTK prints on its own, and believes what a broken header says: 700 bytes made it ask for 8 GB.
"""

import importlib.util
import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.fit import Axes, Spacing, turn
from nca3d.targets.layouts import short_name
from nca3d.targets.options import VIZ
from nca3d.targets.readers.guard import in_child
from nca3d.targets.readers.vtk_headers import RESAMPLE, promised_bytes
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, VolumeOptions, from_volume

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkImageData

# The cosine from which an axis counts as parallel to one of space: 2.5 degrees, less than what a lattice shows.
PARALLEL = 0.999


def read_vtk(path: Path, size: Wanted, *, key: str | None = None, **options: Unpack[VolumeOptions]) -> Target:
    """Reads a target from a .vti or .vtk file.

    Of several arrays `key` chooses. Without it: `labels`, if it has one whole number a voxel ("classes", with the file's own
    `label_names` and `label_colours`); else `rgba`, if it has four bands; else the active array; else the first.
    `visualize.save` writes `rgba`, `alpha`, `body`, and `labels` for bodies of classes: `key="rgba"` then reads their colours
    instead. The image's direction turns it to the nearest axes of space; where it lies in space doesn't matter.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = its own cells and the margin, or `place.LONGEST` along the longest side of a scan.
        key: The array's name.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If the file is unreadable, truncated or too large, a value is not finite, or nothing is in it.
    """
    promised = promised_bytes(path)
    if importlib.util.find_spec("vtkmodules") is None:
        raise InputError(path, "vtk", "not installed", VIZ)
    allowed = f"a whole {path.suffix.lower()} file with a data array"
    found = in_child(read_in_child, path, allowed, path, key, promised=promised)
    names, palette = (found[name] and dict(found[name]) for name in ("names", "palette"))
    dz, dy, dx = found["spacing"]
    volume = Volume(found["voxels"], (dz, dy, dx), found["cells"], names, palette, notes=tuple(found["notes"]))
    return from_volume(volume, size, path, path.name.split(".")[0], **options)


def read_in_child(path: str, key: str | None) -> dict[str, Any]:
    """Reads an image in a child of `guard.in_child`, which answers with the fields of a `Volume`.

    Raises:
        InputError: If VTK tells of an error, or the image has no array that can be a volume.
    """
    volume = image_volume(_legacy_image(path) if path.lower().endswith(".vtk") else _xml_image(path), Path(path), key)
    fields = {name: values and list(values.items()) for name, values in (("names", volume.names), ("palette", volume.palette))}
    return {**volume._asdict(), **fields}


def _output(reader: Any, path: str) -> Any:
    """Returns what a reader of VTK reads.

    Raises:
        InputError: If it tells of an error.
    """
    from vtkmodules.vtkCommonCore import vtkOutputWindow, vtkStringOutputWindow

    said = vtkStringOutputWindow()
    vtkOutputWindow.SetInstance(said)
    reader.SetFileName(path)
    reader.Update()
    # "ERROR: In …, line 1", and below it "vtkXMLReader (0x55d0): what happened": the number is another one each time.
    error = re.search(r"ERROR: In .*\n(.*)", _text(said.GetOutput()))
    if error:
        text = re.sub(r"^\w+ \(0x\w+\): | \(0x\w+\)", "", error[1])
        raise InputError(path, "file", f"unreadable ({text})", f"a whole {Path(path).suffix.lower()} file")
    return reader.GetOutput()


def _text(said: str | bytes) -> str:
    """Returns a text of VTK, which gives bytes where it isn't UTF-8."""
    return said if isinstance(said, str) else said.decode(errors="replace")


def _xml_image(path: str) -> "vtkImageData":
    """Reads a .vti."""
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    image: vtkImageData = _output(vtkXMLImageDataReader(), path)
    return image


def _legacy_image(path: str) -> "vtkImageData":
    """Reads a .vtk: structured points as they are, a rectilinear grid with even steps as an image.

    Raises:
        InputError: If it holds anything else.
    """
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOLegacy import vtkGenericDataObjectReader

    reader = vtkGenericDataObjectReader()
    # Else it takes the first array of each kind.
    for kind in ("Scalars", "ColorScalars", "Fields", "Vectors"):
        getattr(reader, f"ReadAll{kind}On")()
    found = _output(reader, path)
    if isinstance(found, vtkImageData):
        return found
    if found is None or not found.IsA("vtkRectilinearGrid"):
        raise InputError(path, "DATASET", found and found.GetClassName(), "STRUCTURED_POINTS, or a RECTILINEAR_GRID")
    image = vtkImageData()
    image.SetDimensions(found.GetDimensions())
    steps = []
    for axis in "XYZ":
        step = np.diff(vtk_to_numpy(getattr(found, f"Get{axis}Coordinates")()).astype(np.float64))
        if step.size and not np.allclose(step, step.mean(), rtol=1e-3, atol=0):
            uneven = f"steps from {step.min():.4g} to {step.max():.4g}"
            raise InputError(path, f"{axis}_COORDINATES", uneven, f"even ones; {RESAMPLE}")
        steps.append(float(step.mean()) if step.size else 1.0)
    image.SetSpacing(steps)
    image.GetPointData().ShallowCopy(found.GetPointData())
    image.GetCellData().ShallowCopy(found.GetCellData())
    image.GetFieldData().ShallowCopy(found.GetFieldData())
    return image


def image_volume(image: "vtkImageData", where: object, key: str | None = None) -> Volume:
    """Returns one array of an ImageData of VTK or pyvista, of points or of cells, turned to the nearest axes of space.

    Args:
        image: The ImageData.
        where: The name that errors give it.
        key: The array's name; None = the one that `read_vtk` describes.

    Raises:
        InputError: If there is no such array, it has other numbers than a volume's, or the image lies in no three directions.
    """
    points, cells = _arrays(image.GetPointData()), _arrays(image.GetCellData())
    arrays = {**cells, **points}
    if not arrays:
        raise InputError(where, "arrays", "none of points or cells", "a data array")
    name = _chosen(image, arrays) if key is None else key
    if name not in arrays:
        raise InputError(where, "key", repr(name), f"{', '.join(arrays)}{nearest(name, arrays)}")
    guessed = key is None and name not in ("labels", "rgba") and len(arrays) > 1
    notes = [f"{short_name(where)}: key = {name!r}, one of {', '.join(arrays)}"] if guessed else []
    # VTK counts points: between n of them lie n - 1 cells. Its arrays run x first, which is our last axis.
    array, of_points = arrays[name], name in points
    width, height, depth = (n if of_points else max(n - 1, 1) for n in image.GetDimensions())
    colours = array.ndim == 2 and (
        (array.dtype == np.uint8 and array.shape[1] in (3, 4)) or (array.dtype.kind == "f" and array.shape[1] == 4)
    )
    if array.dtype.kind not in "uifb" or not (array.ndim == 1 or colours):
        allowed = "one number a voxel, 3 or 4 of uint8, or 4 floats 0..1"
        raise InputError(where, "array", f"{name} of {array.dtype} {array.shape}", allowed)
    if len(array) != width * height * depth:
        raise InputError(where, "array", f"{name} of {len(array):,} voxels", f"{width} × {height} × {depth} of them")
    spacing, axes, turned = _frame(image, where)
    # RGBA on cells that are as long as wide as high: that is how `visualize.save` writes the cells of a lattice.
    candidates = [name, "rgba"] if not of_points and np.allclose(spacing[1:], spacing[0]) else []
    lattice = any(other in cells and _four_bands(arrays[other]) for other in candidates)
    names, palette = _label_fields(image, array) if name == "labels" and array.ndim == 1 else (None, None)
    voxels = array.reshape(depth, height, width, *array.shape[1:])
    if axes != ((0, 1), (1, 1), (2, 1)):
        voxels = turn(voxels, axes)
    return Volume(voxels, spacing, lattice, names, palette, notes=(*notes, *turned))


def _arrays(data: Any) -> dict[str, np.ndarray]:
    """Returns the arrays of numbers, (n,) or (n, bands), of points or cells by their names."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    found = ((index, data.GetArray(index)) for index in range(data.GetNumberOfArrays()))  # None for one of texts
    return {_text(array.GetName() or f"array {index}"): vtk_to_numpy(array) for index, array in found if array is not None}


def _frame(image: "vtkImageData", where: object) -> tuple[Spacing, Axes, tuple[str, ...]]:
    """Returns the spacing (dz, dy, dx), the axes of the array nearest to z, y, x of space, and lines on what was rounded."""
    matrix = image.GetDirectionMatrix()
    direction = np.array([[matrix.GetElement(row, column) for column in range(3)] for row in range(3)])
    steps = np.array(image.GetSpacing())
    direction = direction * np.where(steps < 0, -1, 1)  # a negative step runs the other way
    lengths = np.linalg.norm(direction, axis=0)
    if not np.isfinite(direction).all() or not lengths.all() or abs(np.linalg.det(direction / lengths)) < 1e-3:
        raise InputError(where, "Direction", direction.ravel().tolist(), "three directions in space")
    direction = direction / lengths
    # The image's axis for each of x, y, z of space, so that the angles between them are small.
    order = max(itertools.permutations(range(3)), key=lambda order: sum(abs(direction[range(3), order])))
    notes = []
    least = float(min(abs(direction[range(3), order])))
    if least < PARALLEL:
        notes.append(
            f"{short_name(where)}: oblique, by {math.degrees(math.acos(least)):.0f} degrees: taken along the nearest axes"
        )
    usable = np.isfinite(steps) & (steps != 0)
    if not usable.all():
        notes.append(
            f"{short_name(where)}: spacing {' '.join(f'{step:g}' for step in steps)}, taken as 1 where it is no length"
        )
    steps = np.where(usable, np.abs(steps), 1.0)
    # An array's axes run z, y, x: the last is the image's first.
    axes = tuple((2 - order[world], 1 if direction[world, order[world]] > 0 else -1) for world in (2, 1, 0))
    dz, dy, dx = (float(steps[order[world]]) for world in (2, 1, 0))
    return (dz, dy, dx), axes, tuple(notes)


def _chosen(image: "vtkImageData", arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the name of the array that is read without a key: labels, rgba, the active one, or the first."""
    labels, rgba = arrays.get("labels"), arrays.get("rgba")
    if labels is not None and labels.ndim == 1 and labels.dtype.kind in "ui":
        return "labels"
    if rgba is not None and _four_bands(rgba):
        return "rgba"
    actives = (data.GetScalars() for data in (image.GetPointData(), image.GetCellData()))
    names = [_text(active.GetName() or "") for active in actives if active is not None]
    return next((name for name in names if name in arrays), next(iter(arrays)))


def _four_bands(array: np.ndarray) -> bool:
    """Whether an array has four numbers for each voxel."""
    return array.ndim == 2 and array.shape[1] == 4


def _label_fields(
    image: "vtkImageData", labels: np.ndarray
) -> tuple[Mapping[int, str] | None, Mapping[int, tuple[float, ...]] | None]:
    """Returns names and colours of the labels from the fields that `visualize.save` writes; None for a missing field."""
    data = image.GetFieldData()
    texts, colours = data.GetAbstractArray("label_names"), _arrays(data).get("label_colours")
    names = None
    if texts is not None and texts.IsA("vtkStringArray"):
        names = {index: _text(texts.GetValue(index)) for index in range(texts.GetNumberOfValues())}
    if colours is None or colours.dtype != np.uint8 or colours.ndim != 2 or colours.shape[1] != 3:
        return names, None
    if len(colours) <= labels.max(initial=0):  # too few: which label lacks its colour can't be known
        return names, None
    return names, {label: tuple(colour) for label, colour in enumerate((colours / 255).tolist())}
