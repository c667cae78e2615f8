"""What happens when something goes wrong: ours beside plain torch, safetensors, numpy, Lightning and DCP, all hurt alike.

    python benchmarks/faults.py [--rows WORD …] [--peers NAME …] [--write docs/reliability.md]
    make faults                  # makes a Python for the peers in .venv-faults, runs all rows and writes the document

Nothing is pretended: saves are killed, disks are full, bits are flipped. Five minutes on two cores. Small disks and read-only
folders need root, kills at system calls need strace; what can't be run here says "skipped". The peers' Python has torch, numpy,
safetensors and lightning; without it the first three and DCP run in this one, and Lightning's column says "not installed".
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from reliability.peers import PEERS, Ours
from reliability.table import put_into, tables
from reliability.worker import PARTS

from nca3d.bench.machine import describe, header
from nca3d.files import odd, write_atomic

FOLDER = Path(__file__).parent
PEERS_PYTHON = FOLDER.parent / ".venv-faults" / "bin" / "python"
# Two workers beside each other don't starve one another of cores; more would spoil the kills at random moments.
JOBS = min(2, os.cpu_count() or 1)


@dataclass
class Column:
    """What one peer did.

    Attributes:
        cells: by title of the row; None = the peer is not installed.
        versions: of its packages.
    """

    cells: dict[str, str] | None = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def hurt(name: str, rows: Sequence[str], python: Path) -> Column:
    """Runs the rows of one peer in a process of its own, and says each cell on stderr.

    Args:
        name: of the peer.
        rows: parts of titles; none = all.
        python: of the peers; where it is missing, this one is tried.
    """
    ours = name == Ours.name
    command = [sys.executable if ours or not python.exists() else str(python), "-m", "reliability.worker", name, *rows]
    path = os.pathsep.join([str(FOLDER), *([str(FOLDER.parent)] if ours else [])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    column = Column()
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert worker.stdout is not None and column.cells is not None
    for line in worker.stdout:
        told = json.loads(line)
        if isinstance(told, list):
            title, column.cells[title], seconds = told
            print(f"{name:<12} {seconds:6.1f} s   {title}: {column.cells[title]}", file=sys.stderr, flush=True)
        elif "missing" in told:
            print(f"{name:<12} not installed: {told['missing']}", file=sys.stderr)
            return Column(None)
        else:
            column.versions = told["versions"]
    if worker.wait():
        print(f"{name:<12} ended with exit code {worker.returncode}", file=sys.stderr)
    return column


def versions(columns: dict[str, Column]) -> str:
    """Returns the versions of the peers' Python, each once."""
    found = {
        package: version
        for name, column in columns.items()
        if name != Ours.name
        for package, version in column.versions.items()
    }
    return ", ".join(f"{package} {version}" for package, version in found.items())


def main() -> int:
    """Prints the tables, and writes them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=[], metavar="WORD", help="rows whose title has one of these in it")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS, metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--python", type=Path, default=PEERS_PYTHON, help="Python of the peers (.venv-faults/bin/python)")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="document whose marked part is replaced")
    args = parser.parse_args()
    if args.write and odd(args.write):
        parser.error(f"--write: found {args.write}, which is {odd(args.write)}, allowed a file")
    machine, start = describe(torch.device("cpu")), time.monotonic()
    with ThreadPoolExecutor(JOBS) as pool:
        found = pool.map(lambda name: hurt(name, args.rows, args.python), args.peers)
    columns = dict(zip(args.peers, found, strict=True))
    titles = {name: (heading, list(rows)) for name, (heading, rows) in PARTS.items()}
    minutes = (time.monotonic() - start) / 60
    text = f"{header(machine)}.\nPeers: {versions(columns)}. {minutes:.1f} minutes, {JOBS} at a time.\n\n"
    text += tables(titles, {name: column.cells for name, column in columns.items()})
    print(text)
    if args.write:
        write_atomic(args.write, put_into(args.write, text).encode())
    return int(any(column.cells is not None and not column.cells for column in columns.values()))


if __name__ == "__main__":
    sys.exit(main())
