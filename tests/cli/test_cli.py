"""The command line: instant help, one form of error, flags that override the file, exit codes that say what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nca3d.cli import command as cli
from nca3d.cli import flags
from nca3d.config import FIELDS, Config
from nca3d.config.schema import toml
from nca3d.errors import InputError, RunError

ROOT = Path(cli.__file__).parents[2]
COMMANDS = ["train", "evaluate", "compare", "embed", "answer", "serve", "bench", "targets", "doctor"]


def config_of(*argv: str) -> Config:
    return flags.config_from(cli._parsed(["train", *argv]))


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The lines on stderr of a command that must fail with 2 and print nothing else."""
    assert cli.main(argv) == 2
    output = capsys.readouterr()
    assert output.out == ""
    return output.err.removesuffix("\n")


# ---- help ----------------------------------------------------------------------------------------------------------

QUICK = """
import sys
from nca3d.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "numpy", "matplotlib", "pyvista", "PIL"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=lambda words: " ".join(words) or "nca3d")
def test_help_is_instant_and_loads_nothing_heavy(command: list[str]) -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", QUICK, *command, "--help"], cwd=ROOT, capture_output=True, text=True)
        times.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("usage: nca3d")
        if times[-1] < 1:
            break
    assert min(times) < 1.0, "the best of three: a busy machine is not our fault"


def test_bad_input_is_refused_before_torch_is_imported() -> None:
    wrong = ["train nope", "train --batch 0", "train --bogus", "evaluate /nope", "bench nope", "bench --threads 0"]
    for argv in map(str.split, wrong):
        done = subprocess.run([sys.executable, "-c", QUICK, *argv], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_every_field_has_a_flag_with_its_doc(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, spec in FIELDS.items():
        assert f"--{name.replace('_', '-')}" in text
        assert " ".join(spec.doc.split()[:3]) in text
    assert text.count("(default: None)") == 0


def test_no_arguments_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert all(command in capsys.readouterr().out for command in COMMANDS[:1])


# ---- flags ---------------------------------------------------------------------------------------------------------


def test_flags_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("batch = 4\niterations = 7\nlosses = { rest = 2.0 }\nreport = true\n")
    config = config_of(
        str(file),
        "--size",
        "4",
        "5",
        "6",
        "--learning-rate",
        "1e-3",
        "--batch=6",
        "--losses",
        "rgba=1",
        "overflow=0.1",
        "--no-report",
        "--steps",
        "3",
        "9",
        "--hidden",
        "32",
        "16",
        "--target-options",
        "margin=2",
        "colormap=viridis",
        "on=true",
        "axes=[0, 1]",
        "day=2020-01-01",
        "--memory",
        "4",
        "--damages",
        "box",
        "slab",
        "--plugins",
    )
    assert config == Config(
        batch=6,
        iterations=7,
        size=(4, 5, 6),
        learning_rate=1e-3,
        losses={"rgba": 1, "overflow": 0.1},
        report=False,
        steps=(3, 9),
        hidden=(32, 16),
        memory=4,
        damages=("box", "slab"),
        target_options={"margin": 2, "colormap": "viridis", "on": True, "axes": [0, 1], "day": "2020-01-01"},
    )


def test_words_stand_in_for_numbers() -> None:
    config = config_of("--steps", "auto", "--memory", "keep", "--tensorboard", "--losses")
    assert (config.steps, config.memory, config.tensorboard, config.losses) == ("auto", "keep", True, {})


def test_the_default_is_quick() -> None:
    assert config_of() == Config.load("quick")


def test_every_field_can_be_given_as_text(tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    for name, spec in FIELDS.items():
        value = spec.default
        texts = (
            [f"{key}={entry}" for key, entry in value.items()]
            if isinstance(value, dict)
            else [str(entry) for entry in value]
            if isinstance(value, tuple)
            else [str(value)]
        )
        flag = flags.flag_of(name)
        argv = ([flag] if value else [f"--no-{name}"]) if isinstance(value, bool) else [flag, *texts]
        assert getattr(config_of(str(empty), *argv), name) == getattr(Config(), name), toml(value)


def test_all_errors_of_file_and_flags_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.toml"
    file.write_text("sise = [1, 2, 3]\nwarmup = -1\n")
    lines = complaint(
        capsys, "train", str(file), "--learning-rate", "abc", "--losses", "rgba", "--batch", "1000", "--size", "1", "2", "x"
    ).splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("--losses: losses: found rgba, allowed NAME=VALUE")
    assert f"{file}: sise: found an unknown field, allowed a field of Config; did you mean 'size'?" in lines
    assert f"{file}: warmup: found -1, allowed an integer from 0 to 1_000_000" in lines
    assert "--learning-rate: learning_rate: found 'abc', allowed a number above 0 and at most 1" in lines
    assert "--size: size: found [1, 2, 'x'], allowed a list of 3 integers, each from 3 to 512" in lines
    assert "--batch: batch: found 1000, allowed at most pool_size = 64" in lines


ONE_LINE = [
    (["trian"], "command: found 'trian', allowed train, evaluate, compare, render, export, embed, answer, serve, bench, "),
    (["--bogus"], "command: found '--bogus', allowed train"),
    (["train", "--learing-rate", "0.1"], "did you mean '--learning-rate'?"),
    (["train", "--learning-rat=0.1"], "--learning-rat: found an unknown flag"),
    (["train", "--size", "16", "16"], "--size: found another number of values, allowed 3 values"),
    (["train", "--batch"], "--batch: found another number of values, allowed one value"),
    (["train", "--report=yes"], "--report: found 'yes', allowed no value"),
    (["train", "quick", "slow"], "arguments: found slow"),
    (["train", "nope"], "nope: config: found no such file, allowed a TOML file or a shipped config (axolotl"),
    (["train", "--learning-rate", "nan"], "found nan"),
    (["train", "--batch", "9" * 5000], "batch: found '999"),
    (["train", "--resume", "/nope"], "/nope: run folder: found no such folder"),
    (["train", "quick", "--resume", "x"], "CONFIG: found quick"),
    (["evaluate"], "RUN: found nothing"),
    (["evaluate", "/nope"], "/nope: run folder: found no such folder"),
    (["evaluate", "/nope", "--json", "/nope/x.json"], "--json: file: found /nope/x.json"),
    (["targets", "--draw", "x.png"], "--draw"),
    (["targets", "frog", "--draw", "x.txt"], "--draw"),
    (["targets", "--size", "1", "2", "3"], "--size: size: found [1, 2, 3]"),
    (["doctor", "--inject", "bit-flip"], "allowed flip-bit, truncate"),
]


@pytest.mark.parametrize(("argv", "words"), ONE_LINE, ids=lambda value: " ".join(value)[:40] if value else "")
def test_bad_input_is_one_line(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, *argv)
    assert words in line
    assert "\n" not in line
    assert ": found " in line
    assert ", allowed " in line


@given(st.lists(st.sampled_from(["--size", "--losses", "--report", "--steps", "--memory"]) | st.text(max_size=6), max_size=5))
def test_any_arguments_give_a_config_or_input_errors(argv: list[str]) -> None:
    try:
        args = cli._parsed(["train", *argv])
        config = flags.config_from(args)
    except InputError:
        return
    except SystemExit as stop:
        assert stop.code == 0, "only --help leaves"
        return
    assert isinstance(config, Config)


# ---- commands ------------------------------------------------------------------------------------------------------


def test_print_config_prints_a_config_and_stops(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["train", "--print-config", "--log-every", "4", "--target", 'a "b"\n']) == 0
    file = tmp_path / "own.toml"
    file.write_text(capsys.readouterr().out)
    assert Config.load(file) == Config.load("quick").replace(log_every=4, target='a "b"\n')


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for the training loop: remembers what it was asked, and does what `act` says."""
    from nca3d.training import loop

    asked: list[dict[str, Any]] = []

    def train(config: Config, *, resume: Path | None = None, progress: bool = True, **_: object) -> SimpleNamespace:
        asked.append({"config": config, "resume": resume})
        folder = resume or Path(config.out)
        folder.mkdir(exist_ok=True)
        for name in ("report.html", "growth.png", "healing.mp4", "metrics.jsonl"):
            (folder / name).write_text("")
        return SimpleNamespace(folder=folder)

    monkeypatch.setattr(loop, "train", train)
    return asked


