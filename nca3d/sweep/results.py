"""What the trials of a sweep measured: read from their run folders, by setting, as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError
from nca3d.reports.compare import headlines, kind_of
from nca3d.reports.groups import Group, GroupTable
from nca3d.reports.report import Report, read_report
from nca3d.reports.values import is_number
from nca3d.schema.spec import toml
from nca3d.sweep.board import Board
from nca3d.sweep.plan import Plan
from nca3d.training.run_folder import read_metrics

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# How a trial that is no figure is told in the table, by Optuna's name of its state.
TOLD = {"FAIL": "failed", "PRUNED": "ended early", "RUNNING": "not done", "WAITING": "not done"}


def headline(plan: Plan) -> str:
    """Returns the metric that the progress bar of training shows. Imports torch."""
    return str(plan.config(next(iter(plan.settings()), {}), plan.first_seed).kind.task.load().headline)


def measured(place: Path, measure: str) -> tuple[dict[str, float], Report | None]:
    """Returns the figures of a run, and the report that they come from.

    Args:
        place: the run folder.
        measure: the preset of its evaluation.

    Returns:
        The last numbers of metrics.jsonl by name, and over them those of its report: of the run's own, if it has one, else of
        its evaluation. The report is None where there is none.
    """
    figures: dict[str, Any] = {}
    report = None
    try:
        for line in read_metrics(place):
            figures |= line
        folder = next((folder for folder in (place, place / f"evaluate-{measure}") if (folder / "report.json").is_file()), None)
        report = read_report(folder) if folder else None
    except (InputError, OSError):
        pass
    figures |= dict(report.rows()) if report is not None else {}
    return {name: float(value) for name, value in figures.items() if is_number(value)}, report


@dataclass(frozen=True)
class Results:
    """What is known of a sweep.

    Attributes:
        table: a row for each setting.
        states: how many trials are in each state, by Optuna's name of it.
        missing: patterns of figures that no run has.
        known: the names of the figures that runs have.
    """

    table: GroupTable
    states: Mapping[str, int]
    missing: Sequence[str]
    known: Sequence[str]


def collect(plan: Plan, board: Board, goal: str) -> Results:
    """Reads all trials that are complete.

    Args:
        plan: what was asked.
        board: the study.
        goal: the figure that a search is for; its best settings come first.
    """
    trials = board.trials()
    runs: dict[int, list[dict[str, float]]] = {}
    kind = None
    for trial in trials:
        if trial.state.name == "COMPLETE":
            found = [measured(place, plan.measure) for place in board.places(trial.number)]
            runs[trial.number] = [figures for figures, _ in found]
            kind = kind or next((kind_of(report) for _, report in found if report is not None), None)
    known = list(dict.fromkeys(name for all_of in runs.values() for one in all_of for name in one))
    asked = list(plan.figures) or ([] if kind is None else headlines(kind, known)) or [goal, "loss"]
    chosen = list(dict.fromkeys(name for pattern in asked for name in known if fnmatchcase(name, pattern)))
    missing = [pattern for pattern in plan.figures if known and not any(fnmatchcase(name, pattern) for name in known)]
    groups = _by_setting(plan, trials, runs)
    if plan.search != "grid":
        # Search: the settings that were done come first, the best of them on top.
        groups.sort(key=lambda group: _rank(group.values(goal), plan.minimise))
    table = GroupTable([axis.name for axis in plan.axes], chosen, groups, "random seeds")
    states: dict[str, int] = {}
    for trial in trials:
        states[trial.state.name] = states.get(trial.state.name, 0) + 1
    return Results(table, states, missing, known)


def _by_setting(plan: Plan, trials: "Sequence[FrozenTrial]", runs: Mapping[int, list[dict[str, float]]]) -> list[Group]:
    """Returns a group for each setting: of a grid in its order, of a search one for each trial that has begun."""
    figures: dict[tuple[str, ...], list[dict[str, float]]] = {}
    notes: dict[tuple[str, ...], dict[str, int]] = {}
    for trial in trials:
        if plan.search != "grid" and trial.state.name == "WAITING":
            continue
        # One that waits has its setting, and no parameters yet.
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        setting = tuple(_text(params.get(axis.name)) for axis in plan.axes)
        key = setting if plan.search == "grid" else (*setting, str(trial.number))
        figures.setdefault(key, []).extend(runs.get(trial.number, []))
        noted = notes.setdefault(key, {})
        if told := TOLD.get(trial.state.name):
            noted[told] = noted.get(told, 0) + 1
    return [
        Group(key[: len(plan.axes)], found, tuple(f"{count} {told}" for told, count in notes[key].items()))
        for key, found in figures.items()
    ]


def _text(value: object) -> str:
    """Returns a value as a table shows it: numbers without the digits that a search makes up."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else toml(value)


def _rank(values: Sequence[float], minimise: bool) -> float:
    if not values:
        return float("inf")
    mean = sum(values) / len(values)
    return mean if minimise else -mean
