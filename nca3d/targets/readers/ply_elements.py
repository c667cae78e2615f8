"""The tables of a .ply: its header, and the numbers of its elements, in text or binary (Turk 1994, "The PLY polygon format").

Read here and not by trimesh 5.2. It refuses binary files in which triangles and quads are mixed, as Blender writes them, so
that not even its raw elements can be had of those; it gives the colours of quads to the wrong triangles
(`test_polygons_of_any_lengths_keep_their_corners_and_colours`), cuts bent polygons so that they fold over
(`test_a_bent_face_covers_what_is_inside_of_it`), and takes text that ends before its last face for a whole file
(`test_broken_meshes_are_refused`).
"""

import io
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.meshes import MAX_FACES
from nca3d.targets.readers.polygons import numbers_of

TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"}
TYPES |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4"}
TYPES |= {"float64": "f8", "int64": "i8", "uint64": "u8"}
# Text becomes numbers of eight bytes: "1 1 1 1" takes four times its length.
MAX_TEXT = 1 << 27


@dataclass
class Element:
    """A table of a .ply.

    Attributes:
        name: Its name, as in "vertex".
        count: Its rows.
        properties: The type of each property, and that of the length in front of it for lists ("" = one number).
        columns: The numbers of each property: one a row, or those of all rows in one line.
        lengths: How many numbers of a list each row has.
    """

    name: str
    count: int
    properties: dict[str, tuple[str, str]] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    lengths: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def is_table(self) -> bool:
        """Whether all rows are of one length: it has no lists."""
        return not any(count for _, count in self.properties.values())

    def ledger(self) -> "tuple[dict[str, array[int]], dict[str, array[int]]]":
        """Returns what a walk through the rows writes down: where properties begin, and how long their lists are."""
        lists = [name for name, (_, count) in self.properties.items() if count]
        return {name: array("q") for name in self.properties}, {name: array("q") for name in lists}

    def take(self, name: str, source: np.ndarray, starts: "array[int]", lengths: "array[int] | None", size: int = 1) -> None:
        """Takes a property of all rows from where it lies.

        Args:
            name: Its name.
            source: All numbers, or all bytes, (N,).
            starts: Where it begins in each row.
            lengths: How many numbers each row has; None = one.
            size: How many items of `source` make a number.
        """
        first = np.array(starts, np.int64)
        each = np.ones(len(first), np.int64) if lengths is None else np.array(lengths, np.int64)
        self.columns[name] = source[_ranges(first, each * size)]
        if lengths is not None:
            self.lengths[name] = each

    def number(self, name: str) -> np.ndarray | None:
        """Returns a property with one number a row, of any shape; None if there is none."""
        return self.columns.get(name) if name not in self.lengths else None


def read_elements(data: bytes, path: Path) -> tuple[dict[str, Element], str | None]:
    """Returns the elements of a file by name, and the name of its texture.

    Raises:
        InputError: If its header is none, or promises more than the file holds.
    """
    end = data.find(b"end_header", 0, 1 << 16)
    if not data.startswith(b"ply") or end < 0:
        raise InputError(path, "header", repr(data[:16]), "'ply' ... 'end_header'")
    elements, encoding, picture = _header(data[:end].decode("latin-1"), path)
    end += len(b"end_header")
    rest = memoryview(data)[end + 1 + (data[end : end + 2] == b"\r\n") :]
    if encoding == "ascii":
        return _ascii(elements, rest, path), picture
    order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(encoding)
    if order is None:
        raise InputError(path, "format", repr(encoding), "ascii, binary_little_endian, binary_big_endian")
    at = 0
    for element in elements:
        at = _binary(element, rest, at, order, path)
    return {element.name: element for element in elements}, picture


def _header(text: str, path: Path) -> tuple[list[Element], str, str | None]:
    """Returns the elements, not filled yet, the encoding, and the name of a texture."""
    elements: list[Element] = []
    encoding, picture = "", None
    for line in text.splitlines()[1:]:
        words = line.split()
        if words[:1] == ["format"] and len(words) > 1:
            encoding = words[1]
        elif words[:1] == ["comment"] and len(words) > 2 and words[1].lower() == "texturefile":
            picture = picture or line.split(None, 2)[2].strip()
        elif words[:1] == ["element"] and len(words) == 3 and words[2].isdecimal():
            elements.append(Element(words[1], int(words[2])))
        elif words[:1] == ["property"] and elements and len(words) in (3, 5):
            kinds = [words[1]] if len(words) == 3 else words[2:4]
            if (len(words) == 5 and words[1] != "list") or any(kind not in TYPES for kind in kinds):
                raise InputError(path, "header", repr(line), f"types {', '.join(TYPES)}")
            elements[-1].properties[words[-1]] = (TYPES[kinds[-1]], TYPES[kinds[0]] if len(words) == 5 else "")
        elif words[:1] in (["element"], ["property"], ["format"]):  # other words are comments, broken over lines or not
            raise InputError(path, "header", repr(line), "format, comment, element NAME COUNT, property TYPE NAME")
    return elements, encoding, picture


def _room(element: Element, least: int, held: int, path: Path) -> None:
    """Checks that a file has room for the rows of an element.

    Args:
        element: The element.
        least: The least that a row can have, in bytes or characters.
        held: What is left of the file.
        path: The file.
    """
    most = MAX_FACES if not element.is_table else 3 * MAX_FACES
    if element.count * least > held:
        found = f"{element.count:,} {element.name} in {held:,} bytes"
        raise InputError(path, "header", found, "no more elements than the file has room for: it may be cut off, copy it again")
    if element.count > most:
        found = f"{element.count:,} of {element.name}"
        raise InputError(path, "header", found, f"at most {most:,}: simplify it first (Blender: Decimate)")


