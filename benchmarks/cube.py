"""What training the cube costs: 15×15×11 = 2,475 gMLP cells, each with 29,462 weights of its own. Ten minutes on two cores.

    python benchmarks/cube.py [--parts floor,rates,loop,memory,sizes,leaks] [--threads 1,2] [--out FILE.md]

A step is one pass over all cells; a sample is trained by forward, backward and optimizer. After one step the loss is the sum of
all states, so that every cell is asked for something: no answer has crossed yet. After twelve the back face alone is, and the
backward pass leaves out cells that nothing flows back to: by the light cone 42 % of its work. CPU seconds are of all threads
together: unlike wall time they hardly depend on what else the machine does. Part of memory needs the extra gpu (bitsandbytes).
"""

import argparse
import contextlib
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

import nca3d
from nca3d.config import Config
from nca3d.cube.executor.buffers import give_back
from nca3d.cube.executor.learning import CellsInBackward
from nca3d.cube.rows import neighbour_table
from nca3d.cube.weights import MODES
from nca3d.files import odd, write_atomic
from nca3d.process.status import status_bytes
from nca3d.training.optim import build_optimizer

SIZE = (11, 15, 15)
CELLS = SIZE[0] * SIZE[1] * SIZE[2]
# Of a cell and sample in one forward pass: its matrices, entry by entry.
MULTIPLY_ADDS = 28_352
# Forward, forward again in the backward pass, and two products backward.
PRODUCTS = 4

Rows = Iterator[tuple[str, str]]


class Trained:
    """A cube in training: `step` asks it questions, and it learns."""

    def __init__(
        self,
        optimizer: str = "adam",
        half: bool = False,
        weights: str = "per_cell",
        inside: bool = False,
        size: tuple[int, int, int] = SIZE,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.rule = nca3d.GMLPRule(size, preset="cube", weights=weights, generator=generator)
        self.half = half
        in_full = self.rule.cells.small()
        self.optimizer = build_optimizer(Config(optimizer=optimizer), list(self.rule.parameters()), in_full=in_full)
        self.inside = CellsInBackward(self.rule, self.optimizer) if inside else None

    def learn(self, batch: int, steps: int = 1) -> None:
        depth, height, width = self.rule.size
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            asked = self.rule.ask(torch.randn(batch, height * width))
            state = nca3d.rollout(self.rule, self.rule.rest(batch), steps, inputs=asked)
        with self.inside.noting() if self.inside else contextlib.nullcontext():
            (state.sum() if steps < depth else self.rule.answer(state).square().mean()).backward()

    def step(self, batch: int, steps: int = 1) -> None:
        self.learn(batch, steps)
        if self.inside:
            # As training does: gradients that might not be finite are written and looked at.
            assert self.inside.surely_finite()
            self.inside.step()
        self.optimizer.step()


def seconds(work: Callable[[], object], times: int) -> tuple[float, float]:
    """The best of some runs: CPU, wall."""
    found = []
    for _ in range(times):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in found), min(wall for _, wall in found)


# Parts ----------------------------------------------------------------------------------------------------------------


def floor() -> Rows:
    """The arithmetic that can't be left out, over the rate of `torch.mm` on one core."""
    torch.set_num_threads(1)
    flop = 2 * PRODUCTS * MULTIPLY_ADDS * CELLS
    yield "arithmetic of a sample and step", f"{flop / 1e9:.2f} Gflop"
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a = torch.randn(1024, 1024).to(dtype)
        rate = 2 * 1024**3 / seconds(lambda a=a: torch.mm(a, a), 20)[0]  # type: ignore[misc]
        yield f"floor, {name}, one core", f"{rate / 1e9:.0f} Gflop/s: {rate / flop:.0f} samples/s"


def rates(threads: list[int]) -> Rows:
    for half in (False, True):
        made = Trained(half=half)
        made.step(8)
        for count in threads:
            torch.set_num_threads(count)
            for batch, steps in ((8, 1), (64, 1), (256, 1), (1024, 1), (64, 12)):
                cpu, wall = seconds(lambda: made.step(batch, steps), 3 if batch * steps <= 256 else 1)  # noqa: B023
                name = f"{'bf16' if half else 'fp32'}, batch {batch}, {steps} step{'s' * (steps > 1)}, {count} threads"
                yield name, f"{batch / wall:.1f} samples/s by wall, {batch / cpu:.1f} a CPU second"


