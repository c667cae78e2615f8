"""Runs the rows of one peer and prints each cell as a line of JSON: PYTHON -m reliability.worker PEER [PART]."""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from reliability import files, inputs, numbers, saves, signals
from reliability.peers import PEERS, Peer

Row = Callable[[Peer, Path], str]
PARTS: dict[str, tuple[str, dict[str, Row]]] = {
    "saves": ("Saves that don't come to their end", saves.ROWS),
    "files": ("Checkpoints that have changed", files.ROWS),
    "signals": ("Runs that are stopped", signals.ROWS),
    "numbers": ("Numbers that go wrong", numbers.ROWS),
    "inputs": ("Files from elsewhere", inputs.ROWS),
}


def cells(peer: Peer, names: list[str]) -> Iterator[tuple[str, str, float]]:
    """Yields the row, the cell and the seconds that it took; a row that breaks says so and doesn't end the others.

    Args:
        peer: who is hurt.
        names: parts of titles of rows; [] = all rows.
    """
    for _, rows in PARTS.values():
        for title, row in rows.items():
            if names and not any(name in title for name in names):
                continue
            folder, start = Path(tempfile.mkdtemp(prefix="faults-")), time.monotonic()
            try:
                cell = row(peer, folder)
            except Exception as error:
                cell = f"broke: {type(error).__name__}: {' '.join(str(error).split())[:80]}"
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            yield title, cell, time.monotonic() - start


def main() -> None:
    peer = PEERS[sys.argv[1]]()
    for title, cell, seconds in cells(peer, sys.argv[2:]):
        print(json.dumps([title, cell, round(seconds, 1)]), flush=True)


if __name__ == "__main__":
    main()
