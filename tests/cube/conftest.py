"""A cube that was really trained, tiny and for three iterations, and its export: each made once for all tests."""

import json
import os
from pathlib import Path

import pytest

PLACES = ("front", "back", "left", "right")
QUESTIONS = [f"what is {word} of the {thing}" for word in PLACES for thing in ("stone", "tree", "house")]
OPTIONS = {
    "features": 8,
    "memory": 4,
    "external": 2,
    "widened": 8,
    "preset": "cube",
    "start": "carry",
    "mixed": True,
}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of regime answering: 12 questions, 4 answers, a cube of 3 × 4 × 4 cells."""
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
        config = nca3d.Config(
            regime="answering",
            rule="gmlp",
            size=(3, 4, 4),
            rule_options=OPTIONS,
            fire_rate=0.7,
            questions=str(place / "set.jsonl"),
            teacher="tfidf",
            teacher_width=8,
            iterations=3,
            batch=4,
            pool_size=4,
            damage_count=0,
            report=False,
            log_every=1,
            out=str(place / "run"),
        )
        nca3d.train(config)
    finally:
        if before is None:
            del os.environ["NCA3D_CACHE"]
        else:
            os.environ["NCA3D_CACHE"] = before
    return place / "run"


@pytest.fixture(scope="session")
def exported(run: Path) -> Path:
    """The run's surface folder."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from nca3d.cube.ask import Cube
    from nca3d.cube.export.write import write_surface

    return write_surface(Cube.of_run(run), run / "surface").folder
