"""`nca3d embed` as it is typed: by TF-IDF and by a tiny Llama, with a cache, and with everything that can be wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nca3d.cli import main
from nca3d.cube import load_teacher, read_embeddings, read_questions


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "kept"))
    rows = [
        {"question": "What is a lattice?", "answer": "A grid.", "split": "train"},
        {"question": "What is a cell?", "answer": "A part of it.", "split": "train"},
        {"question": "A lattice is what?", "answer": "A grid.", "split": "test"},
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    before = {path for path in Path().rglob("*") if path.is_file()}
    assert main(["embed", *argv]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert {path for path in Path().rglob("*") if path.is_file()} == before
    return shown.err.removesuffix("\n")


@pytest.mark.slow
def test_a_language_model(llama, capsys):
    assert main(["embed", "own.jsonl", "--model", str(llama), "--layer", "2", "--pool", "last"]) == 0
    shown = capsys.readouterr().out
    assert "3 questions and answers, 48 wide" in shown and "0 of 6 texts from the cache" in shown
    assert shown.splitlines()[-1] == "own.safetensors"
    found = read_embeddings("own.safetensors", read_questions("own.jsonl"))
    teacher = load_teacher(str(llama), layer=2, pool="last")
    assert torch.allclose(found.questions[2], teacher.embed(["A lattice is what?"])[0], atol=1e-5)
    assert torch.equal(found.answers[0], found.answers[2])
    expected = {"model": teacher.id, "layer": "2", "pool": "last", "data": read_questions("own.jsonl").digest, "name": "own"}
    assert found.metadata == {**expected, "nca3d": "embeddings"}
    assert main(["embed", "own.jsonl", "--model", str(llama), "--layer", "-2", "--pool", "last"]) == 0
    shown = capsys.readouterr().out
    assert "6 of 6 texts from the cache" in shown and "own.safetensors (replaced)" in shown
    assert torch.equal(read_embeddings("own.safetensors").questions, found.questions)


def test_the_shipped_set_by_tf_idf(capsys):
    pytest.importorskip("sklearn")
    assert main(["embed", "lattice", "--width", "30", "--out", "out.safetensors", "--cache", "elsewhere"]) == 0
    questions = read_questions("lattice")
    found = read_embeddings("out.safetensors", questions)
    assert found.questions.shape == found.answers.shape == (len(questions.pairs), 30)
    assert "tfidf-30:" in capsys.readouterr().out
    assert list(Path("elsewhere").rglob("*.safetensors")) and not Path("kept").exists()


def test_held_out_questions_have_no_say(capsys):
    """TF-IDF learns its words from training alone."""
    pytest.importorskip("sklearn")
    main(["embed", "own.jsonl", "--width", "3", "--out", "one.safetensors"])
    text = Path("own.jsonl").read_text()
    Path("own.jsonl").write_text(text.replace("A lattice is what?", "Zebras, zebras?"))
    main(["embed", "own.jsonl", "--width", "3", "--out", "two.safetensors"])
    one, two = read_embeddings("one.safetensors"), read_embeddings("two.safetensors")
    assert one.metadata["model"] == two.metadata["model"]
    assert torch.equal(one.questions[:2], two.questions[:2]) and not two.questions[2].any()


ONE_LINE = [
    (["nope.jsonl"], "nope.jsonl: questions: found no such file"),
    (["latice"], "did you mean 'lattice'"),
    ([], "DATA: found nothing"),
    (["own.jsonl", "--model", "nope"], "teacher: model: found 'nope', allowed tfidf, minilm or a Hugging Face model folder"),
    (["own.jsonl", "--model", "."], "config.json: found nothing"),
    (["own.jsonl", "--pool", "max"], "teacher: pool: found 'max', allowed mean, last"),
    (["own.jsonl", "--width", "0"], "teacher: width: found 0, allowed a whole number from 1 to 4,096"),
    (["own.jsonl", "--layer", "x"], "--layer"),
    (["own.jsonl", "--out", "none/x"], "--out: file: found none/x"),
    (["own.jsonl", "--out", "."], "--out: file"),
    (["own.jsonl", "--out", "own.jsonl"], "--out: file: found own.jsonl, which nca3d embed did not write"),
    (["own.jsonl", "--out", "x.npy"], "--out: suffix: found '.npy', allowed .safetensors"),
    (["own.jsonl", "--layer", "2"], "--layer, --pool: model: found tfidf, which has neither"),
    (["own.jsonl", "--cache", "own.jsonl"], "--cache: folder: found own.jsonl"),
    (["own.jsonl", "--modle", "tfidf"], "did you mean '--model'"),
]


@pytest.mark.parametrize(("argv", "words"), ONE_LINE, ids=lambda value: " ".join(value)[:40])
def test_bad_input_is_one_line(argv, words, capsys):
    line = complaint(capsys, *argv)
    assert words in line
    assert "\n" not in line and ": found " in line and ", allowed " in line


def test_all_errors_at_once(capsys):
    Path("bad.jsonl").write_text("{\n[]\n")
    assert len(complaint(capsys, "bad.jsonl", "--pool", "max", "--out", "/nope/x").splitlines()) == 4


def test_a_layer_that_there_is_not(llama, capsys):
    assert "layer: found 7, allowed -4 to 3" in complaint(capsys, "own.jsonl", "--model", str(llama), "--layer", "7")


def test_all_of_it_is_refused_before_torch_is_imported():
    code = (
        "import sys; from nca3d.cli import main; code = main(sys.argv[1:]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    for argv in (["nope"], ["own.jsonl", "--pool", "max"], ["own.jsonl", "--model", "."]):
        done = subprocess.run([sys.executable, "-c", code, "embed", *argv], capture_output=True, text=True, check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