def _ascii(elements: list[Element], text: memoryview, path: Path) -> dict[str, Element]:
    """Fills elements from numbers in text."""
    if len(text) > MAX_TEXT:
        raise InputError(path, "data", f"{len(text):,} bytes of text", f"at most {MAX_TEXT:,}: save it as binary .ply")
    rest = bytes(text)
    for element in elements:
        _room(element, 2 * len(element.properties) or 1, len(rest) + 1, path)
    numbers = numbers_of(rest, path)
    try:
        whole = _fill(elements, numbers, None, path) == len(numbers)
    except InputError:
        whole = False
    total = sum(element.count for element in elements)
    if not whole and rest.count(b"\n") + 1 >= total:
        # Rows with more numbers than the header speaks of (MeshLab's colours of corners): each is a line of its own.
        counts = [count for line in io.BytesIO(rest) if (count := len(np.fromstring(line, np.float64, sep=" ")))]
        rows = np.concatenate([[0], np.cumsum(counts)])
        _fill(elements, numbers, rows if len(counts) >= total else None, path)
    elif not whole:
        _fill(elements, numbers, None, path)
    return {element.name: element for element in elements}


def _fill(elements: list[Element], numbers: np.ndarray, rows: np.ndarray | None, path: Path) -> int:
    """Fills elements from numbers in a row; returns the index behind the last.

    Args:
        elements: The elements.
        numbers: All numbers of the file.
        rows: Where each row begins, and the last ends; None = rows follow one another.
        path: The file.
    """
    at = done = 0
    for element in elements:
        mine = None if rows is None else rows[done : done + element.count + 1]
        done += element.count
        if not element.is_table:
            at = _walk(element, numbers, at, mine, path)
            continue
        width = len(element.properties)
        starts = at + width * np.arange(element.count) if mine is None else mine[:-1]
        if element.count and (starts[-1] + width > len(numbers) or (mine is not None and (np.diff(mine) < width).any())):
            _short(element, path)
        table = numbers[at : at + width * element.count].reshape(-1, width) if mine is None else None
        table = numbers[starts[:, None] + np.arange(width)] if table is None else table
        element.columns = {name: table[:, i] for i, name in enumerate(element.properties)}
        at = int(starts[-1]) + width if element.count else at
    return at


def _walk(element: Element, numbers: np.ndarray, at: int, rows: np.ndarray | None, path: Path) -> int:
    """Fills an element with lists from numbers in a row, from index `at`; returns the index behind it, see `_fill`."""
    starts, lengths = element.ledger()
    values = numbers.data
    ends = [len(values)] * element.count if rows is None else rows[1:].tolist()
    begins: Sequence[int] = [] if rows is None else rows[:-1].tolist()
    try:
        for row, end in enumerate(ends):
            at = begins[row] if begins else at
            for name, first in starts.items():
                length = 1
                if name in lengths:
                    length = int(values[at])
                    lengths[name].append(length)
                    at += 1
                first.append(at)
                at += length
                if length < 0 or at > end:
                    _short(element, path)
    except (IndexError, ValueError, OverflowError):
        _short(element, path)
    for name, begin in starts.items():
        element.take(name, numbers, begin, lengths.get(name))
    return at


def _binary(element: Element, data: memoryview, at: int, order: str, path: Path) -> int:
    """Fills an element from bytes, from byte `at`; returns the byte behind it."""
    kinds = {
        name: (np.dtype(order + kind), np.dtype(order + count) if count else None)
        for name, (kind, count) in element.properties.items()
    }
    _room(element, sum((count or kind).itemsize for kind, count in kinds.values()) or 1, len(data) - at, path)
    if element.is_table:
        dtype = np.dtype([(name, kind) for name, (kind, _) in kinds.items()])
        table = np.frombuffer(data, dtype, element.count, at)
        element.columns = {name: table[name] for name in kinds}
        return at + element.count * dtype.itemsize
    # Rows differ in length: where each begins is found row by row, the numbers are then taken all at once.
    starts, lengths = element.ledger()
    if any(count is not None and count.kind == "f" for _, count in kinds.values()):
        raise InputError(path, "header", "a list whose length is no whole number", "property list uchar int vertex_indices")
    plan = [
        (starts[name].append, kind.itemsize, count.itemsize if count else 0, lengths.get(name))
        for name, (kind, count) in kinds.items()
    ]
    end = len(data)
    little: Literal["little", "big"] = "little" if order == "<" else "big"
    for _ in range(element.count):
        for begin, size, head, found in plan:
            if found is None:
                begin(at)
                at += size
            else:
                length = data[at] if head == 1 and at < end else int.from_bytes(data[at : at + head], little)
                at += head
                found.append(length)
                begin(at)
                at += length * size
        if at > end:
            _short(element, path)
    raw = np.frombuffer(data, np.uint8)
    for name, (kind, _) in kinds.items():
        element.take(name, raw, starts[name], lengths.get(name), kind.itemsize)
        element.columns[name] = element.columns[name].view(kind)
    return at


def _short(element: Element, path: Path) -> NoReturn:
    """Refuses a file that ends before its rows do."""
    found = f"the file ends before its last {element.name}"
    raise InputError(path, "data", found, f"the {element.count:,} that its header speaks of: copy it again")


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the indices of ranges one after another: start, start + 1, ... for each."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
