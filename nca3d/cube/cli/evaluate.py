"""The part of `nca3d evaluate` for cubes, which are asked and damaged rather than grown."""

from pathlib import Path

from nca3d.cli.evaluate import EvaluateRequest, ReportAndWriter
from nca3d.cube.cell import GMLPRule
from nca3d.errors import InputError


def run(request: EvaluateRequest, rule: GMLPRule) -> ReportAndWriter:
    """Asks a cube its questions, damages it and asks again; its run folder says on which set and by which teacher.

    Args:
        request: What `nca3d evaluate` was asked for.
        rule: The cube.

    Returns:
        The report, and a function that writes it to a folder.

    Raises:
        InputError: A flag is none of a cube's, or the question set is another than in training.
    """
    from nca3d.cube.evaluation import activity, evaluate_cube
    from nca3d.cube.lesson import questions_of_run
    from nca3d.cube.reports.page import write_cube_report

    if request.executor in ("event", "slabs"):
        found = f"{request.executor}: a cube's cells are never dead"
        raise InputError("--executor", "executor", found, "auto, dense, compiled, graph, event-approx")
    if request.samples is not None:
        raise InputError("--samples", "number", f"{request.samples}: a cube is asked questions", "no --samples for a cube")
    embedded = questions_of_run(request.ref.name)
    # Accuracy on another set says nothing about this training; cubes of old runs have no digest, and are trusted.
    digest = rule.card.get("questions_digest", embedded.questions.digest)
    if embedded.questions.digest != digest:
        found = f"another set than the one that it was trained on ({embedded.questions.digest}, not {digest})"
        raise InputError(embedded.questions.name, "questions", found, "that set")
    report = evaluate_cube(
        rule,
        embedded,
        request.preset,
        horizon=request.horizon,
        random_seed=request.random_seed,
        executor=request.executor,
        progress=True,
    )

    def write(folder: Path) -> Path:
        # Some steps beyond the horizon: the film shows whether the answer stays.
        moving = activity(rule, embedded.question_embeddings[:1], report["horizon"] + 5) if request.pictures else None
        return write_cube_report(folder, report, moving, progress=True)

    return report, write
