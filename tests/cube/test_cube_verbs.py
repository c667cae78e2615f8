"""What `nca3d evaluate` refuses of a cube, in one line and before anything is asked."""

import json
from pathlib import Path

import pytest

import nca3d
from nca3d import cli


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sklearn")
    place = tmp_path_factory.mktemp("asked")
    lines = [{"question": f"what is {n}", "answer": f"it is {n % 3}", "split": "train"} for n in range(8)]
    (place / "set.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCA3D_CACHE", str(place / "cache"))
        nca3d.train(
            nca3d.Config(
                regime="answering",
                rule="gmlp",
                size=(3, 3, 3),
                questions=str(place / "set.jsonl"),
                teacher_width=4,
                iterations=1,
                batch=4,
                pool_size=4,
                report=False,
                out=str(place / "run"),
                threads=1,
                rule_options={"features": 4, "memory": 2, "external": 0, "widened": 4, "preset": "cube"},
            ),
            progress=False,
        )
    return place / "run"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--executor", "event"], "--executor: executor: found event: a cube's cells are never dead"),
        (["--samples", "3"], "--samples: number: found 3: a cube is asked questions"),
        (["--target", "frog"], "--target: target: found f"),
        (["--json", "{run}/none/a.json"], "--json: file: found"),
        (["--out", "{run}/config.toml/here"], "--out: place: found"),
    ],
)
def test_what_a_cube_is_not_asked(flags, words, run, capsys):
    assert cli.main(["evaluate", str(run), *(flag.format(run=run) for flag in flags)]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(words) and len(told.err.splitlines()) == 1
    assert not (run / "evaluate-quick").exists()


def test_another_set_than_the_one_it_was_trained_on(run, capsys):
    path = run.parent / "set.jsonl"
    before = path.read_text()
    path.write_text("\n".join(before.splitlines()[:5]))
    try:
        assert cli.main(["evaluate", str(run)]) == 2
        assert "another set than the one that it was trained on" in capsys.readouterr().err
    finally:
        path.write_text(before)
