"""Names and colours of labels from a file beside a scan: JSON, TSV of BIDS, and the tables of FreeSurfer, Slicer and ITK-SNAP.

The tables of lines are read here: the libraries that know them (nilearn, freesurfer's own) would be the only use of a large
package, for one regular expression a line.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nca3d.targets.labels import MAX_CLASSES, whole_numbers
from nca3d.targets.labels import present as labels_present
from nca3d.targets.palette import distinct

# FreeSurfer's largest table has 100 kB.
MOST_BYTES = 1 << 20
# The first of a list of names where it stands for 0.
EMPTY = ("background", "empty", "unknown", "clear label", "bg", "none", "air", "")
# Fields of a sidecar of BIDS, whose values may all be whole numbers.
SIDECAR = {"EchoTime", "RepetitionTime", "FlipAngle", "MagneticFieldStrength", "SeriesNumber", "EchoTrainLength"}
# What a column or key is called, in rising generality: BIDS has index and name, others value or id and label.
NUMBER, TITLE, COLOUR = (
    ("index", "id", "value", "label", "key"),
    ("name", "label", "title", "region"),
    ("color", "colour", "rgb"),
)
# A line of ITK-SNAP: number, red, green, blue, alpha, two switches, "name".
SNAP = re.compile(r'(?P<number>-?\d+)\s+(?P<rgb>\d+\s+\d+\s+\d+)\s+[\d.]+\s+[01]\s+[01]\s+"(?P<name>.*)"')
# A line of FreeSurfer or Slicer: number, name, red, green, blue, and perhaps alpha.
LUT = re.compile(r"(?P<number>-?\d+)\s+(?P<name>\S+(?: \S+)*?)\s+(?P<rgb>\d+\s+\d+\s+\d+)(?:\s+\d+)?")
# A line of a list of one's own: a number, and a name that begins with a letter.
PLAIN = re.compile(r"(?P<number>-?\d+)[\s:,;=]+(?P<name>[^\W\d].*)(?P<rgb>)")

Colour = tuple[float, ...]
Row = tuple[int, str | None, Colour | None]


class LabelTable(NamedTuple):
    """Names and colours of labels.

    Attributes:
        names: The name of each label that has one.
        colours: The colour of each label of the scan, 0..1; None = the table has no colours.
    """

    names: dict[int, str]
    colours: dict[int, Colour] | None


def find_table(path: Path, stem: str, voxels: np.ndarray) -> tuple[LabelTable | None, tuple[str, ...]]:
    """Finds the table of labels that lies beside a scan: STEM.json, STEM.tsv, STEM.csv, STEM.label, STEM.ctbl or STEM.txt.

    JSON: {"1": "liver"}, {"liver": 1}, either of them under "labels" (as in nnU-Net's), a list of {"id": 1, "name": "liver",
    "color": "#aa3322"}, or a list of names. Other files of these names are left alone: a sidecar of BIDS, a file of notes.

    Args:
        path: The scan.
        stem: Its name without suffixes.
        voxels: Its values (d, h, w); a table that speaks of other ones isn't about it.

    Returns:
        The table and a line that says so; None and perhaps a line where a file was clearly meant but can't be used.
    """
    for suffix, read in READERS.items():
        file = path.with_name(stem + suffix)
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            continue
        meant = suffix in (".label", ".ctbl")
        try:
            text = file.read_text("utf-8-sig", "replace")
            rows = read(text)
            meant = meant or (suffix == ".json" and '"labels"' in text and bool(rows))
        except (ValueError, RecursionError, csv.Error, OSError) as error:
            if suffix == ".json" or meant:
                return None, (f"{file.name}: no readable table of labels ({' '.join(str(error).split())[:80]})",)
            continue
        table, present = _fitting(rows, voxels)
        if table is not None:
            named = sum(label in table.names for label in present)
            of = "" if named == len(present) else f" of {len(present)}"
            return table, (f"names of {named}{of} labels from {file.name}",)
        if meant:
            return None, (f"{file.name}: names none of the labels in {path.name}",)
    return None, ()


def _fitting(rows: Sequence[Row], voxels: np.ndarray) -> tuple[LabelTable | None, list[int]]:
    """Returns a table for the labels of a scan, and these; None if it isn't about them."""
    if not rows:
        return None, []
    if voxels.dtype.kind == "f":
        voxels = voxels[np.isfinite(voxels)]
        whole = whole_numbers(voxels, "")
        if whole is None:
            return None, []
        voxels = whole[0]
    # -1 is background, and 0 mostly; where 0 is a label after all, its name is here.
    present = [label for label in labels_present(voxels).tolist() if label != -1]
    names = {label: name for label, name, _ in rows if name}
    named = sum(label in names for label in present)
    # Densities are whole numbers too: a table for a few of hundreds of them isn't about them.
    if not named or (len(present) >= MAX_CLASSES and 2 * named < len(present)):
        return None, present
    known = {label: colour for label, _, colour in rows if colour is not None}
    if not known:
        return LabelTable(names, None), present
    scale = 255 if max(max(colour) for colour in known.values()) > 1 else 1
    colours = {
        label: tuple(part / scale for part in known[label]) if label in known else tuple(gap)
        for label, gap in zip([*present, 0], distinct(len(present) + 2)[1:].tolist(), strict=True)
    }
    return LabelTable(names, colours), present


