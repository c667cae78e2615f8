"""Runs the rows of one peer and prints each cell as a line of JSON: PYTHON -m reliability.worker PEER [PART]."""

import importlib.metadata
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from reliability import contents, files, inputs, numbers, resumes, saves, signals
from reliability.peers import PEERS, Peer

Row = Callable[[Peer, Path], str]
PARTS: dict[str, tuple[str, dict[str, Row]]] = {
    "saves": ("Saves that don't come to their end", saves.ROWS),
    "files": ("Checkpoints that have changed", files.ROWS),
    "signals": ("Runs that are stopped", signals.ROWS),
    "numbers": ("Numbers that go wrong", numbers.ROWS),
    "inputs": ("Files from elsewhere", inputs.ROWS | contents.ROWS | resumes.ROWS),
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


def _versions(peer: str) -> dict[str, str]:
    """Returns the versions of the packages that a peer is made of; ours are in the line about the machine."""
    packages = ["torch", *{"Lightning": ["lightning"], "numpy.savez": ["numpy"], "safetensors": ["safetensors"]}.get(peer, [])]
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def main() -> None:
    try:
        peer = PEERS[sys.argv[1]]()
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))
        return
    print(json.dumps({"versions": _versions(sys.argv[1])}), flush=True)
    for title, cell, seconds in cells(peer, sys.argv[2:]):
        print(json.dumps([title, cell, round(seconds, 1)]), flush=True)


if __name__ == "__main__":
    main()
