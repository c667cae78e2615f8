"""Is it alive? Measure how well a rule grows its target, stays and heals, on draws that training never used.

Writes report.html with pictures, report.json and a Markdown table into RUN/evaluate-PRESET, or runs/evaluate-NAME-PRESET.
"""

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.cli.flags import SEEDS, STDOUT, add_rule, read_flags, require_place, rule_of, wrong_folder, wrong_numbers, wrong_text
from nca3d.errors import ErrorCollector, InputError, nearest
from nca3d.files import refuse_odd
from nca3d.load import RuleRef
from nca3d.registry import wing_entries

if TYPE_CHECKING:
    from torch import nn

    from nca3d.reports.report import Report
    from nca3d.rules.cell import Rule

# The figures, and what writes them into a folder with pictures and a page, whose path it returns.
ReportAndWriter = tuple["Report", Callable[[Path], Path]]

# The presets of `nca3d.evaluation` and of wings: by name here, since those modules import torch.
PRESETS = ("quick", "standard", "full")
# Seconds that one of several processes waits for another.
TIMEOUT = 600
# Steps of a horizon: ten times the longest rollout of a training.
LONGEST = 1_000_000


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d evaluate`."""
    add_rule(parser)
    parser.add_argument("--preset", default="quick", metavar="NAME", help="quick, standard or full (default: quick)")
    parser.add_argument("--laws", action="store_true", help="check the laws of the cell instead, on any module")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="write the report there")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too; - prints them as JSON instead")
    parser.add_argument("--pictures", action=argparse.BooleanOptionalAction, default=True, help="draw bodies as well as plots")
    parser.add_argument("--horizon", metavar="N", type=int, help="steps after which a body is grown (default: the card's)")
    parser.add_argument("--samples", metavar="N", type=int, help="bodies side by side (default: the preset's)")
    parser.add_argument("--random-seed", metavar="N", type=int, default=0, help="decides fire masks and wounds (default: 0)")


@dataclass(frozen=True)
class EvaluateRequest:
    """One call of `nca3d evaluate`.

    Attributes:
        ref: the rule, by name.
        preset: how much is measured: quick, standard or full.
        pictures: whether bodies are drawn as well as plots.
        horizon: steps after which a body is grown; None = as the card says.
        samples: bodies grown side by side; None = as the preset says.
        random_seed: decides fire masks and wounds, 0 or more.
        executor: how the rule is run.
    """

    ref: RuleRef
    preset: str
    pictures: bool
    horizon: int | None
    samples: int | None
    random_seed: int
    executor: str

    @property
    def options(self) -> dict[str, Any]:
        """What one body and several are measured with alike."""
        return {name: getattr(self, name) for name in ("horizon", "samples", "random_seed", "executor")}

    @classmethod
    def of(cls, args: argparse.Namespace) -> "EvaluateRequest":
        """Reads the request from flags.

        Raises:
            InputErrors: every flag that is wrong, and what could not be written after hours of work.
        """
        with ErrorCollector() as errors:
            fields = read_flags(args, errors)
            errors += wrong_numbers(args, horizon=(1, LONGEST), samples=(1, None), random_seed=SEEDS)
            errors += [*wrong_folder("--out", args.out), *wrong_text("--json", args.json)]
            hint = nearest(args.preset, PRESETS)
            errors.add(args.preset not in PRESETS, "--preset", "preset", repr(args.preset), f"{', '.join(PRESETS)}{hint}")
        given = (args.preset, args.pictures, args.horizon, args.samples, args.random_seed)
        return cls(rule_of(args, fields), *given, fields.get("executor", "auto"))


def run(args: argparse.Namespace) -> int:
    """Evaluates a rule, or checks the laws of one, and returns the exit code: 1 where a law is broken, else 0.

    Raises:
        InputError: The rule can't be used, or has its own bodies where others are asked for.
    """
    from nca3d.ranks.joined import joined

    # Several processes that torchrun has started share the bodies out; the first one writes.
    with joined(TIMEOUT):
        return _evaluate(args)


def _evaluate(args: argparse.Namespace) -> int:
    """Evaluates as one of the processes that torchrun has started, or alone."""
    from nca3d.ranks import alone, current

    request = EvaluateRequest.of(args)
    if args.laws:
        return _laws(request.ref.one() if request.ref.condition else request.ref.module())
    # A body may be called anything, in a run of somebody else's too.
    named = re.sub(r"[^\w-]+", "_", str(request.ref.condition or ""))
    preset = request.preset + (f"-{named}" if named else "")
    folder = args.out or request.ref.beside(f"evaluate-{preset}", f"evaluate-{request.ref.stem}-{preset}")
    if args.out is None:  # a folder of ours: what is written into it must not land elsewhere
        refuse_odd(folder, folder=True)
        require_place(folder, "--out")
    rule = request.ref.rule()
    own = wing_entries("evaluation verb").get(rule.visible_kind)  # of rules that grow no body
    for name in ("target", "size", "target_options"):
        if (rule.conditions or own) and (given := getattr(args, f"field_{name}", None)) is not None:
            allowed = "none for a rule of several bodies, which has its own; --condition NAME means one of them"
            allowed = allowed if rule.conditions else "none for a rule that grows no body"
            raise InputError(f"--{name.replace('_', '-')}", name, " ".join(map(str, given)), allowed)
    report, write = own.load()(request, rule) if own else _several(request, rule) if rule.conditions else _body(request, rule)
    if not current().first:
        return 0
    with alone():
        return _told(args, request, report, write, folder)


def _told(
    args: argparse.Namespace, request: EvaluateRequest, report: "Report", write: Callable[[Path], Path], folder: Path
) -> int:
    """Prints the figures and writes the report; returns the exit code."""
    _note(request, report)
    if args.json == STDOUT:  # alone on stdout, so that another program can read it
        print(report.to_json())
        print(write(folder), file=sys.stderr)
        return 0
    _tell(report)
    if args.json:
        report.to_json(args.json)
        print(args.json)
    print(write(folder))
    return 0


def _body(request: EvaluateRequest, rule: "Rule") -> ReportAndWriter:
    from nca3d.evaluation.evaluate import evaluate
    from nca3d.evaluation.story import film
    from nca3d.reports.body import write_body

    target = request.ref.target(rule)
    report = evaluate(rule, target, request.preset, **request.options, progress=True)

    def write(folder: Path) -> Path:
        moving = film(rule, target, report["horizon"], request.random_seed) if request.pictures else None
        return write_body(folder, report, moving, progress=True)

    return report, write


def _several(request: EvaluateRequest, rule: "Rule") -> ReportAndWriter:
    from nca3d.evaluation.several import evaluate_several
    from nca3d.evaluation.story import film_several
    from nca3d.reports.several import write_several
    from nca3d.rules.conditional import ConditionalRule

    assert isinstance(rule, ConditionalRule), "several bodies have a condition"
    report = evaluate_several(rule, request.preset, **request.options, progress=True)

    def write(folder: Path) -> Path:
        filmed = film_several(rule, report["horizon"], request.random_seed) if request.pictures else None
        return write_several(folder, report, filmed, progress=True)

    return report, write


def _note(request: EvaluateRequest, report: "Report") -> None:
    """Notes in the report what was measured with which versions."""
    from nca3d.versions import versions

    report.about = {"name": request.ref.name, "preset": request.preset, **report.about, **versions()}


def _tell(report: "Report") -> None:
    """Prints the figures, and in words what those are that could be mistaken."""
    from nca3d.reports.values import as_text

    for name, value in report.rows():
        if not name.startswith("regeneration.recovered_each"):
            print(f"{name:<44} {as_text(value):<12} {report.meaning(name)}".rstrip())


def _laws(rule: "nn.Module") -> int:
    """Prints each law with its verdict, and returns 1 if any is broken, else 0.

    Raises:
        InputError: The rule grows several bodies, and none of them is named.
    """
    from nca3d.evaluation.laws.checks import check_laws

    if names := getattr(rule, "conditions", ()):
        raise InputError("--laws", "condition", "none", f"--condition NAME: {', '.join(names)}")
    verdicts = check_laws(rule)
    for verdict in verdicts:
        print(f"{verdict.law:<12} {verdict.status:<10} {verdict.detail}")
    return int(any(verdict.status == "broken" for verdict in verdicts))
