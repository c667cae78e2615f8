"""`nca3d tune`: measures points, prints the table and the choice, writes picture, numbers and the chosen config."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from nca3d.bench.machine import describe, header, threads
from nca3d.bench.progress import Progress
from nca3d.config import Config
from nca3d.errors import InputError, RunError
from nca3d.files import vacate, write_atomic
from nca3d.training.build import choose_device
from nca3d.tune import words
from nca3d.tune.choice import Choice, choose
from nca3d.tune.point import MIB, Point, memory_words
from nca3d.tune.process import measure_point
from nca3d.tune.search import Search, chosen_batch

# The name of a file that means stdout.
STDOUT = "-"
# Seconds that the process of a point is thought to take before its iterations.
GUESS = 6.0


@dataclass(frozen=True)
class Request:
    """What the flags ask for, checked.

    Attributes:
        config: The experiment.
        batches: The batches to measure; None = those around the config's.
        keepings: Whether other memory settings are tried at the best batch.
        limit: Bytes that a training may take; None = most of what is free.
        seconds: How long the iterations of a point may take.
        out: The folder to write to; None = nothing is written there.
        json: The file for the numbers, "-" = stdout; None = none.
    """

    config: Config
    batches: list[int] | None
    keepings: bool
    limit: int | None
    seconds: float
    out: Path | None
    json: str | None


def run(request: Request) -> None:
    """Searches, prints the table and the choice, and writes the files that are asked for.

    Raises:
        InputErrors: The config can't be trained, or nothing fits into the memory limit; nothing was written.
        RunError: A process failed for another reason than memory.
        KeyboardInterrupt: Stopped by Ctrl-C; what was measured so far is printed and written.
    """
    if request.json == STDOUT:  # alone on stdout, so that another program can read it
        with contextlib.redirect_stdout(sys.stderr):
            content = _tune(request)
        print(content, end="")
    else:
        _tune(request)


def _tune(request: Request) -> str:
    """Searches, prints, writes the files that the flags ask for, and returns all numbers as JSON."""
    config = request.config
    machine = describe(choose_device(config))
    print(header(machine), flush=True)
    progress = Progress(name="tune")

    def measure(at: Config) -> Point:
        job = f"batch {at.batch}, memory {memory_words(at.memory)}"
        progress.forget("")
        progress.expect(job, _guess(search.points, at.batch))
        progress.expect(f"after {len(search.points)} points", _to_come(search, request, at.batch))
        with progress.doing(job), _ticking(progress):
            return measure_point(at, request.seconds)

    search = Search(config, measure, request.seconds, request.limit)
    stop: BaseException | None = None
    try:
        _search(search, request)
    # Whoever stops it gets what is there.
    except (KeyboardInterrupt, SystemExit) as stopped:
        if not search.points:
            raise
        stop = stopped
    finally:
        progress.close()
    choice = choose(search.points, config, search.limit)
    content = _tell(request, search, choice, machine, stop is not None)
    if stop is not None:
        print("stopped: chosen from what was measured so far", file=sys.stderr)
        raise type(stop)(*(stop.args or ("stopped",)))
    return content


def _search(search: Search, request: Request) -> None:
    """Measures the batches, and at the best one the ways to keep steps in memory."""
    if request.batches is None:
        search.around()
    else:
        search.along(request.batches)
    best = chosen_batch(search)
    if best is not None and request.keepings:
        search.keepings(best)


def _guess(points: list[Point], batch: int) -> float:
    """Returns about how many seconds the process of a point will take, judged by the point of the nearest batch."""
    measured = [point for point in points if point.seconds]
    if not measured:
        return 2 * GUESS
    near = min(measured, key=lambda point: max(point.batch / batch, batch / point.batch))
    return GUESS + max(2.0, 3 * (near.seconds or 0.0) * batch / near.batch)


def _to_come(search: Search, request: Request, batch: int) -> float:
    """Returns about how many seconds the points after that of a batch will take: nobody knows yet which there will be."""
    start, done = search.config.batch, {batch, *(point.batch for point in search.points)}
    keepings = 2 * request.keepings
    around = [start // 2, 2 * start, 4 * start, 8 * start]
    left = [other for other in request.batches or around if other and other not in done]
    # At one batch again and again: the ways to keep steps have begun.
    if any(point.batch == batch and point.memory == search.config.memory for point in search.points):
        left, keepings = [], max(0, keepings - sum(point.memory != search.config.memory for point in search.points) - 1)
    return sum(_guess(search.points, other) for other in left) + keepings * _guess(search.points, start)


def _tell(request: Request, search: Search, choice: Choice | None, machine: dict[str, object], stopped: bool) -> str:
    """Prints the table and the choice, writes the files, and returns all numbers as JSON.

    Raises:
        InputError: Nothing fits into the memory limit that was given; nothing is written.
        RunError: Nothing fits.
    """
    config, points, limit = request.config, search.points, search.limit
    print(words.about(points), words.table(points, choice, limit), sep="\n")
    for line in search.ends:
        print(line)
    if busy := search.busy():
        print(busy)
    if choice is None:
        raise _nothing(request, search)
    print(*choice.reasons, sep="\n")
    if choice.point.batch != config.batch:
        print(words.ANOTHER)
    print(*words.changed_lines(choice, config), sep="\n")
    content = words.numbers(points, choice, config, machine, limit, search.ends, stopped)
    files = {} if request.json in (None, STDOUT) else {Path(str(request.json)): content.encode()}
    if request.out is not None:
        stream = BytesIO()
        title = f"{config.kind.subject(config)}, {config.regime} · {machine['device']}, {threads(machine)}"
        words.figure(points, choice, config, limit, title).savefig(stream, format="png")
        chosen = words.chosen_file(choice, config, header(machine), points).encode()
        # These names are ours: what somebody planted there must not cost the measurement.
        own = {"tune.png": stream.getvalue(), "tune.json": content.encode(), "chosen.toml": chosen}
        request.out.mkdir(parents=True, exist_ok=True)
        files |= {vacate(request.out / name): data for name, data in own.items()}
    for file, data in files.items():
        write_atomic(file, data)
        print(file)
    return content


def _nothing(request: Request, search: Search) -> Exception:
    """Returns the error where no point fits."""
    sizes = {point.peak: point.batch for point in search.points if point.peak is not None}
    least = min(sizes, default=None)
    if request.limit is not None and least is not None:
        found = f"{request.limit / MIB:,.0f} MiB"
        return InputError("--memory-limit", "memory", found, f"at least {least / MIB:,.0f} MiB, for batch {sizes[least]}")
    return RunError("tune: nothing could be measured: " + "; ".join(search.ends))


@contextlib.contextmanager
def _ticking(progress: Progress) -> Iterator[None]:
    """A context in which the bar moves while another process works."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(1.0):
            progress.tick()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
