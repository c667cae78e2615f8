"""NRRD (.nrrd .nhdr) by pynrrd, and the segments that 3D Slicer keeps in it.

pynrrd reads the header and makes an array of the bytes. It gets these unpacked, and no more of them than the header promises:
by itself it unpacks all that there is, and opens whatever file a header names.
"""

import bz2
import gzip
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.readers.anatomy import HEADER, LPS_TO_RAS, Scan, check_held, check_room, choose_frame, library, read_bytes
from nca3d.targets.readers.guard import parsing

WHOLE = "a whole NRRD file"
# How the numbers of a file are written: plain bytes, text, or packed.
RAW, TEXT, GZIP, BZIP2 = ("raw",), ("ascii", "text", "txt"), ("gzip", "gz"), ("bzip2", "bz2")
# The kinds of an axis that runs through space, and of one whose numbers are a colour (Kindlmann, "Definition of NRRD").
SPATIAL, COLOUR = ("domain", "space"), ("rgb-color", "rgba-color", "3-color", "4-color", "vector", "3-vector", "4-vector")
# The worlds that say where right is, by the signs that lead to right, anterior, superior.
WORLDS = {
    **dict.fromkeys(("left-posterior-superior", "lps"), LPS_TO_RAS),
    **dict.fromkeys(("left-anterior-superior", "las"), np.array([[-1.0], [1.0], [1.0]])),
    **dict.fromkeys(("right-anterior-superior", "ras"), np.ones((3, 1))),
}
# Lines between a header and its data; more would be a loop without end.
MOST_LINES = 10_000


def read_nrrd(path: Path, frame: int | None) -> Scan:
    """Reads one volume of a .nrrd or .nhdr; segments of Slicer become one volume of labels.

    Args:
        path: The file. Its data may lie in a second one beside it.
        frame: The volume, if there are several; -1 = the last.

    Raises:
        InputError: If the file is unreadable, truncated or too large, or holds several volumes and none is chosen.
    """
    nrrd = library("nrrd", path)
    with parsing(path, WHOLE):
        with path.open("rb") as file:
            start = file.read(HEADER)
        # An empty line ends the header; that of a detached one may end with its file.
        blank = re.search(rb"\r?\n\r?\n", start)
        if not start.startswith(b"NRRD") or (blank is None and len(start) == HEADER):
            raise InputError(path, "header", repr(start[:8]), f"a NRRD header of at most {HEADER:,} bytes")
        text = start[: blank.start() if blank else len(start)].decode("utf-8", "replace")
        header = nrrd.read_header([line.rstrip("\r") for line in text.split("\n")])
        for field in ("sizes", "type", "encoding"):
            if field not in header:
                raise InputError(path, "header", f"no field '{field}'", WHOLE)
        voxels = _read_data(path, header, blank.end() if blank else len(start))
        names = _Segments(header)
        apart = _other_axis(header, voxels)
        if apart is not None:
            voxels = np.moveaxis(voxels, apart, -1)
        if voxels.ndim != 3 + (apart is not None):
            raise InputError(path, "dim", tuple(header["sizes"]), "three axes in space, and one more at most")
        affines, spacing, notes = _axes(header, apart)
        said = [f"{path.name}: {line}" for line in notes]
        if names:
            if frame is not None:
                raise InputError(path, "frame", repr(frame), "no frame with the segments of Slicer, which are one volume")
            voxels, lines = names.merge(voxels if apart is not None else voxels[..., None])
            said += [f"{path.name}: {line}" for line in lines]
            return Scan(voxels, affines, spacing, names.names, names.palette, True, tuple(said))
        if apart is not None and not _are_colours(header, apart, voxels):
            voxels = voxels[..., choose_frame(voxels.shape[-1], frame, path)]
        else:
            choose_frame(1, frame, path)
        return Scan(voxels, affines, spacing, notes=tuple(said))


