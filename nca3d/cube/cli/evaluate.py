"""`nca3d evaluate` of a cube: it is asked and hurt, rather than grown."""

from pathlib import Path

from nca3d.cli.evaluate import EvaluateRequest, ReportAndWriter
from nca3d.cube.cell import GMLPRule
from nca3d.errors import InputError


def run(request: EvaluateRequest, rule: GMLPRule) -> ReportAndWriter:
    """Ask and hurt a cube; what it was trained on, and by which teacher, is in its run folder."""
    from nca3d.cube.evaluation import activity, evaluate_cube
    from nca3d.cube.lesson import taught_of_run
    from nca3d.cube.reports.page import write_cube_report

    if request.executor == "event":
        raise InputError(
            "--executor", "executor", "event: a cube's cells are never dead", "auto, dense, compiled, graph, event-approx"
        )
    if request.samples is not None:
        raise InputError("--samples", "number", f"{request.samples}: a cube is asked questions", "bodies alone")
    taught = taught_of_run(request.ref.name)
    digest = rule.card.get("questions_digest", taught.questions.digest)
    if taught.questions.digest != digest:
        found = f"another set than the one that it was trained on ({taught.questions.digest}, not {digest})"
        raise InputError(taught.questions.name, "questions", found, "that set")
    report = evaluate_cube(
        rule,
        taught,
        request.preset,
        horizon=request.horizon,
        random_seed=request.random_seed,
        executor=request.executor,
        progress=True,
    )

    def write(folder: Path) -> Path:
        moving = activity(rule, taught.asked[:1], report["horizon"] + 5) if request.pictures else None
        return write_cube_report(folder, report, moving, progress=True)

    return report, write