def _from_json(text: str) -> list[Row]:
    """Reads a table from JSON; [] if it is about something else."""
    content = json.loads(text)
    if isinstance(content, dict) and isinstance(content.get("labels"), dict | list):
        content = content["labels"]
    if isinstance(content, list):
        if content and all(isinstance(name, str) for name in content):
            first = 0 if content[0].strip().lower() in EMPTY else 1
            return [(label, name, None) for label, name in enumerate(content, first)]
        rows = [_row(item) for item in content if isinstance(item, dict)]
        return [row for row in rows if row is not None] if len(rows) == len(content) else []
    if not isinstance(content, dict):
        return []
    if all(re.fullmatch(r"-?\d{1,9}", key) for key in content):
        rows = [
            _row({"name": item} | {"index": int(key)} if isinstance(item, str) else item | {"index": int(key)})
            for key, item in content.items()
            if isinstance(item, str | dict)
        ]
        return [row for row in rows if row is not None]
    if not SIDECAR & content.keys() and all(
        isinstance(label, int) and not isinstance(label, bool) for label in content.values()
    ):
        return [(label, name, None) for name, label in content.items()]
    return []


def _from_csv(text: str) -> list[Row]:
    """Reads a table with commas between its columns."""
    return _from_tsv(text, ",")


def _from_tsv(text: str, between: str = "\t") -> list[Row]:
    """Reads a table of columns with a line of their names; [] if it is about something else."""
    lines = csv.DictReader(text.splitlines(), delimiter=between)
    rows = [
        _row({str(key).strip().lower(): (value or "").strip() for key, value in line.items() if key})
        for line in lines
        if None not in line
    ]
    return [row for row in rows if row is not None]


def _from_lines(text: str) -> list[Row]:
    """Reads a table of lines, all in one of the three forms; [] if it is about something else."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "//"))]
    for form in (SNAP, LUT, PLAIN):
        found = [form.fullmatch(line) for line in lines]
        if lines and all(found):
            rows = [(int(m["number"]), m["name"].strip(), _colour(m["rgb"].split())) for m in found if m]
            # The tables of AAL have the number of the atlas behind the name.
            numbered = form is PLAIN and all(re.search(r"\s\d+$", name) for _, name, _ in rows)
            return [(label, re.sub(r"\s\d+$", "", name), colour) for label, name, colour in rows] if numbered else rows
    return []


# In the order in which they are looked for.
READERS = {
    ".json": _from_json,
    ".tsv": _from_tsv,
    ".csv": _from_csv,
    **dict.fromkeys((".label", ".ctbl", ".txt"), _from_lines),
}


def _row(item: Mapping[str, object]) -> Row | None:
    """Returns number, name and colour from the keys of a mapping; None without a number or a name."""
    number = next((int(str(item[key])) for key in NUMBER if re.fullmatch(r"-?\d{1,9}", str(item.get(key, "")))), None)
    title = next((str(item[key]) for key in TITLE if isinstance(item.get(key), str) and not str(item[key]).isdigit()), None)
    parts = item.get(next((key for key in COLOUR if key in item), ""), [item.get(key) for key in ("r", "g", "b")])
    return None if number is None or not title else (number, title, _colour(parts))


def _colour(value: object) -> Colour | None:
    """Returns red, green and blue as they are written, '#rrggbb' as 0..255; None if it is no colour."""
    if isinstance(value, str):
        code = re.fullmatch(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})(?:[0-9a-fA-F]{2})?", value.strip())
        value = [int(part, 16) for part in code.groups()] if code else re.split(r"[\s,]+", value.strip("[]() "))
    try:
        red, green, blue = (float(str(part)) for part in list(value)[:3])  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return None
    return (red, green, blue) if all(0 <= part <= 255 for part in (red, green, blue)) else None
