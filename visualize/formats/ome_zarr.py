"""OME-Zarr 0.5 for napari and other microscopy tools: a film as an image (t,c,z,y,x), labels beside it.

Written with zarr and the standard's own words (https://ngff.openmicroscopy.org/0.5): the libraries for OME-Zarr add
dask and pyramids for images that don't fit into memory, which bodies do.
"""

from pathlib import Path
from typing import Any

import numpy as np

from visualize.files import atomic_folder, check_folder
from visualize.formats.content import Content, Numbers
from visualize.frames import FloatArray

VERSION = "0.5"
CHUNK = 1 << 20  # bytes: many frames of a small body share one file
CHANNELS = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"), ("alpha", "FFFFFF"))


def write_zarr(content: Content, path: Path) -> None:
    """Writes all frames as uint8 channels red, green, blue (each times alpha) and alpha, with `labels/classes` if any.

    Colours are premultiplied because these tools add channels up as light: a faint cell must be dark. One unit of
    cell_size is a micrometre and one step a second, for want of better units; the exact steps, which needn't be evenly
    spaced, are in the attributes under "nca3d".

    Raises:
        ValueError: there is a folder of that name that holds something else.
    """
    import zarr

    check_folder(path, lambda names: not names or bool({"zarr.json", ".zgroup"} & set(names)), "Zarr store")
    notes: dict[str, Any] = {"steps": content.steps.tolist(), "alpha": "premultiplied", "cell_size": content.cell_size}
    with atomic_folder(path) as inside:
        root = zarr.open_group(inside, mode="w", zarr_format=3)
        image: dict[str, Any] = {"version": VERSION}
        image |= {"multiscales": [_multiscale(content, path.name.split(".")[0], "tczyx")], "omero": _omero(len(content.frames))}
        root.attrs.update({"ome": image, "nca3d": notes})
        _write(root, content, np.moveaxis(content.frames, -1, 1), "tczyx")
        if content.labels is not None:
            folder = root.create_group("labels", attributes={"ome": {"version": VERSION, "labels": ["classes"]}})
            classes = folder.create_group("classes")
            label: dict[str, Any] = {"version": VERSION, "image-label": _image_label(content)}
            classes.attrs.update({"ome": label | {"multiscales": [_multiscale(content, "classes", "tzyx")]}})
            _write(classes, content, content.labels, "tzyx")


def _write(group: Any, content: Content, values: Numbers, axes: str) -> None:
    """Frames, or labels as they are, as the array "0" of a group, a block of whole frames at a time."""
    image = values.dtype == np.float32
    dtype = np.dtype(np.uint8) if image else values.dtype
    frame = int(np.prod(values.shape[1:])) * dtype.itemsize
    block = int(np.clip(CHUNK // frame, 1, len(values)))
    edge = tuple(min(side, 128) for side in content.size)
    chunks = (block, *values.shape[1:-3], *edge)
    array = group.create_array("0", shape=values.shape, dtype=dtype, chunks=chunks, dimension_names=list(axes), fill_value=0)
    for start in range(0, len(values), block):
        part = values[start : start + block]
        array[start : start + block] = _light(part) if image else part


def _light(frames: FloatArray) -> Numbers:
    """Straight frames (t,4,z,y,x) as premultiplied bytes."""
    alpha = frames[:, 3:]
    return (np.concatenate([frames[:, :3] * alpha, alpha], axis=1) * 255 + 0.5).astype(np.uint8)


def _multiscale(content: Content, name: str, axes: str) -> dict[str, Any]:
    """One level, its axes, and what one index means along each of them."""
    kinds = {"t": ("time", "second"), "c": ("channel", None)}
    described = []
    for axis in axes:
        kind, unit = kinds.get(axis, ("space", "micrometer"))
        described.append({"name": axis, "type": kind} | ({"unit": unit} if unit else {}))
    first, last = float(content.steps[0]), float(content.steps[-1])
    apart = (last - first) / (len(content.steps) - 1) if len(content.steps) > 1 else 1.0
    scale = {"t": apart, "c": 1.0}
    transforms = [
        {"type": "scale", "scale": [scale.get(axis, content.cell_size) for axis in axes]},
        {"type": "translation", "translation": [first if axis == "t" else 0.0 for axis in axes]},
    ]
    return {"name": name, "axes": described, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}


def _omero(frames: int) -> dict[str, Any]:
    """How to show the channels: colours added up, the last frame first; alpha would wash them out and is off."""
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    channels = [{"label": name, "color": colour, "active": name != "alpha", "window": window} for name, colour in CHANNELS]
    return {"channels": channels, "rdefs": {"model": "color", "defaultT": frames - 1, "defaultZ": 0}}


def _image_label(content: Content) -> dict[str, Any]:
    described: dict[str, Any] = {"source": {"image": "../../"}}
    if content.palette is not None:
        described["colors"] = [
            {"label-value": value, "rgba": [*colour, 255 if value else 0]}
            for value, colour in enumerate(content.palette.tolist())
        ]
    if content.names:
        described["properties"] = [{"label-value": value, "name": name} for value, name in enumerate(content.names)]
    return described
