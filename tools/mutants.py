"""Breaks the code at random places and sees whether the tests notice: python tools/mutants.py [--count 40] [--seed 1].

Each mutant differs from the tree in one operator, one constant or one bound (DeMillo, Lipton and Sayward 1978, "Hints on test
data selection"). It lives in a copy; the tree itself is never touched. Near tests run first, then wider ones; a mutant that no
test notices survives: either it changes nothing that can be seen, or a test is missing. A test counts only if it passes without
the mutant.
"""

import argparse
import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What is broken, and the tests that are the first to notice.
NEAR = {
    "nca3d/rules": "tests/laws/test_cell_laws.py tests/rules tests/laws tests/executors",
    "nca3d/executors": "tests/laws/test_executor_laws.py tests/executors tests/laws",
    "nca3d/fire.py": "tests/test_fire.py tests/laws",
    "nca3d/checkpoint": "tests/test_checkpoint.py tests/cli/test_doctor_verb.py",
    "pools": "tests/pools tests/laws/test_pool_laws.py tests/laws/test_damage_laws.py tests/evaluation/studies",
}
WIDER = (
    "tests/contract tests/test_sparse.py tests/test_load.py tests/training tests/bench tests/evaluation "
    "tests/cube tests/test_zoo.py"
)

# Seconds that one round of tests may take. A mutant that hangs counts as noticed, as it would be in CI.
PATIENCE = 900

# What stands between two operands, and what is put there instead.
PAIRS = (
    "+→-, -→+, *→+, /→*, //→*, %→//, **→*, <<→>>, >>→<<, &→|, |→&, ^→|, "
    "<→<=, <=→<, >→>=, >=→>, ==→!=, !=→==, is→is not, is not→is, and→or, or→and"
)
SWAPS = dict(pair.split("→") for pair in PAIRS.split(", "))


@dataclass(frozen=True)
class Mutant:
    """One change: in `file`, the text from `start` to `stop` becomes `new`."""

    file: str
    line: int
    start: int
    stop: int
    old: str
    new: str

    def __str__(self) -> str:
        """Where it is, and what it changes."""
        return f"{self.file}:{self.line}: {self.old} -> {self.new}"


def sources() -> list[Path]:
    """The files that are broken."""
    places = [ROOT / name for name in NEAR]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    return [file for file in files if file.name != "__init__.py"]


def mutants(file: Path) -> Iterator[Mutant]:
    """Every change of a file that this tool knows; none in annotations, docstrings, f-strings and error messages."""
    text = file.read_text(encoding="utf-8")
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    rows = text.splitlines()

    def place(line: int, column: int) -> int:
        # ast counts bytes of UTF-8, Python's text letters.
        return starts[line - 1] + len(rows[line - 1].encode()[:column].decode())

    def span(node: ast.expr) -> tuple[int, int]:
        return place(node.lineno, node.col_offset), place(node.end_lineno or 0, node.end_col_offset or 0)

    def change(line: int, start: int, stop: int, new: str) -> Mutant:
        return Mutant(str(file.relative_to(ROOT)), line, start, stop, text[start:stop], new)

    def between(left: ast.expr, right: ast.expr) -> Iterator[Mutant]:
        first, last = span(left)[1], span(right)[0]
        # Parentheses and comments may stand there too.
        found = re.search(
            r"is not|not in|\b(?:is|in|and|or)\b|[-+*/%<>=!&|^]+",
            re.sub(r"#.*", lambda comment: " " * len(comment[0]), text[first:last]),
        )
        if found and found[0] in SWAPS:
            yield change(left.end_lineno or 0, first + found.start(), first + found.end(), SWAPS[found[0]])

    def walk(node: ast.AST) -> Iterator[Mutant]:
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.BinOp):
            yield from between(node.left, node.right)
        elif isinstance(node, ast.Compare):
            for left, right in pairwise([node.left, *node.comparators]):
                yield from between(left, right)
        elif isinstance(node, ast.BoolOp):
            yield from between(node.values[0], node.values[1])
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            start = span(node)[0]
            yield change(node.lineno, start, start + len("not "), "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            new = str(not node.value) if isinstance(node.value, bool) else repr(node.value + 1)
            yield change(node.lineno, *span(node), new)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(child)

    yield from walk(ast.parse(text))


def copy_tree(folder: Path) -> None:
    """The files of the tree without caches and environments."""
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "runs", "*.egg-info", ".hypothesis")
    shutil.copytree(ROOT, folder, ignore=ignored)


