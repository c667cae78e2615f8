"""How many questions a second a served cube answers. Two minutes on two cores.

    nca3d train cube --iterations 1 --no-report --out runs/cube
    python benchmarks/serve.py runs/cube [--clients 1,8,64] [--seconds 10] [--serve "--precision bf16"] [--out FILE.md]

The real server runs as a process of its own, and so do its clients, each of which sends one question, waits for the answer, and
sends the next on the same connection. CPU seconds are the server's: unlike wall time they hardly depend on what else runs.

The floor is arithmetic. A batch reads the weights of the cells that the question passes through, once, and each question
multiplies by them: what this machine's memory and processor need for that, measured before anything is served.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import quantiles

import torch

from nca3d.cube.answers import AT_ONCE
from nca3d.cube.ask import Cube
from nca3d.cube.executor.asking import cone_of
from nca3d.files import write_atomic


def floor(run: Path) -> list[str]:
    """Returns what a batch must read and multiply, and how long this machine takes for that."""
    cube = Cube.of_run(run)
    assert isinstance(cube, Cube)
    rule = cube.rule
    cone = cone_of(rule, rule.card["horizon"])
    assert cone is not None
    layers = [cone.layers(number) for number in range(cone.steps)]
    computed = sum(part.stop - part.start for part in layers)
    cells = computed * rule.size[1] * rule.size[2]
    flops, read = 2 * cells * (rule.multiply_adds() or 0), 4 * cells * rule.weights_a_cell()
    numbers, matrix = torch.rand(64 << 20), torch.rand(1024, 1024)
    per_byte = best(lambda: numbers.sum()) / (4 * numbers.numel())
    per_flop = best(lambda: matrix @ matrix) / (2 * 1024**3)
    one, many = max(read * per_byte, flops * per_flop), max(read * per_byte, AT_ONCE * flops * per_flop)
    return [
        f"{computed} of {cone.steps * rule.size[0]} layers are computed: {read / 1e9:.2f} GB of weights a batch, half in bf16; "
        f"{flops / 1e9:.2f} Gflop a question.",
        f"Floor of this machine now ({1e-9 / per_byte:.1f} GB/s, {1e-9 / per_flop:.0f} Gflop/s in large matrices, "
        f"{torch.get_num_threads()} threads): {1 / one:.0f} questions a second one by one, {AT_ONCE / many:.0f} in batches of "
        f"{AT_ONCE}.",
    ]


def best(work: object, times: int = 5) -> float:
    """Returns the seconds of the fastest of some calls."""
    assert callable(work)
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def ask(port: int, number: int, seconds: float, found: "multiprocessing.Queue[list[float]]", clients: int) -> None:
    """Runs some clients in threads of this process, and tells how long each answer took."""

    def one(place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        end, asked = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            body = json.dumps({"questions": [f"what does cell {number} {place} {asked} tell the cube?"]})
            start = time.perf_counter()
            connection.request("POST", "/answer", body)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            took.append(time.perf_counter() - start)
            asked += 1

    took: list[float] = []
    threads = [threading.Thread(target=one, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.put(took)


def cpu_seconds(pid: int) -> float:
    """Returns the CPU seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(port: int, pid: int, clients: int, seconds: float) -> str:
    """Returns a row of the table."""
    found: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    start, before = time.perf_counter(), cpu_seconds(pid)
    process = multiprocessing.Process(target=ask, args=(port, clients, seconds, found, clients))
    process.start()
    took = found.get()
    process.join()
    wall, cpu = time.perf_counter() - start, cpu_seconds(pid) - before
    cuts = quantiles(took, n=20) if len(took) > 1 else took * 19
    return (
        f"| {clients} | {len(took) / wall:.1f} | {len(took) / cpu:.1f} | {1000 * cuts[9]:.0f} ms | {1000 * cuts[18]:.0f} ms |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serve", default="", metavar="FLAGS", help="more flags of nca3d serve")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    flags = f" --serve {args.serve!r}" if args.serve else ""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        f"`python benchmarks/serve.py {args.run.name}{flags}`, {platform.machine()}, "
        f"{os.cpu_count()} cores, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}, load before {load}\n",
        *(f"{line}\n" for line in floor(args.run)),
        "| clients | questions/s | questions a CPU second | p50 | p95 |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    command = [sys.executable, "-m", "nca3d", "serve", str(args.run), "--port", "0", "--rate", "0", "--access-log", "off"]
    server = subprocess.Popen([*command, *shlex.split(args.serve)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        said = re.search(r":(\d+)$", server.stdout.readline().strip())
        assert said, "the server did not start"
        port = int(said[1])
        measure(port, server.pid, 1, 1.0)  # memory is first touched now
        for clients in map(int, args.clients.split(",")):
            lines.append(measure(port, server.pid, clients, args.seconds))
            print(lines[-1], flush=True)
    finally:
        server.terminate()
        server.wait()
    if args.out:
        write_atomic(args.out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
