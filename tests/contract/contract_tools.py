"""What the contract's tests share: the frozen words of 0.1.0, and the shell, called in this process.

The contract knows public doors, the shell and files only, never a module's place, so that it stays as it is when modules move.
"""

import importlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import nca3d

OLD = Path(__file__).parents[1] / "fixtures" / "v0_1_0"
RUNS = ("body", "growing", "persistent", "cube")
"""Run folders that 0.1.0 left, one of each regime."""


# Zoo rules that were trained anew under the same names: the old ones lacked cells or did not last. What they are for stays.
RENEWED = {"frog", "mushroom"}


def frozen(name: str) -> dict[str, Any]:
    return json.loads((OLD / "contract" / f"{name}.json").read_text())


def table(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def main(*argv: object) -> int:
    """The `nca3d` command."""
    return importlib.import_module("nca3d.cli").main([str(word) for word in argv])


def complaint(capsys: pytest.CaptureFixture[str], *argv: object) -> list[str]:
    """The lines of a command that is refused: exit code 2, each line in the one form, nothing else said."""
    capsys.readouterr()
    assert main(*argv) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.strip().splitlines()
    assert lines and all(": found " in line and ", allowed " in line for line in lines), shown.err
    return lines


def records(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def dotted(figures: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The names of nested figures: heal_iou.sphere."""
    for name, value in figures.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{before}{name}.")
        else:
            yield before + name


def old_files(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that 0.1.0 left, made the current folder: its paths are relative."""
    copy = place / "old"
    shutil.copytree(OLD, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("NCA3D_CACHE", str(place / "cache"))
    return copy


def rule_of(entry: Mapping[str, Any], **more: Any) -> Any:
    """A rule as the frozen list describes it."""
    return getattr(nca3d, entry["kind"])(**entry["options"], **more)