def run_tests(folder: Path, *options: str, fast: bool = False) -> tuple[int | None, str]:
    """The exit code, None where time ran out, and what was printed; `fast` leaves out slow tests and most random examples."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options]
    if fast:
        environment["NCA3D_EXAMPLES"] = "fast"
        command += ["-m", "not slow and not nightly"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # A session of its own: what tests have started ends with them when time runs out.
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipes) as process:
        try:
            printed = process.communicate(timeout=PATIENCE)[0]
            return process.returncode, printed
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def broken(folder: Path, mutant: Mutant) -> Iterator[None]:
    """The copy with one mutant in it."""
    file = folder / mutant.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole[: mutant.start] + mutant.new + whole[mutant.stop :], encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(whole, encoding="utf-8")


def who_notices(folder: Path, mutant: Mutant, left_out: list[str]) -> str:
    """The first test that fails with the mutant and passes without it, "" if there is none.

    A test that fails without the mutant too says nothing of it: it joins `left_out` and is run no more.
    """
    near = next(tests for place, tests in NEAR.items() if mutant.file.startswith(place))
    for tests, fast in ((near, True), (near, False), (WIDER, False)):
        while True:
            options = [f"--{'deselect' if '::' in test else 'ignore'}={test}" for test in left_out]
            with broken(folder, mutant):
                code, printed = run_tests(folder, *tests.split(), *options, fast=fast)
            if code is None:
                return f"a time limit of {PATIENCE} s"
            # 5: all tests of a round are left out.
            if code in (0, 5):
                break
            failed = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", printed, re.MULTILINE)[:1]
            # 4 and 5: without the mutant there is no such test.
            if run_tests(folder, *(failed or [*tests.split(), *options]), fast=fast)[0] in (0, 4, 5):
                return failed[0] if failed else f"exit code {code}: {printed.strip()[-200:]}"
            if not failed:
                raise SystemExit(f"the tests don't run without mutants either: {printed.strip()[-500:]}")
            left_out += failed
            print(f"{failed[0]} fails without a mutant too and is left out", file=sys.stderr, flush=True)
    return ""


def main() -> int:
    """Runs the tests against random mutants, prints a line for each; returns 1 if fewer than nine in ten were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="how many mutants (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="draws them (default: 1)")
    parser.add_argument("--first", type=int, default=0, help="leave out so many of them, as when going on (default: 0)")
    parser.add_argument("--list", action="store_true", help="print them and stop")
    args = parser.parse_args()
    possible = [mutant for file in sources() for mutant in mutants(file)]
    chosen = random.Random(args.seed).sample(possible, args.count)[args.first :]
    if args.list:
        print(*chosen, sep="\n")
        return 0
    killed, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nca3d-mutants-") as temporary:
        folder = Path(temporary) / "tree"
        copy_tree(folder)
        left_out: list[str] = []
        for number, mutant in enumerate(chosen, 1):
            noticed = who_notices(folder, mutant, left_out)
            killed += bool(noticed)
            left = (time.monotonic() - began) / number * (len(chosen) - number) / 60
            print(f"{mutant}: {f'killed by {noticed}' if noticed else 'SURVIVED'}  [{left:.0f} min left]", flush=True)
    print(f"{killed} of {len(chosen)} killed")
    return int(killed < 0.9 * len(chosen))


if __name__ == "__main__":
    sys.exit(main())
