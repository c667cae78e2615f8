"""What the header of a VTK image promises, compared with the bytes of its file before VTK sees it.

VTK makes room for what a header says, however short the file is. Only numbers of the header are read here; the data, in any of
VTK's four encodings, is left to VTK.
"""

import math
import re
from pathlib import Path
from xml.parsers import expat

from nca3d.errors import InputError
from nca3d.targets.options import MAX_BYTES

# Bytes of one number, by VTK's name of its type.
TYPES = {f"{sign}Int{8 * size}": size for sign in ("", "U") for size in (1, 2, 4, 8)} | {"Float32": 4, "Float64": 8}
# How much smaller data is that is packed, at the very most: zlib makes 1 of 1,032 bytes, LZMA a little less in VTK's blocks.
PACKED = 8192
# The beginning of a .vtk, with all that comes before its data.
START = 1 << 16
# What to do with a grid that is no image.
RESAMPLE = "in ParaView, 'Resample To Image' and a .vti make an image of it"
MESH = "a mesh: save it as .ply"


def promised_bytes(path: Path) -> int:
    """Returns the bytes that the data of a .vti or .vtk takes in memory.

    Raises:
        InputError: If it is no image, or the header is broken, or promises more than there is room for or than the file holds.
    """
    held = path.stat().st_size
    if held > MAX_BYTES:
        raise InputError(path, "file", f"{held:,} bytes", f"at most {MAX_BYTES:,}")
    promised, least = _legacy(path, held) if path.suffix.lower() == ".vtk" else _xml(path)
    if promised > MAX_BYTES:
        raise InputError(path, "data", f"{promised:,} bytes by its header", f"at most {MAX_BYTES:,}")
    if least > held:
        raise InputError(path, "data", f"{held:,} bytes in the file", f"the {least:,} bytes or more that its header speaks of")
    return promised


class _DataFollows(Exception):
    """The header is over: what follows may be no XML."""


class _Header:
    """The numbers of a .vti's header, as its elements come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.packed = False
        self.whole: list[int] | None = None
        # The points and the cells of the piece at hand, and which of them an array has its numbers for.
        self.counts = {"PointData": 0, "CellData": 0}
        self.of = ""
        self.promised = self.least = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Takes the beginning of an element."""
        if tag == "VTKFile":
            self.packed = bool(attributes.get("compressor"))
            if attributes.get("type") != "ImageData":
                kind = attributes.get("type", "")
                way = MESH if kind in ("PolyData", "UnstructuredGrid") else RESAMPLE
                raise InputError(self.path, "header", repr(kind), f"a VTK file of type ImageData; {way}")
        elif tag == "ImageData":
            self.whole = self._extent(attributes, "WholeExtent")
        elif tag == "Piece":
            self._extent(attributes, "Extent")
        elif tag in ("PointData", "CellData", "FieldData"):
            self.of = tag
        elif tag == "DataArray" and self.of:
            self._array(attributes)
        elif tag == "AppendedData":
            raise _DataFollows

    def _extent(self, attributes: dict[str, str], name: str) -> list[int]:
        """Reads the first and last point along x, y, z, and counts points and cells."""
        text = attributes.get(name, "")
        parts = text.split()
        ends = [int(part) for part in parts if re.fullmatch(r"-?\d{1,9}", part)]
        if len(ends) != 6 or len(parts) != 6:
            raise InputError(self.path, "header", f"{name} {text!r}", "six whole numbers, first and last along x, y, z")
        sides = [last - first + 1 for first, last in zip(ends[::2], ends[1::2], strict=True)]
        if min(sides) < 1 or math.prod(sides) > MAX_BYTES // 4:
            raise InputError(
                self.path, name, f"{sides} points", f"1 or more along each axis, at most {MAX_BYTES // 4:,} in all"
            )
        outside = self.whole and any(
            first < low or last > high
            for first, last, low, high in zip(ends[::2], ends[1::2], self.whole[::2], self.whole[1::2], strict=True)
        )
        if outside:
            raise InputError(self.path, name, text, f"a part of the WholeExtent {self.whole}")
        self.counts = {"PointData": math.prod(sides), "CellData": math.prod(max(side - 1, 1) for side in sides)}
        return ends

    def _array(self, attributes: dict[str, str]) -> None:
        """Adds what an array promises."""
        numbers = []
        for name, usual in (("NumberOfComponents", 1), ("NumberOfTuples", self.counts.get(self.of, 0))):
            text = attributes.get(name, str(usual)).strip()
            if not re.fullmatch(r"\d{1,9}", text):
                raise InputError(self.path, name, repr(text), "a whole number")
            numbers.append(int(text))
        values = numbers[0] * self.counts.get(self.of, numbers[1])
        size = values * TYPES.get(attributes.get("type", ""), 1)
        self.promised += size
        if attributes.get("format") == "ascii":
            self.least += 2 * values - 1 if values else 0  # a digit and a space each
        else:
            self.least += size // PACKED if self.packed else size


