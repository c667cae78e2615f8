"""`nca3d evaluate` and `nca3d compare`: rules and reports by name, figures printed, pages written."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import nca3d
from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.evaluation.evaluate import evaluate
from nca3d.evaluation.figures import Report, flat, shown
from nca3d.evaluation.finish import film
from nca3d.evaluation.from_file import resolve
from nca3d.evaluation.laws import check_laws
from nca3d.evaluation.report import write_file
from nca3d.evaluation.study import compare, read_report, write_study
from nca3d.load import load, zoo
from nca3d.rules.cell import Rule
from nca3d.targets import Target
from nca3d.targets import load as load_target
from nca3d.training.loop import load_plugins


@dataclass(frozen=True)
class Asked:
    """What `nca3d evaluate` was asked; see its --help."""

    rule: str
    preset: str = "quick"
    out: Path | None = None
    json: Path | None = None
    laws: bool = False
    pictures: bool = True
    horizon: int | None = None
    samples: int | None = None
    random_seed: int = 0
    executor: str = "auto"
    target: str | None = None
    size: tuple[int, int, int] | None = None
    target_options: dict[str, Any] | None = None
    config: Config | None = None


def run(asked: Asked) -> int:
    """Evaluate a rule, or check the laws of one; the answer is the exit code."""
    if asked.config is not None:
        load_plugins(asked.config)
    rule = resolve(asked.rule) if is_file_rule(asked.rule) else load(asked.rule)
    if asked.laws:
        return _laws(rule)
    if not isinstance(rule, Rule):
        raise InputError(asked.rule, "rule", type(rule).__name__, "a nca3d.rules.Rule; --laws takes any module")
    target = _target(asked, rule)
    report = evaluate(
        rule, target, asked.preset, horizon=asked.horizon, samples=asked.samples, random_seed=asked.random_seed,
        executor=asked.executor, progress=True,
    )  # fmt: skip
    report.about = {"name": asked.rule, "preset": asked.preset, **report.about, **versions()}
    for name, value in report.rows():
        if not name.startswith("regeneration.recovered_each"):
            print(f"{name:<44} {shown(value)}")
    if asked.json:
        report.to_json(asked.json)
        print(asked.json)
    folder = asked.out or _folder(asked)
    moving = film(rule, target, report["horizon"], asked.random_seed) if asked.pictures else None
    print(write_study(folder, report, moving, progress=True))
    return 0


def is_file_rule(name: str) -> bool:
    """Whether a rule is named by "FILE.py:NAME"."""
    return re.search(r"\.py:\w+$", name) is not None


def _laws(rule: nn.Module) -> int:
    """Every law with what became of it; 1 if any is broken."""
    verdicts = check_laws(rule)
    for verdict in verdicts:
        print(f"{verdict.law:<12} {verdict.status:<10} {verdict.detail}")
    return int(any(verdict.status == "broken" for verdict in verdicts))


def _target(asked: Asked, rule: Rule) -> Target:
    """The body that the rule's card names, or another that the flags do."""
    card = rule.card
    name, size = asked.target or card.get("target"), asked.size or card.get("size")
    if name is None or size is None:
        missing = "--target" if name is None else "--size"
        raise InputError(asked.rule, missing, "nothing", "the body that this rule should grow: it has no card that names one")
    options = asked.target_options if asked.target_options is not None else ({} if asked.target else card["target_options"])
    target = load_target(name, size=tuple(size), **options)
    if (target.kind, target.visible) != (rule.visible_kind, rule.visible):
        found = f"{target.kind} with {target.visible} visible channels"
        raise InputError(asked.rule, "target", found, f"{rule.visible_kind} with {rule.visible}, which this rule shows")
    return target


def _folder(asked: Asked) -> Path:
    """Beside a run's own report, or under runs/ for a rule that has no folder."""
    path = Path(asked.rule)
    if path.is_dir():
        return path / f"evaluate-{asked.preset}"
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", asked.rule.removeprefix("zoo:")).strip("-.")
    return Path("runs") / f"evaluate-{stem}-{asked.preset}"


def versions() -> dict[str, str]:
    """What the figures were made with."""
    return {"nca3d": nca3d.__version__, "python": platform.python_version(), "torch": torch.__version__}


def run_compare(names: list[str], out: Path | None) -> None:
    """Lay reports side by side: folders or files of reports, and zoo:NAME for the figures of a card."""
    reports = {name: _report(name) for name in names}
    table, figure = compare(reports)
    print(table)
    if out is not None:
        from nca3d.evaluation.report import png_of

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
