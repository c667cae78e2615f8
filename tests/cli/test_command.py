"""The command: instant help, one form of error, exit codes that say what happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from complaint import complaint

from nca3d.cli import command as cli
from nca3d.cli import main
from nca3d.config import Config
from nca3d.errors import InputError, RunError
from visualize.errors import ArgumentError

ROOT = Path(__file__).parents[2]


COMMANDS = list(cli.VERBS)


QUICK = """
import sys
from nca3d.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "numpy", "matplotlib", "pyvista", "PIL"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


HELP = """
import sys
before = set(sys.modules)
from nca3d.cli import main
code = main(sys.argv[1:])
loaded = {name.split(".")[0] for name in set(sys.modules) - before}
assert loaded - sys.stdlib_module_names == {"nca3d"}, loaded - sys.stdlib_module_names
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=lambda words: " ".join(words) or "nca3d")
def test_help_is_instant_since_it_loads_nothing_of_others(command: list[str]) -> None:
    """Seconds depend on the machine; what takes them is the import of other people's packages, and there is none."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: nca3d")


@pytest.mark.slow
def test_bad_input_is_refused_before_torch_is_imported() -> None:
    wrong = ["train nope", "train --batch 0", "train --bogus", "evaluate /nope", "bench nope", "bench --threads 0"]
    for argv in map(str.split, wrong):
        done = subprocess.run([sys.executable, "-c", QUICK, *argv], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_no_arguments_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


ONE_LINE = [
    (["trian"], "command: found 'trian', allowed train, sweep, tune, evaluate, compare, render, export, "),
    (["--bogus"], "command: found '--bogus', allowed train"),
    (["train", "--learing-rate", "0.1"], "did you mean '--learning-rate'?"),
    (["train", "--learning-rat=0.1"], "--learning-rat: found an unknown flag"),
    (["train", "--size", "16", "16"], "nca3d train: --size: found 2 values, allowed 3"),
    (["train", "--batch"], "nca3d train: --batch: found no value, allowed one"),
    (["train", "--report=yes"], "--report: found 'yes', allowed no value"),
    (["train", "default", "slow"], "arguments: found slow"),
    (["train", "nope"], "nope: config: found no such file, allowed a TOML file or a shipped config (axolotl"),
    (["train", "--learning-rate", "nan"], "found nan"),
    (["train", "--batch", "9" * 5000], "batch: found '999"),
    (["train", "--resume", "/nope"], "/nope: run folder: found no such folder"),
    (["train", "default", "--resume", "x"], "CONFIG: found default"),
    (["evaluate"], "RUN: found nothing"),
    (["evaluate", "/nope"], "/nope: run folder: found no such folder"),
    (["evaluate", "/nope", "--json", "/nope/x.json"], "--json: file: found /nope/x.json"),
    (["targets", "--draw", "x.png"], "--draw"),
    (["targets", "frog", "--draw", "x.txt"], "--draw"),
    (["targets", "--size", "0", "2", "3"], "--size: size: found [0, 2, 3]"),
    (["doctor", "--inject", "bit-flip"], "allowed flip-bit, truncate"),
]


@pytest.mark.parametrize(("argv", "words"), ONE_LINE, ids=lambda value: " ".join(value)[:40] if value else "")
def test_bad_input_is_one_line(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, *argv)
    assert words in line
    assert "\n" not in line
    assert ": found " in line
    assert ", allowed " in line


ENDINGS: list[tuple[BaseException, int, str]] = [
    (RunError("runs/x: disk full"), 1, "runs/x: disk full\n"),
    (InputError("a", "b", "c", "d"), 2, "a: b: found c, allowed d\n"),
    (ArgumentError("volume", "size", 3, "4"), 2, "volume: size: found 3, allowed 4\n"),
    (KeyboardInterrupt(), 130, "stopped\n"),
    (SystemExit(143), 143, ""),
]


@pytest.mark.parametrize(("error", "code", "text"), ENDINGS)
def test_exit_codes(
    error: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nca3d.training import loop

    def train(config: Config, **_: object) -> None:
        raise error

    monkeypatch.setattr(loop, "train", train)
    assert main(["train"]) == code
    assert capsys.readouterr().err == text


def test_a_bug_shows_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    from nca3d.training import loop

    def train(config: Config, **_: object) -> None:
        raise ValueError("matrices: found 3, allowed 4")

    monkeypatch.setattr(loop, "train", train)
    with pytest.raises(ValueError, match="matrices"):
        main(["train"])


def test_nobody_reads_on() -> None:
    command = f"{sys.executable} -m nca3d train --print-config | head -c 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""


def test_ctrl_c_before_training_begins() -> None:
    slow = "c.run = lambda argv: (print('up', flush=True), time.sleep(60))"
    script = f"import time, nca3d.cli.command as c; {slow}; exit(c.main())"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "stopped\n")
