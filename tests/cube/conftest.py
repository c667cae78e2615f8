"""A cube that was really trained, tiny and for three iterations, and its export: each made once for all tests."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

PLACES = ("front", "back", "left", "right")
QUESTIONS = [f"what is {word} of the {thing}" for word in PLACES for thing in ("stone", "tree", "house")]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, doubt_below: Callable[[Path, float], None]) -> Path:
    """A run folder of regime answering: 12 questions, 4 answers, a cube of 3 × 4 × 4 cells that is sure of all it says."""
    from tiny_runs import tiny_cube

    import nca3d

    place = tmp_path_factory.mktemp("cube")
    pairs = [
        {"question": question, "answer": f"the {question.split()[2]} one", "split": "train" if number % 4 else "test"}
        for number, question in enumerate(QUESTIONS)
    ]
    (place / "set.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    before = os.environ.get("NCA3D_CACHE")
    os.environ["NCA3D_CACHE"] = str(place / "cache")
    try:
        config = tiny_cube(
            place / "set.jsonl",
            fire_rate=0.7,
            teacher="tfidf",
            teacher_width=8,
            iterations=3,
            batch=4,
            pool_size=4,
            damage_count=0,
            out=str(place / "run"),
        )
        nca3d.train(config)
    finally:
        if before is None:
            del os.environ["NCA3D_CACHE"]
        else:
            os.environ["NCA3D_CACHE"] = before
    doubt_below(place / "run", -1.0)
    return place / "run"


@pytest.fixture(scope="session")
def doubt_below() -> Callable[[Path, float], None]:
    """Gives a run a report with this score as its threshold: a set of 12 questions is too small to measure one."""
    from nca3d.cube.ask import Cube
    from nca3d.cube.threshold import Threshold

    def write(run: Path, score: float) -> None:
        cube = Cube.of_run(run)
        threshold = Threshold(score, 0.0, "test", 20, cube.rule.card["horizon"], cube.model)
        (run / "report.json").write_text(json.dumps({"threshold": threshold.record()}))

    return write


@pytest.fixture(scope="session")
def exported(run: Path) -> Path:
    """The run's surface folder."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from nca3d.cube.ask import Cube
    from nca3d.cube.export.write import write_surface

    return write_surface(Cube.of_run(run), run / "surface").folder