def _read_data(path: Path, header: Mapping[str, Any], offset: int) -> np.ndarray:
    """Reads the numbers of all axes, the fastest first, from the file itself or the one beside it."""
    nrrd = library("nrrd", path)
    encoding = str(header["encoding"]).lower()
    if encoding not in RAW + TEXT + GZIP + BZIP2:
        raise InputError(path, "encoding", repr(encoding), ", ".join((*RAW, *TEXT, *GZIP, *BZIP2)))
    lines, skipped = (int(header.get(f"{of} skip", header.get(f"{of}skip", 0))) for of in ("line", "byte"))
    # -1 means the last bytes, which of packed data that hold no more are all.
    if not 0 <= lines <= MOST_LINES or skipped < -1 or (skipped > 0 and encoding not in RAW):
        allowed = f"0..{MOST_LINES} lines, and bytes only of raw data (-1 = the last ones)"
        raise InputError(path, "skip", f"{lines} lines, {skipped} bytes of {encoding} data", allowed)
    # What pynrrd needs to say how large a number is; then the same with all of them.
    plain = {key: header[key] for key in ("type", "endian", "dimension", "sizes") if key in header}
    one = {"endian": "little", **plain, "encoding": "raw", "dimension": 1, "sizes": np.array([1])}
    dtype: np.dtype = nrrd.read_data(one, io.BytesIO(bytes(8))).dtype
    if dtype.kind not in "uif":
        raise InputError(path, "type", repr(header["type"]), "integers or floats of 8 to 64 bits")
    sizes = [int(n) for n in header["sizes"]]
    need = check_room(sizes, dtype.itemsize, path)
    data_path, offset = _data_file(path, header, offset)
    held = data_path.stat().st_size - offset
    with data_path.open("rb") as file:
        file.seek(offset)
        for _ in range(lines):
            file.readline()
        if encoding in RAW:
            check_held(need + max(skipped, 0), held, path)
            file.seek(skipped if skipped >= 0 else held - need, io.SEEK_CUR)
        if encoding in TEXT:
            check_held(2 * math.prod(sizes) - 1, held, path)  # a digit and what parts it from the next
            check_room((1, 1, held), 1, path)
            return nrrd.read_data({**plain, "encoding": "text"}, io.BytesIO(file.read()))
        stream: IO[bytes] = file
        if encoding in GZIP:
            stream = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
        elif encoding in BZIP2:
            stream = bz2.BZ2File(file)
        data = bytes(read_bytes(stream, need, path))
    return nrrd.read_data({**plain, "encoding": "raw"}, io.BytesIO(data))


def _data_file(path: Path, header: Mapping[str, Any], offset: int) -> tuple[Path, int]:
    """Returns the file that holds the data, and the byte at which it begins.

    Raises:
        InputError: If it is not a plain file beside the header's.
    """
    name = header.get("data file", header.get("datafile"))
    if name is None:
        return path, offset
    beside = path.parent / str(name)
    if str(name) != beside.name:
        raise InputError(path, "data file", repr(name), "the name of one file in the same folder")
    if not beside.is_file():
        raise InputError(path, "data file", f"{name!r}, which isn't there", "this file in the same folder")
    return beside, 0


def _directions(header: Mapping[str, Any]) -> np.ndarray | None:
    """Returns the steps of all axes in the world's three, (axes, 3), NaN for an axis outside space; None if it has none."""
    rows = header.get("space directions")
    if rows is None:
        return None
    rows = np.array([np.full(3, np.nan) if row is None else row for row in rows], np.float64)
    return rows if rows.shape == (len(header["sizes"]), 3) else None


def _kinds(header: Mapping[str, Any]) -> list[str]:
    """Returns the kind of each axis in lower case; "" = not known."""
    kinds = [str(kind).lower().replace("none", "").replace("???", "") for kind in header.get("kinds", ())]
    return kinds if len(kinds) == len(header["sizes"]) else [""] * len(header["sizes"])


def _other_axis(header: Mapping[str, Any], voxels: np.ndarray) -> int | None:
    """Returns the axis of colours, times or layers; None if all axes run through space."""
    rows, kinds = _directions(header), _kinds(header)
    if rows is not None and np.isnan(rows).any(1).sum() == 1:
        return int(np.flatnonzero(np.isnan(rows).any(1))[0])
    others = [axis for axis, kind in enumerate(kinds) if kind and kind not in SPATIAL]
    if len(others) == 1:
        return others[0]
    if voxels.ndim < 4:
        return None
    # Nothing says which: three or four bytes that run fastest are a colour, and volumes in a row are times.
    return 0 if voxels.dtype == np.uint8 and voxels.shape[0] in (3, 4) else voxels.ndim - 1


