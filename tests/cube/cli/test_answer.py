"""`nca3d answer`: the nearest answers, plainly; what is wrong, in one line."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nca3d
from nca3d import cli
from nca3d.cube.ask import Cube

QUESTION = "what is left of the tree"


def test_the_likest_answer_is_plainly_the_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["answer", str(run), QUESTION, "what is back of the stone", "--best", "3"]) == 0
    first, second = capsys.readouterr().out.strip().split("\n\n")
    lines = first.splitlines()
    assert lines[0] == QUESTION
    assert len(lines) == 4
    assert lines[1].startswith("→ ")
    assert lines[1].endswith("the left one")
    assert all(line.startswith("  ") for line in lines[2:])
    assert len({line.index("the ") for line in lines[1:]}) == 1, "aligned"
    scores = [float(line[1:8]) for line in lines[1:]]
    assert scores == sorted(scores, reverse=True)
    assert "→" in second.splitlines()[1]
    assert second.splitlines()[1].endswith("the back one")


def test_what_it_is_not_sure_of_it_says(
    run: Path, doubt_below: Callable[[Path, float], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("surface"))
    doubt_below(tmp_path / "run", 1.0)
    assert cli.main(["answer", str(tmp_path / "run"), QUESTION, "--best", "1"]) == 0
    told = capsys.readouterr()
    _, first, last = told.out.splitlines()
    assert first.startswith("? ")
    assert last.startswith("  not sure: the best score, ")
    assert told.err == ""
    assert cli.main(["answer", str(tmp_path / "run"), QUESTION, "--json", "-"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["questions"]
    assert (entry["sure"], last.endswith(entry["doubt"])) == (False, True)


def test_where_nothing_was_measured_nobody_knows(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of an older version, and any run that is asked at another number of steps."""
    old = tmp_path / "run"
    shutil.copytree(run, old, ignore=shutil.ignore_patterns("surface", "report.json"))
    for place, more, words in (
        (old, [], f"never measured on held-out questions: nca3d evaluate {old}"),
        (run, ["--steps", "6"], "measured for 8 steps, not for 6"),
    ):
        assert cli.main(["answer", str(place), QUESTION, "--json", "-", *more]) == 0
        told = capsys.readouterr()
        (entry,) = json.loads(told.out)["questions"]
        assert (entry["sure"], entry["doubt"]) == (None, "")
        assert told.err.count("\n") == 1
        assert words in told.err


def test_lines_of_stdin_and_json(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [QUESTION, "what is front of the house", "another"]
    argv = ["answer", str(run), "-", "another", "--random-seed", "5", "--steps", "6", "--json"]
    for place in ("-", str(tmp_path / "told.json")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{asked[0]}\n\n  {asked[1]}  \n"))
        assert cli.main([*argv, place]) == 0
        out = capsys.readouterr().out
        told = json.loads(out if place == "-" else Path(place).read_text())
        assert [entry["question"] for entry in told["questions"]] == asked
        wanted = nca3d.Cube.load(run).ask(asked, random_seed=5, steps=6)
        assert [entry["answers"] for entry in told["questions"]] == [[reply._asdict() for reply in row] for row in wanted]
        assert (told["steps"], told["random_seed"], told["runtime"]) == (6, 5, "PyTorch")
        assert ("→" in out) == (place != "-")


def test_a_terminal_obeys_nothing_that_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["answer", str(run), "left\x1b[31m\nor\tright"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "left\\x1b[31m or right"
    assert "\x1b" not in out


ALONE = """
import sys
from nca3d.cli import main
code = main(["answer", sys.argv[1], "what is left of the tree"])
print(sorted(name for name in sys.modules if name.startswith(("nca3d.training", "nca3d.rollout", "nca3d.executors", "pools"))))
sys.exit(code)
"""


@pytest.mark.slow
def test_a_folder_answers_without_any_training(exported: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, str(exported)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the left one" in done.stdout.splitlines()[1]
    assert done.stdout.splitlines()[-1] == "[]"


QUICK = """
import sys
from nca3d.cli import main
code = main(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(code)
"""
WRONG = [
    (["{tmp}/nowhere", "q"], ["run folder: found no such folder"]),
    (["{run}", " "], ["QUESTION: found an empty text"]),
    (["{run}", "-"], ["stdin: found nothing, allowed a question on each line"]),
    (["{run}"], ["QUESTION: found nothing"]),
    (["{run}", "q", "--best", "0", "--steps", "0"], ["--best: number: found 0, allowed 1", "--steps: number: found 0"]),
    (["{run}", "q", "--random-seed", str(1 << 32)], ["--random-seed: number"]),
    (["{run}", "q", "--json", "{tmp}/no/where.json"], ["--json: file"]),
    (["{run}", "x" * 5000], ["QUESTION: found 5,000 characters, allowed at most 4,096"]),
    (["{run}", "q", "--bset", "3"], ["did you mean '--best'?"]),
    (["{body}", "q"], ["regime: found 'regenerating', allowed answering"]),
    (["{broken}", "q"], ["rule.json: JSON: found"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("argv", "words"), WRONG, ids=lambda value: " ".join(value)[-30:])
def test_bad_input_is_a_line_before_torch_loads(argv: list[str], words: list[str], run: Path, tmp_path: Path) -> None:
    (tmp_path / "body").mkdir()
    (tmp_path / "broken").mkdir()
    nca3d.Config().save(tmp_path / "body" / "config.toml")
    (tmp_path / "broken" / "rule.json").write_text("{")
    places = {"run": run, "tmp": tmp_path, "body": tmp_path / "body", "broken": tmp_path / "broken"}
    done = subprocess.run(
        [sys.executable, "-c", QUICK, "answer", *(text.format(**places) for text in argv)],
        input="\n \n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert word in line


def test_too_long_a_thought(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["answer", str(run), "q", "--steps", "1000000"]) == 2
    assert capsys.readouterr().err == "ask: steps: found 1000000, allowed 1 .. 10000\n"


def test_a_run_without_its_teacher(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("answers.json", "surface"))
    assert cli.main(["answer", str(tmp_path / "run"), "q"]) == 2
    assert "answers.json: file: found no such file" in capsys.readouterr().err


def test_the_door() -> None:
    assert nca3d.Cube is Cube