def _xml(path: Path) -> tuple[int, int]:
    """Returns the bytes that a .vti's arrays take, and those that the file must have at least."""
    header = _Header(path)
    parser = expat.ParserCreate()
    parser.StartElementHandler = header.start

    def doctype(*_: object) -> None:
        raise InputError(path, "header", "a DOCTYPE", "a VTK file without one")

    parser.StartDoctypeDeclHandler = doctype
    with path.open("rb") as file:
        begin = file.read(START)
        if b"<VTKFile" not in begin:
            raise InputError(path, "header", repr(begin[:24]), "a VTK XML file of type ImageData with its WholeExtent")
        try:
            while begin:
                parser.Parse(begin, False)
                begin = file.read(START)
            parser.Parse(b"", True)
        except _DataFollows:
            pass
        except expat.ExpatError as error:
            if header.whole is None:
                raise InputError(path, "header", error, "a VTK XML file of type ImageData with its WholeExtent") from error
            raise InputError(path, "file", f"unreadable ({error})", "a whole .vti file") from error
    if header.whole is None:
        raise InputError(path, "header", "no ImageData", "a VTK XML file of type ImageData with its WholeExtent")
    return header.promised, header.least


def _legacy(path: Path, held: int) -> tuple[int, int]:
    """Returns the bytes that a .vtk's arrays take at most, and those that the file must have at least."""
    with path.open("rb") as file:
        start = file.read(START)
    lines = start.split(b"\n", 2)
    if not start.startswith(b"# vtk DataFile") or len(lines) < 3:
        raise InputError(path, "header", repr(start[:24]), "a VTK file that begins with '# vtk DataFile Version'")
    # The second line is a title, which may say anything.
    kind = re.search(rb"(?im)^\s*DATASET\s+(\w+)", lines[2])
    name = kind[1].decode().upper() if kind else "none"
    if name not in ("STRUCTURED_POINTS", "RECTILINEAR_GRID"):
        way = MESH if name in ("POLYDATA", "UNSTRUCTURED_GRID") else RESAMPLE
        raise InputError(path, "DATASET", name, f"STRUCTURED_POINTS, or a RECTILINEAR_GRID with even steps; {way}")
    found = re.search(rb"(?im)^\s*DIMENSIONS\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})\b", lines[2])
    sides = [int(side) for side in found.groups()] if found else []
    if not sides or min(sides) < 1 or math.prod(sides) > MAX_BYTES // 4:
        raise InputError(path, "DIMENSIONS", f"{sides}", f"1 or more points along each axis, at most {MAX_BYTES // 4:,} in all")
    # A bit for each cell is the least there can be; text has a digit and a space for what takes eight bytes.
    return min(4 * held, MAX_BYTES), math.prod(max(side - 1, 1) for side in sides) // 8