def _are_colours(header: Mapping[str, Any], apart: int, voxels: np.ndarray) -> bool:
    """Whether the last axis of voxels, in the file the axis `apart`, holds red, green, blue and perhaps alpha."""
    kind = _kinds(header)[apart]
    return voxels.dtype == np.uint8 and voxels.shape[-1] in (3, 4) and (kind in COLOUR or (not kind and apart == 0))


def _axes(header: Mapping[str, Any], apart: int | None) -> tuple[tuple[np.ndarray, ...], list[float], list[str]]:
    """Returns the affines and the spacing of a `Scan`, and lines about what was guessed."""
    spatial = [axis for axis in range(len(header["sizes"])) if axis != apart]
    spacings = header.get("spacings", ())
    spacing = [float(spacings[axis]) if len(spacings) == len(header["sizes"]) else 1.0 for axis in spatial]
    rows, space = _directions(header), str(header.get("space", "")).lower().removesuffix("-time").removesuffix("t")
    if rows is None:
        return (), spacing, []
    affine = rows[spatial].T
    if space in WORLDS:
        return (affine * WORLDS[space],), spacing, []
    return (
        (affine,),
        spacing,
        [f"its space {space or 'without a name'!r} says nothing of left and right; x, y, z were taken as right, front, up"],
    )


class _Segments:
    """The segments of a .seg.nrrd of 3D Slicer; false if there are none.

    Attributes:
        rows: The layer of each segment, and its label there.
        names: The names of the labels that `merge` leaves.
        palette: Their colours, if each has one.
    """

    def __init__(self, header: Mapping[str, Any]) -> None:
        found = (re.fullmatch(r"Segment(\d+)_(?:ID|Name)", key) for key in header)
        numbers = sorted({int(match[1]) for match in found if match})
        # Until version 4.10 each segment was a layer of its own, of zeros and ones.
        self.rows = [(int(header.get(f"Segment{n}_Layer", n)), int(header.get(f"Segment{n}_LabelValue", 1))) for n in numbers]
        self.titles = [str(header.get(f"Segment{n}_Name", f"segment {n}")) for n in numbers]
        self.colours = [_colour(header.get(f"Segment{n}_Color")) for n in numbers]
        self.names: dict[int, str] = {}
        self.palette: dict[int, tuple[float, ...]] | None = None

    def __bool__(self) -> bool:
        return bool(self.rows)

    def merge(self, layers: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Merges layers (i, j, k, layers) into labels (i, j, k); where segments overlap, the later covers the earlier.

        Returns:
            The labels, those of the file if it has one layer, else 1, 2, ... in the order of segments; and lines about what
            was covered or left out.
        """
        alone = layers.shape[-1] == 1
        labels = [label if alone else n for n, (_, label) in enumerate(self.rows, 1)]
        self.names = dict(zip(labels, self.titles, strict=True))
        colours = {label: colour for label, colour in zip(labels, self.colours, strict=True) if colour is not None}
        if alone:
            self.palette = colours if set(colours) >= set(np.unique(layers[layers != 0]).tolist()) else None
            return layers[..., 0], []
        self.palette = colours if len(colours) == len(self.rows) else None
        merged, covered, missing = np.zeros(layers.shape[:3], np.uint16), 0, []
        for label, (layer, value), title in zip(labels, self.rows, self.titles, strict=True):
            if not 0 <= layer < layers.shape[-1]:
                missing.append(title)
                continue
            here = layers[..., layer] == value
            covered += int(np.count_nonzero(merged[here]))
            merged[here] = label
        left = int(np.count_nonzero(layers.any(-1) & (merged == 0)))
        lines = [f"segments overlap in {covered:,} voxels; the later covers the earlier"] * bool(covered)
        lines += [f"{left:,} voxels belong to no segment, and are empty"] * bool(left)
        return merged, lines + [f"no layer for the segments {', '.join(missing)}"] * bool(missing)


def _colour(text: object) -> tuple[float, ...] | None:
    """Returns a colour of Slicer, three numbers 0..1 as text; None if it is none."""
    try:
        red, green, blue = (min(max(float(part), 0.0), 1.0) for part in str(text).split())
    except ValueError:
        return None
    return red, green, blue
