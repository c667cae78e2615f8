"""`nca3d evaluate` and `nca3d compare`: rules and reports by name, figures printed, pages written."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import nca3d
from nca3d.chosen import Chosen
from nca3d.cube.cell import GMLPRule
from nca3d.errors import InputError
from nca3d.evaluation.evaluate import evaluate
from nca3d.evaluation.laws.checks import check_laws
from nca3d.experiment import film
from nca3d.load import load, zoo
from nca3d.reports.report import Report, flat, shown
from nca3d.reports.run import write_file
from nca3d.reports.study import compare, read_report, write_study


@dataclass(frozen=True)
class Asked:
    """What `nca3d evaluate` was asked; see its --help."""

    chosen: Chosen
    preset: str = "quick"
    out: Path | None = None
    json: Path | None = None
    laws: bool = False
    pictures: bool = True
    horizon: int | None = None
    samples: int | None = None
    random_seed: int = 0
    executor: str = "auto"


def run(asked: Asked) -> int:
    """Evaluate a rule, or check the laws of one; the answer is the exit code."""
    chosen = asked.chosen
    for flag, place in (("--out", asked.out), ("--json", asked.json)):
        if place is not None:
            _require_writable(flag, place)
    if asked.laws:
        return _laws(chosen.module())
    rule = chosen.rule()
    if isinstance(rule, GMLPRule):
        return _cube(asked, rule)
    target = chosen.body(rule)
    report = evaluate(
        rule,
        target,
        asked.preset,
        horizon=asked.horizon,
        samples=asked.samples,
        random_seed=asked.random_seed,
        executor=asked.executor,
        progress=True,
    )
    _tell(asked, report)
    folder = asked.out or _folder(asked)
    moving = film(rule, target, report["horizon"], asked.random_seed) if asked.pictures else None
    print(write_study(folder, report, moving, progress=True))
    return 0


def _cube(asked: Asked, rule: GMLPRule) -> int:
    """Ask and hurt a cube; what it was trained on, and by which teacher, is in its run folder."""
    from nca3d.cube.evaluation import activity, evaluate_cube
    from nca3d.cube.reports.report import write_cube_report
    from nca3d.cube.saved import taught_of_run

    if asked.executor == "event":
        raise InputError(
            "--executor", "executor", "event: a cube's cells are never dead", "auto, dense, compiled, graph, event-approx"
        )
    if asked.samples is not None:
        raise InputError("--samples", "number", f"{asked.samples}: a cube is asked questions", "bodies alone")
    taught = taught_of_run(asked.chosen.name)
    digest = rule.card.get("questions_digest", taught.questions.digest)
    if taught.questions.digest != digest:
        found = f"another set than the one that it was trained on ({taught.questions.digest}, not {digest})"
        raise InputError(taught.questions.name, "questions", found, "that set")
    report = evaluate_cube(
        rule, taught, asked.preset, horizon=asked.horizon, random_seed=asked.random_seed, executor=asked.executor, progress=True
    )
    _tell(asked, report)
    seen, steps = activity(rule, taught.asked[:1], report["horizon"] + 5) if asked.pictures else (None, None)
    folder = asked.out or _folder(asked)
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{taught.questions.name} · a cube that answers"
    print(write_cube_report(folder, report, title=title, activity=seen, steps=steps, versions=versions(), progress=True))
    return 0


def _tell(asked: Asked, report: Report) -> None:
    """The figures on the screen, and in the file that was asked for."""
    report.about = {"name": asked.chosen.name, "preset": asked.preset, **report.about, **versions()}
    for name, value in report.rows():
        if not name.startswith("regeneration.recovered_each"):
            print(f"{name:<44} {shown(value)}")
    if asked.json:
        report.to_json(asked.json)
        print(asked.json)


def _require_writable(flag: str, place: Path) -> None:
    """Refuses before hours of work what could not be written after them."""
    if flag == "--json" and (place.is_dir() or not place.absolute().parent.is_dir()):
        raise InputError(flag, "file", place, "a file name in a folder that exists")
    there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
    fits = there.is_dir() or (flag == "--json" and there == place.absolute())
    if not fits or not os.access(there, os.W_OK | (os.X_OK if there.is_dir() else 0)):
        raise InputError(flag, "place", f"{place}: {there} can't be written to", "a place that can")


def _laws(rule: nn.Module) -> int:
    """Every law with what became of it; 1 if any is broken."""
    verdicts = check_laws(rule)
    for verdict in verdicts:
        print(f"{verdict.law:<12} {verdict.status:<10} {verdict.detail}")
    return int(any(verdict.status == "broken" for verdict in verdicts))


def _folder(asked: Asked) -> Path:
    """Beside a run's own report, or under runs/ for a rule that has no folder."""
    path = Path(asked.chosen.name)
    return path / f"evaluate-{asked.preset}" if path.is_dir() else Path("runs") / f"evaluate-{asked.chosen.stem}-{asked.preset}"


def versions() -> dict[str, str]:
    """What the figures were made with."""
    return {"nca3d": nca3d.__version__, "python": platform.python_version(), "torch": torch.__version__}


def run_compare(names: list[str], out: Path | None) -> None:
    """Lay reports side by side: folders or files of reports, and zoo:NAME for the figures of a card."""
    reports = {name: _report(name) for name in names}
    table, figure = compare(reports)
    print(table)
    if out is not None:
        from nca3d.reports.run import png_of

        out.mkdir(parents=True, exist_ok=True)
        write_file(out / "compare.md", (table + "\n").encode())
        write_file(out / "compare.png", png_of(figure))
        print(out / "compare.png")


def _report(name: str) -> Report:
    if name.startswith("zoo:"):
        card = load(name).card
        report = Report({**card["figures"], **card["standard"]}, {})
        # The card's intervals are those of its quick figures: where standard ones took their place, they say nothing.
        quick, now = dict(flat(card["figures"])), dict(report.rows())
        report.intervals = {name: low_high for name, low_high in card["intervals"].items() if quick.get(name) == now.get(name)}
        return report
    if not Path(name).exists():
        raise InputError(name, "report", "nothing there", f"a folder or file of a report, or zoo:{'|'.join(zoo())}")
    return read_report(Path(name))
