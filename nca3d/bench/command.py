"""`nca3d bench`: measures what the flags ask for, prints a table, writes JSON, Markdown and a figure of the cost curves."""

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nca3d.bench import curves
from nca3d.bench.contenders import contenders
from nca3d.bench.floor import Floor, measure_floor
from nca3d.bench.machine import describe, file_stem, header, threads
from nca3d.bench.measure import Means, announce, measure_setting
from nca3d.bench.peers import find_peer
from nca3d.bench.progress import Progress
from nca3d.bench.request import STDOUT, WHERE, Request
from nca3d.bench.results import Row, table
from nca3d.bench.settings import TEXTBOOK
from nca3d.errors import InputError
from nca3d.executors import exact
from nca3d.executors.cores import torch_threads
from nca3d.files import vacate, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(request: Request) -> None:
    """Measures or plans, prints, and writes the files that the flags ask for.

    Raises:
        InputError: an executor, device or peer that is not there; nothing was measured.
        RunError: a setting that is not what its name says.
    """
    if request.device == "cuda" and not torch.cuda.is_available():
        raise InputError(WHERE, "--device", "'cuda'", "cpu: torch sees no CUDA device")
    cuda = request.device == "cuda" or (request.device == "auto" and torch.cuda.is_available())
    device = torch.device("cuda" if cuda else "cpu")
    with torch_threads(request.threads):
        if request.plan is not None:
            from nca3d.bench.plan import plan

            print(plan(request.plan, device).words())
        elif request.json == STDOUT:  # alone on stdout, so that another program can read it
            with contextlib.redirect_stdout(sys.stderr):
                content = _measure(request, device)
            print(content, end="")
        else:
            _measure(request, device)


def _measure(request: Request, device: torch.device) -> str:
    """Measures, prints tables, writes the files that the flags ask for, and returns all numbers as JSON."""
    peers = find_peer("cax", request.cax)
    plans = [(setting, contenders(setting, request.executors, peers)) for setting in request.settings]
    machine = describe(device)
    floor = measure_floor(device)
    print(header(machine), floor_line(floor), sep="\n", flush=True)
    means = Means(device, floor, request.repeats, request.memory, Progress(), peers)
    rows: list[Row] = []
    along: dict[str, list[Row]] = {}
    try:
        for setting, who in plans:
            announce(setting, who, means)
        for setting, who in plans:
            rows += measure_setting(setting, who, means)
        if request.curves:
            # the graph executor, made for generality, costs more than the textbook at every point: only when asked for
            drawn = request.executors or [name for name in exact() if name not in ("graph", "slabs")]
            along = curves.measure_curves(drawn, means)
    finally:  # a measurement that is stopped has not been for nothing
        means.progress.close()
        for points in (rows, *along.values()):
            if points:
                print("\n" + table(points))
    return _write(request, machine, floor, rows, along)


def floor_line(floor: Floor) -> str:
    """Returns in words what the machine itself reaches."""
    return (
        f"floor: matrix products {floor.float32 / 1e9:.3g} Gflop/s in float32, {floor.bf16 / 1e9:.3g} in bf16; "
        f"copies {floor.bandwidth / 1e9:.3g} GB/s (read and written)"
    )


def _write(request: Request, machine: dict[str, Any], floor: Floor, rows: Sequence[Row], along: dict[str, list[Row]]) -> str:
    """Writes the files that the flags ask for, prints their paths, and returns the JSON."""
    named = None if request.json is None or request.json == STDOUT else Path(request.json)
    files = {"json": [named], "md": [], "png": [request.plot]}
    if request.save is not None:
        stem = request.save / file_stem(machine)
        # These names are ours: what somebody planted there must not cost the measurement.
        files = {kind: [*places, vacate(stem.with_suffix(f".{kind}"))] for kind, places in files.items()}
    content = {
        "machine": machine,
        "floor": asdict(floor),
        "settings": [asdict(setting) for setting in request.settings],
        "rows": [asdict(row) for row in rows],
        "curves": {name: [asdict(row) for row in points] for name, points in along.items()},
    }
    numbers = json.dumps(content, indent=1) + "\n"
    text = "\n\n".join([header(machine), floor_line(floor), *(table(points) for points in (rows, *along.values()))]) + "\n"
    for kind, places in files.items():
        for file in places:
            if file is None or (kind == "png" and not along):
                continue
            write_atomic(file, _png(along, machine) if kind == "png" else (numbers if kind == "json" else text).encode())
            print(file)
    return numbers


def _png(along: dict[str, list[Row]], machine: dict[str, Any]) -> bytes:
    """Returns the cost curves as PNG."""
    stream = BytesIO()
    figure(along, machine).savefig(stream, format="png")
    return stream.getvalue()


def figure(along: dict[str, list[Row]], machine: dict[str, Any]) -> "Figure":
    """Returns the cost curves as a Figure: time above, memory below; against living cells to the left, volume to the right."""
    from visualize import Panel, costs

    resident = any(row.resident for points in along.values() for row in points)
    kinds = {
        "training": ("time of a training iteration", "seconds", 1.0),
        "resident" if resident else "allocated": ("peak memory above the inputs", "MB", 1e6),
    }
    side = curves.SIDE
    ticks = {
        "living": {share * side**3: f"{100 * share:g} %" for share in curves.SHARES},
        "volume": {float(side**3): f"{side}³" for side in curves.SIDES},
    }
    x = {
        "living": ("living_cells", f"living cells, of {side}³ = {side**3:,}"),
        "volume": ("volume", f"cells of the lattice, {curves.BODY:,} of them alive"),
    }

    def panel(of: str, name: str) -> Panel:
        (what, unit, scale), (field, label) = kinds[of], x[name]
        found = curves.lines(along[name], field, of)
        lines = {who: (xs, [y / scale for y in ys]) for who, (xs, ys) in found.items()}
        against = name if name == "volume" else "living cells"
        return Panel(f"{what}, against {against}", label, unit, lines, ticks[name])

    panels = [[panel(of, name) for name in along] for of in kinds]
    title = f"batch {curves.BATCH}, {curves.STEPS} steps · {machine['device']}, {threads(machine)}"
    return costs(panels, title=title, baseline=TEXTBOOK)