def test_train_ends_with_the_paths_of_its_pictures(
    trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "own"
    assert cli.main(["train", "--out", str(out), "--iterations", "3"]) == 0
    assert capsys.readouterr().out.split() == [
        str(out / "growth.png"),
        str(out / "healing.mp4"),
        str(out / "report.html"),
        str(out),
    ]
    assert trained[0]["config"] == Config.load("quick").replace(out=str(out), iterations=3)
    assert trained[0]["resume"] is None


def test_resume_takes_the_folders_config_and_the_flags(
    trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Config(channels=12, iterations=5).save(tmp_path / "config.toml")
    (tmp_path / "checkpoints").mkdir()
    assert cli.main(["train", "--resume", str(tmp_path), "--iterations", "9"]) == 0
    assert trained == [{"config": Config(channels=12, iterations=9), "resume": tmp_path}]
    capsys.readouterr()
    assert "--out: found elsewhere" in complaint(capsys, "train", "--resume", str(tmp_path), "--out", "elsewhere")


ENDINGS: list[tuple[BaseException, int, str]] = [
    (RunError("runs/x: disk full"), 1, "runs/x: disk full\n"),
    (InputError("a", "b", "c", "d"), 2, "a: b: found c, allowed d\n"),
    (ValueError("volume: size: found 3, allowed 4"), 2, "volume: size: found 3, allowed 4\n"),
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
    assert cli.main(["train"]) == code
    assert capsys.readouterr().err == text


def test_a_bug_shows_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    from nca3d.training import loop

    def train(config: Config, **_: object) -> None:
        raise ValueError("matrices do not fit")

    monkeypatch.setattr(loop, "train", train)
    with pytest.raises(ValueError, match="matrices"):
        cli.main(["train"])


def test_targets_are_listed_and_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.setenv("NCA3D_RENDERER", "raymarch")
    assert cli.main(["targets"]) == 0
    assert "axolotl" in capsys.readouterr().out
    body = np.zeros((4, 5, 6, 4), np.float32)
    body[1:3, 1:4, 2:5] = (1, 0, 0, 1)
    np.save(tmp_path / "own.npy", body)
    picture = tmp_path / "own.png"
    argv = ["targets", str(tmp_path / "own.npy"), "--size", "8", "8", "8", "--draw", str(picture)]
    assert cli.main(argv) == 0
    assert "8 × 8 × 8" in capsys.readouterr().out
    with Image.open(picture) as image:
        assert np.asarray(image).std() > 1
    assert "not-there" in complaint(capsys, "targets", "not-there")


TINY_RULE = """
import torch
from nca3d.rules import ConvRule
from torch import nn

rule = ConvRule(hidden=(16,))

class Normed(nn.Module):
    channels = 8
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv3d(8, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv3d(16, 8, 1))
    def forward(self, state):
        return state + 0.1 * self.net(state)
"""


def test_evaluate_prints_and_writes_its_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TINY_RULE)
    mine = f"{tmp_path / 'mine.py'}:rule"
    argv = ["evaluate", mine, "--target", "sphere", "--size", "7", "7", "7", "--horizon", "3", "--samples", "2"]
    assert cli.main([*argv, "--no-pictures", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "f.json")]) == 0
    rows = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line)
    assert float(rows["grow_iou"]) < 0.1 and rows["samples"] == "2"
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["steps_tried"] == 1000 and len(found["spread"]["grow_iou"]) == 2
    assert {"report.html", "report.json", "report.md", "persistence.png"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert cli.main(["compare", str(tmp_path / "out"), "zoo:axolotl", "--out", str(tmp_path / "both")]) == 0
    table = capsys.readouterr().out
    assert f"| measure | {tmp_path / 'out'} | zoo:axolotl |" in table and "| steps_held |" in table
    assert (tmp_path / "both" / "compare.png").stat().st_size > 1000
    assert "FILE" not in complaint(capsys, "evaluate", mine) and "--target" in complaint(capsys, "evaluate", mine)


def test_laws_of_any_module(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TINY_RULE)
    assert cli.main(["evaluate", f"{tmp_path / 'mine.py'}:rule", "--laws"]) == 0
    assert "locality     holds" in capsys.readouterr().out
    assert cli.main(["evaluate", f"{tmp_path / 'mine.py'}:Normed", "--laws"]) == 1
    assert "locality     broken" in capsys.readouterr().out
    assert "allowed rule, Normed" in complaint(capsys, "evaluate", f"{tmp_path / 'mine.py'}:Normd", "--laws")


def test_nobody_reads_on() -> None:
    command = f"{sys.executable} -m nca3d train --print-config | head -c 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("case", ["flip-bit", "truncate", "kill-in-save", "full-disk"])
def test_the_doctor_injects_faults(case: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nca3d", "doctor", "--inject", case], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{case}: the rule held\n")


def test_the_doctor_sees_a_broken_rule(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from nca3d import checkpoint

    unchecked = lambda record, name, entry: (record.parent / name).read_bytes()  # noqa: E731
    monkeypatch.setattr(checkpoint, "read_vouched", unchecked)
    assert cli.main(["doctor", "--inject", "flip-bit"]) == 1
    assert "BROKEN" in capsys.readouterr().out


def test_ctrl_c_before_training_begins() -> None:
    slow = "c._parsed = lambda argv: (print('up', flush=True), time.sleep(60))"
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
