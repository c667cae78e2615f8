"""Tables of cells (.csv .tsv .txt): x, y, z and a colour, a label or nothing more, a cell a line.

Read by Python's own csv module. Columns go by their names in the first line, or, where it is none, by their number: x, y, z;
then a label or a colour such as #ff8000 (Goxel's text files have it without the #); or red, green, blue and perhaps alpha.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.layouts import HAIR
from nca3d.targets.options import MAX_CELLS
from nca3d.targets.palette import parse_color
from nca3d.targets.readers.guard import parsing
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, VolumeOptions, from_volume

# A line a cell of the largest lattice would be 300 MB of text: what is larger than this is no table of a body.
MOST_BYTES = 1 << 26
# What a column may be called, in lower case.
COLUMNS = {
    "x": ("x", "i", "col", "column"),
    "y": ("y", "j", "row"),
    "z": ("z", "k", "slice", "layer"),
    "red": ("red", "r", "diffuse_red"),
    "green": ("green", "g", "diffuse_green"),
    "blue": ("blue", "b", "diffuse_blue"),
    "alpha": ("alpha", "a", "opacity"),
    "colour": ("colour", "color", "hex", "rgb"),
    "label": ("label", "class", "type", "kind", "material", "block", "name", "value"),
}
# What may be a label, or the number of the line: it counts where nothing else says what a cell is.
NUMBERS = ("id", "index", "number")
HEX = re.compile(r"#?[0-9a-fA-F]{6}")


class Table(NamedTuple):
    """A table of cells.

    Attributes:
        columns: The columns by their names in `COLUMNS`, each a list of words, one for each cell.
        first: The number of the first line of cells.
        unread: The names of columns that say nothing here.
    """

    columns: Mapping[str, Sequence[str]]
    first: int
    unread: Sequence[str] = ()


def read_table(path: Path, size: Wanted, **options: Unpack[VolumeOptions]) -> Target:
    """Reads a target from a table of cells.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = its own cells and the margin.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If a column is missing, a word is no number, the cells lie on no grid, or it is too large.
    """
    table = _read(path)
    cells, notes = _cells(table, path)
    extent = cells.max(0) + 1
    if int(np.prod([int(n) for n in extent])) > MAX_CELLS:
        found = " × ".join(str(int(n)) for n in extent[::-1])
        raise InputError(path, "x y z", f"cells over {found}", f"at most {MAX_CELLS:,} in all")
    flat = np.ravel_multi_index(tuple(cells.T), tuple(int(n) for n in extent))
    twice = len(flat) - len(np.unique(flat))
    if twice:
        notes.append(f"{path.name}: {twice} cells are there more than once; the last line counts")
    depth, height, width = (int(n) for n in extent[::-1])
    x, y, z = cells.T
    colours = _colours(table, path)
    if table.unread:
        notes.append(f"{path.name}: columns left out: {', '.join(table.unread)}")
    if "label" in table.columns:
        numbers, names = _labels(table.columns["label"])
        palette = None if colours is None else _palette(numbers, colours[0])
        if palette is not None:
            notes.append(f"{path.name}: the colour of each label is the mean of its cells")
        labels = np.zeros((depth, height, width), np.int64)
        labels[z, y, x] = numbers
        if not numbers.all():
            notes.append(f"{path.name}: {int((numbers == 0).sum())} lines of label 0 or air are empty cells")
        volume = Volume(labels, cells=True, names=names, palette=palette, labels=True, notes=tuple(notes))
    elif colours is not None:
        rgba = np.zeros((depth, height, width, 4), np.float32)
        rgba[z, y, x] = colours[0]
        volume = Volume(rgba, cells=True, notes=(*notes, *colours[1]))
    else:
        body = np.zeros((depth, height, width), bool)
        body[z, y, x] = True
        volume = Volume(body, cells=True, names={1: "body"}, labels=True, notes=tuple(notes))
    return from_volume(volume, size, path, path.stem, **options)


def _read(path: Path) -> Table:
    """Reads the words of a table, column by column."""
    held = path.stat().st_size
    if held > MOST_BYTES:
        raise InputError(path, "file", f"{held:,} bytes", f"at most {MOST_BYTES:,} bytes")
    with parsing(path, "a table of x, y, z and colour or label, in UTF-8"):
        text = path.read_text(encoding="utf-8-sig")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    lines = [(number, line) for number, line in lines if line[0] != "#" or HEX.match(line)]  # a comment, as in Goxel's files
    if not lines:
        raise InputError(path, "file", "no line with cells", "x, y, z and colour or label, a cell a line")
    first = lines[0][1]
    between = next((mark for mark in (",", ";", "\t") if mark in first), None)
    rows = [line.split() for _, line in lines] if between is None else []
    if between is not None:
        with parsing(path, "a table of x, y, z and colour or label"):
            rows = [[word.strip() for word in row] for row in csv.reader((line for _, line in lines), delimiter=between)]
    names = _names(rows[0], path)
    start = 0 if names is None else 1
    unread = [word for at, word in enumerate(rows[0]) if at not in names.values()] if names else []
    names = names or _by_number(rows, path)
    rows, numbers = rows[start:], [number for number, _ in lines][start:]
    if not rows:
        raise InputError(path, "file", "no line with cells", "x, y, z and colour or label, a cell a line")
    width = max(names.values()) + 1
    short = next((i for i, row in enumerate(rows) if len(row) < width), None)
    if short is not None:
        found = f"{len(rows[short])} words in line {numbers[min(short, len(numbers) - 1)]}"
        raise InputError(path, "columns", found, f"{width} or more, as in the first line")
    return Table({name: [row[at] for row in rows] for name, at in names.items()}, numbers[0], unread)


def _names(row: Sequence[str], path: Path) -> dict[str, int] | None:
    """Returns the place of each known column by the words of the first line; None if it is a line of cells."""
    words = [word.strip().strip('"').lower() for word in row]
    if all(re.fullmatch(r"[-+0-9.e]+", word) for word in words[:3]):
        return None
    known = {name: words.index(word) for name, called in COLUMNS.items() for word in reversed(called) if word in words}
    if not known.keys() & {"label", "colour", "red"}:
        number = next((word for word in NUMBERS if word in words), None)
        known |= {} if number is None else {"label": words.index(number)}
    missing = [name for name in "xyz" if name not in known]
    if missing:
        allowed = f"x, y, z and red, green, blue (alpha), colour or label{nearest(words[0], COLUMNS)}"
        raise InputError(path, "columns", ", ".join(words)[:120], allowed)
    if "alpha" in known and "red" not in known:
        del known["alpha"]  # how dense a cell without colour is says nothing that a body can show
    return known


def _by_number(rows: Sequence[Sequence[str]], path: Path) -> dict[str, int]:
    """Returns the place of each column by how many there are."""
    kinds: dict[int, tuple[str, ...]] = {
        3: (),
        4: ("label",),
        6: ("red", "green", "blue"),
        7: ("red", "green", "blue", "alpha"),
    }
    count = len(rows[0])
    if count not in kinds:
        raise InputError(
            path, "columns", f"{count} without names", "3 (x y z), 4 (and label or #rrggbb), 6 (r g b) or 7 (r g b a)"
        )
    names = ("x", "y", "z", *kinds[count])
    if count == 4 and all(len(row) > 3 and HEX.fullmatch(row[3]) for row in rows):
        names = ("x", "y", "z", "colour")
    return {name: at for at, name in enumerate(names)}


def _numbers(words: Sequence[str], field: str, path: Path, first: int) -> np.ndarray:
    """Returns words as finite numbers (N,)."""
    try:
        numbers = np.array(words, np.float64)
    except ValueError:
        bad = next(i for i, word in enumerate(words) if not re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", word))
        raise InputError(path, field, f"{words[bad]!r}, {bad} lines after line {first}", "numbers") from None
    if not np.isfinite(numbers).all():
        raise InputError(path, field, "a number that is not finite", "finite numbers")
    return numbers


def _cells(table: Table, path: Path) -> tuple[np.ndarray, list[str]]:
    """Returns the places x, y, z of the cells, whole numbers from 0 up, (N, 3), and what was decided."""
    places = np.stack([_numbers(table.columns[axis], axis, path, table.first) for axis in "xyz"], -1)
    whole = np.rint(places)
    if np.abs(places - whole).max() <= HAIR:
        cells = whole - whole.min(0)
        return _checked(cells, path), []
    # Points of a grid with another step: a millimetre, half a unit.
    steps = []
    for axis in range(3):
        levels = np.unique(places[:, axis].round(6))
        steps.append(float(np.diff(levels).min()) if len(levels) > 1 else np.inf)
    step = min(steps)
    cells = (places - places.min(0)) / step
    if np.abs(cells - np.rint(cells)).max() > 0.02:
        found = f"places between cells, such as {places[0].round(4).tolist()}"
        raise InputError(
            path, "x y z", found, "whole numbers, or points of a regular grid; round them to the cells that you mean"
        )
    return _checked(np.rint(cells), path), [f"{path.name}: its points lie {step:g} apart, a cell each"]


def _checked(cells: np.ndarray, path: Path) -> np.ndarray:
    """Returns places as integers, once they are sure to be small enough."""
    if cells.max() >= MAX_CELLS:
        raise InputError(path, "x y z", f"places {cells.max():.4g} apart", f"at most {MAX_CELLS:,} cells in all")
    return cells.astype(np.int64)


def _labels(words: Sequence[str]) -> tuple[np.ndarray, dict[int, str]]:
    """Returns labels as numbers (N,), and their names where they are words: 1, 2, … in the order of the alphabet."""
    if all(re.fullmatch(r"-?\d{1,9}(\.0*)?", word) for word in words):
        return np.array([int(float(word)) for word in words]), {}
    words = [word.removeprefix("minecraft:") for word in words]
    empty = {"", "0", "air", "cave_air", "void_air", "empty", "none"}
    kinds = sorted({word for word in words} - empty)
    number = {word: at for at, word in enumerate(kinds, 1)} | dict.fromkeys(empty, 0)
    return np.array([number[word] for word in words]), {at: word for word, at in number.items() if at}


def _palette(numbers: np.ndarray, rgba: np.ndarray) -> dict[int, tuple[float, ...]]:
    """Returns the mean colour of the cells of each label, from their numbers (N,) and colours (N, 4)."""
    return {int(label): tuple(rgba[numbers == label, :3].mean(0).tolist()) for label in np.unique(numbers)}


def _colours(table: Table, path: Path) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Returns straight RGBA of the cells (N, 4) and a line about their range; None where the table has no colours."""
    columns = table.columns
    if "colour" in columns:
        words = set(columns["colour"])
        bad = next((word for word in sorted(words) if not HEX.fullmatch(word)), None)
        if bad is not None:
            raise InputError(path, "colour", repr(bad), "codes such as #ff8040")
        known = {word: parse_color(f"#{word.removeprefix('#')}", path, "colour") for word in words}
        rgb = np.array([known[word] for word in columns["colour"]])
        return np.concatenate([rgb, np.ones((len(rgb), 1))], -1), ()
    if not {"red", "green", "blue"} <= columns.keys():
        return None
    rgb = np.stack([_numbers(columns[name], name, path, table.first) for name in ("red", "green", "blue")], -1)
    if rgb.min() < 0 or rgb.max() > 255:
        raise InputError(path, "colours", f"{rgb.min():g} to {rgb.max():g}", "0..1 or 0..255")
    large = rgb.max() > 1
    alpha = np.ones(len(rgb))
    if "alpha" in columns:
        alpha = _numbers(columns["alpha"], "alpha", path, table.first)
        alpha = alpha / 255 if alpha.max() > 1 else alpha
    said = f"{path.name}: colours of 0..{255 if large else 1}"
    return np.concatenate([rgb / (255 if large else 1), np.clip(alpha, 0, 1)[:, None]], -1), (said,)