class Cell(nn.Module):
    """One cell of torch modules, as it was published."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_seen, self.enter, self.split = nn.LayerNorm(236), nn.Linear(236, 32), nn.Linear(32, 64)
        self.norm_gate, self.positions, self.lifts = (
            nn.LayerNorm(32),
            nn.Parameter(torch.randn(7, 7)),
            nn.Parameter(torch.ones(7)),
        )
        self.widen, self.narrow, self.look, self.weigh = (
            nn.Linear(32, 64),
            nn.Linear(64, 32),
            nn.Linear(64, 32),
            nn.Linear(32, 6),
        )
        self.across, self.gru, self.recall = nn.Linear(32, 32), nn.GRUCell(32, 16), nn.Linear(16, 32)
        self.norm_last, self.last, self.around = nn.LayerNorm(32), nn.Linear(32, 32), nn.Linear(236, 32)

    def forward(self, neighbours: Tensor, own: Tensor, external: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """neighbours (B, 6, 32), own (B, 32), external (B, 12), memory (B, 16)."""
        seen = torch.cat([neighbours.flatten(1), own, external], dim=1)
        u, v = nn.functional.gelu(self.split(self.enter(self.norm_seen(seen)))).chunk(2, dim=1)
        seven = self.norm_gate(v)[:, None].expand(-1, 7, -1)
        x = u * (torch.einsum("ij,bjf->bif", self.positions, seven) + self.lifts[:, None]).mean(dim=1)
        x = x + self.narrow(nn.functional.gelu(self.widen(x)))
        looked = self.look(torch.cat([own, neighbours.mean(dim=1)], dim=1)).relu()
        share = self.weigh(looked).softmax(dim=1)
        x = x + 0.1 * (share[..., None] * neighbours).sum(dim=1) + 0.05 * self.across(neighbours[:, 0])
        memory = self.gru(x, memory)
        return self.last(self.norm_last(x + self.recall(memory))) + 0.1 * self.around(seen), memory


def loop(threads: list[int], batch: int = 8, part: int = 275) -> Rows:
    """A loop over modules, timed on every ninth cell and scaled to all, in this process."""
    cells = nn.ModuleList(Cell() for _ in range(part))
    theirs = torch.optim.Adam(cells.parameters())
    table = neighbour_table(SIZE)[:: CELLS // part]
    rows = torch.randn(CELLS + 1, batch, 48, requires_grad=True)
    external = torch.zeros(batch, 12)

    def learn() -> None:
        theirs.zero_grad()
        after = []
        for n, (cell, near) in enumerate(zip(cells, table, strict=True)):
            answer = cell(rows[near, :, :32].transpose(0, 1), rows[n, :, :32], external, rows[n, :, 32:])
            after.append(torch.cat(answer, dim=1))
        torch.stack(after).sum().backward()

    def step() -> None:
        learn()
        theirs.step()

    made, inside = Trained(), Trained(inside=True)
    step(), made.step(batch), inside.step(batch)
    for count in threads:
        torch.set_num_threads(count)
        for name, one, other in (
            ("forward and backward", learn, lambda: made.learn(batch)),
            ("with the optimizer", step, lambda: made.step(batch)),
            ("with the optimizer, ours in the backward pass", step, lambda: inside.step(batch)),
        ):
            loops, ours = [CELLS / part * x for x in seconds(one, 2)], seconds(other, 6)
            yield (
                f"loop over modules (timed on {part} cells, scaled), batch {batch}, {name}, {count} threads",
                (
                    f"wall {loops[1]:.1f} s, ours {ours[1]:.3f} s: {loops[1] / ours[1]:.0f} times; "
                    f"CPU {loops[0]:.1f} s, ours {ours[0]:.3f} s: {loops[0] / ours[0]:.0f} times"
                ),
            )


MEMORY = {
    "per cell, fp32, Adam": {},
    "per cell, bf16, AdamW8bit": {"optimizer": "adamw8bit", "half": True},
    "per cell, fp32, Adam in the backward pass": {"inside": True},
    "per cell, bf16, AdamW8bit in the backward pass": {"optimizer": "adamw8bit", "half": True, "inside": True},
    "low rank, fp32, Adam": {"weights": "low_rank"},
}


def memory(batch: int = 8) -> Rows:
    for name, options in MEMORY.items():
        for steps in (1, 12):
            found = in_process(options, batch, steps)
            text = found if isinstance(found, str) else f"{found['peak']:.0f} MB, {found['state']:.2f} B of state a weight"
            yield f"peak memory above imports, batch {batch}, {steps} step{'s' * (steps > 1)}, {name}", text


def in_process(options: dict, batch: int, steps: int) -> dict | str:
    """What a process of its own measures; a sentence where it ended otherwise."""
    command = [sys.executable, __file__, "--worker", json.dumps([options, batch, steps])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"not measured: {(done.stderr.strip().splitlines() or [f'ended with {done.returncode}'])[-1]}"
    return json.loads(done.stdout)


def worker(options: dict, batch: int, steps: int) -> None:
    torch.set_num_threads(2)
    if options.get("optimizer") == "adamw8bit":
        import bitsandbytes  # noqa: F401
    # A small cube first: what libraries and compiled code take once is no memory of the large one.
    Trained(**{**options, "size": (2, 3, 3)}).step(2, 2)
    give_back()
    before = status_bytes("VmRSS")
    made = Trained(**options)
    cpu, wall = seconds(lambda: made.step(batch, steps), 4)
    weights = sum(p.numel() for p in made.rule.parameters())
    state = sum(v.nbytes for s in made.optimizer.state.values() for v in s.values() if isinstance(v, Tensor))
    found = {
        "peak": (status_bytes("VmHWM") - before) / 1e6,
        "state": state / weights,
        "cpu": cpu,
        "wall": wall,
        "weights": weights,
    }
    print(json.dumps(found))


SIZES = ((11, 15, 15), (15, 20, 20), (22, 30, 30))


def sizes(batch: int = 8, steps: int = 1) -> Rows:
    """Larger cubes, against what the first one predicts: everything is in proportion to the cells."""
    for name, options in {
        "per cell, fp32, Adam": {},
        "per cell, fp32, Adam in the backward pass": {"inside": True},
        "per cell, bf16, AdamW8bit in the backward pass": {"optimizer": "adamw8bit", "half": True, "inside": True},
        "low rank, fp32, Adam": {"weights": "low_rank"},
    }.items():
        first = None
        for size in SIZES:
            found = in_process({**options, "size": size}, batch, steps)
            what = f"{size[2]}×{size[1]}×{size[0]}, batch {batch}, {steps} step, {name}"
            if isinstance(found, str):
                yield what, found
                continue
            first = first or found
            ratio = math.prod(size) / math.prod(SIZES[0])
            yield (
                what,
                (
                    f"{found['weights'] / 1e6:.0f} million weights; "
                    f"{found['peak']:.0f} MB (predicted {ratio * first['peak']:.0f}); "
                    f"{found['cpu']:.2f} CPU s an iteration (predicted {ratio * first['cpu']:.2f})"
                ),
            )


def leaks(steps: int = 1000) -> Rows:
    for mode in MODES:
        rule = nca3d.GMLPRule((4, 4, 4), weights=mode, preset="cube")
        optimizer = torch.optim.Adam(rule.parameters())
        for number in range(steps + 100):
            if number == 100:
                before = status_bytes("VmRSS")
            nca3d.rollout(rule, rule.rest(2), 1, inputs=rule.ask(torch.randn(2, 16))).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        grown = (status_bytes("VmRSS") - before) / 1024
        yield f"{steps} training steps in a row, 4×4×4, {mode}", f"{grown:.0f} KiB more resident, {grown / steps:.2f} a step"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="floor,rates,loop,memory,sizes,leaks")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.out and odd(arguments.out):
        parser.error(f"--out: found {arguments.out}, which is {odd(arguments.out)}, allowed a file name")
    if arguments.worker:
        return worker(*arguments.worker)
    threads = [int(count) for count in arguments.threads.split(",")]
    parts: dict[str, Callable[[], Rows]] = {
        "floor": floor,
        "rates": lambda: rates(threads),
        "loop": lambda: loop(threads),
        "memory": memory,
        "sizes": sizes,
        "leaks": leaks,
    }
    lines = [f"The cube, {platform.machine()}, torch {torch.__version__}", "", "| what | figure |", "|---|---|"]
    print("\n".join(lines), flush=True)
    for part in arguments.parts.split(","):
        for name, figure in parts[part]():
            lines.append(f"| {name} | {figure} |")
            print(lines[-1], flush=True)
    if arguments.out:
        write_atomic(arguments.out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
