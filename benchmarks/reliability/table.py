"""The table: cells of all peers by row, as Markdown, and its place in a document."""

from collections.abc import Mapping
from pathlib import Path

BEGIN, END = "<!-- make faults: begin -->", "<!-- make faults: end -->"
# What a cell says whose peer isn't there, or ended before it came to the row.
MISSING, ENDED = "not installed", "not reached"


def tables(parts: Mapping[str, tuple[str, list[str]]], peers: Mapping[str, Mapping[str, str] | None]) -> str:
    """Returns one table for each part, with a column for each peer.

    Args:
        parts: by name, a heading and the titles of the rows.
        peers: by name, the cells by title; None = it is not installed.
    """
    lines = []
    for heading, rows in parts.values():
        shown = [row for row in rows if any(cells and row in cells for cells in peers.values())]
        if not shown:
            continue
        lines += [f"### {heading}", "", f"| | {' | '.join(peers)} |", "|---" * (len(peers) + 1) + "|"]
        for row in shown:
            cells = [MISSING if cells is None else cells.get(row, ENDED) for cells in peers.values()]
            lines.append(f"| {row} | {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines).strip()


def put_into(document: Path, text: str) -> str:
    """Returns a document with the part between its markers replaced.

    Raises:
        ValueError: it has no such part.
    """
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document}: found no lines {BEGIN} and {END}, allowed a document that has them")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
