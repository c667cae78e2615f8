"""TF-IDF with components: scikit-learn's numbers, the same ones after saving, without scikit-learn."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from odd_files import at_once, plant
from one_line import told

from nca3d.cube import Teacher, load_saved_teacher, load_teacher, read_questions
from nca3d.cube.lesson import load_teacher_and_answers, save_teacher
from nca3d.cube.teacher.tfidf import words

pytest.importorskip("sklearn")
TEXTS = [pair.question for pair in read_questions("lattice").of("train")][:300]


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return load_teacher("tfidf", fit_on=TEXTS, width=40)


def test_the_numbers_are_those_of_scikit_learn(teacher):
    from sklearn.feature_extraction.text import TfidfVectorizer

    table = TfidfVectorizer(token_pattern=r"[\w-]+", ngram_range=(1, 2)).fit(TEXTS)
    assert table.get_feature_names_out().tolist() == teacher.vocabulary
    new = [*TEXTS[:20], "You face north-east with a zebra and a zebra and the lamp"]
    expected = table.transform(new) @ teacher.components.numpy()
    assert np.abs(teacher.embed(new).numpy() - expected).max() < 1e-5
    sizes = np.linalg.svd(table.transform(TEXTS).toarray(), compute_uv=False)
    best = np.sqrt((sizes[40:] ** 2).sum())
    found = teacher.components.numpy()
    lost = np.linalg.norm(table.transform(TEXTS).toarray() @ (np.eye(len(found)) - found @ found.T))
    assert best <= lost * (1 + 1e-6) and lost < best * 1.02, "as much as forty components can hold"


def test_words_and_pairs():
    assert words("You face North-East, now") == [
        "you",
        "face",
        "north-east",
        "now",
        "you face",
        "face north-east",
        "north-east now",
    ]


def test_each_text_by_itself(teacher):
    together = teacher.embed(TEXTS[:50])
    assert together.shape == (50, 40) and together.dtype == torch.float32
    assert torch.allclose(together, torch.cat([teacher.embed([text]) for text in TEXTS[:50]]), atol=1e-6)
    assert teacher.embed([]).shape == (0, 40)


@given(text=st.text(max_size=60))
def test_any_text_is_finite(teacher, text):
    assert torch.isfinite(teacher.embed([text, "You face north"])).all()


def test_unknown_words_are_nothing(teacher):
    assert not teacher.embed(["zebra Quagga", ""]).any()


def test_fitting_is_repeatable(teacher):
    again = load_teacher("tfidf", fit_on=TEXTS, width=40)
    assert again.id == teacher.id and torch.equal(again.components, teacher.components)
    assert load_teacher("tfidf", fit_on=TEXTS[:-1], width=40).id != teacher.id
    assert load_teacher("tfidf", fit_on=TEXTS, width=39).id != teacher.id


def test_more_components_than_there_are():
    teacher = load_teacher("tfidf", fit_on=["red blue", "green"], width=225)
    found = teacher.embed(["red blue", "green", "red"])
    assert found.shape == (3, 225)
    assert not found[:, 2:].any() and found[:, :2].any()


@pytest.mark.slow
def test_saved_and_loaded_without_scikit_learn(teacher, tmp_path):
    teacher.save(tmp_path / "kept")
    again = load_saved_teacher(tmp_path / "kept")
    assert again.id == teacher.id and torch.equal(again.embed(TEXTS), teacher.embed(TEXTS))
    code = (
        "import sys; from nca3d.cube import load_saved_teacher; "
        f"load_saved_teacher({str(tmp_path / 'kept')!r}).embed(['north']); sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_damaged_folders(teacher, tmp_path):
    teacher.save(tmp_path)
    file, card = tmp_path / "teacher.safetensors", tmp_path / "teacher.json"
    data, text = file.read_bytes(), card.read_text()
    for place in (9, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        assert "teacher.safetensors: sha256: found another digest" in told(lambda: load_saved_teacher(tmp_path))
    file.write_bytes(data)
    for changes, word in (
        ({"vocabulary": ["a"]}, "components"),
        ({"vocabulary": None}, "vocabulary"),
        ({"vocabulary": json.loads(text)["vocabulary"][::-1]}, "id"),
        ({"format": 2}, "format"),
        ({"kind": "bert"}, "kind"),
        ({"id": 3}, "id"),
        ({"sha256": None}, "sha256"),
    ):
        card.write_text(json.dumps({**json.loads(text), **changes}))
        assert f": {word}: found" in told(lambda: load_saved_teacher(tmp_path))
    card.write_text("[")
    assert "JSON" in told(lambda: load_saved_teacher(tmp_path))
    card.unlink()
    assert "no such file" in told(lambda: load_saved_teacher(tmp_path))
    assert "no such folder" in told(lambda: load_saved_teacher(tmp_path / "none"))


@pytest.mark.parametrize("width", [0, -1, 5000, 2.5, True, "9"])
def test_widths_that_are_none(width):
    assert "width: found" in told(lambda: load_teacher("tfidf", fit_on=TEXTS, width=width))


@pytest.mark.parametrize("texts", [(), ["?!", " "]])
def test_nothing_to_learn_from(texts):
    assert "fit_on: found" in told(lambda: load_teacher("tfidf", fit_on=texts))


@pytest.mark.parametrize(("name", "module"), [("tfidf", "sklearn"), ("llama", "transformers")])
def test_a_missing_extra_is_named(name, module, llama, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr("nca3d.cube.teacher.teacher_ref.find_spec", lambda wanted: None if wanted == module else real(wanted))
    assert "pip install 'nca3d[teacher]'" in told(lambda: load_teacher(str(llama) if name == "llama" else name, fit_on=TEXTS))


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "socket"])
def test_a_run_whose_teacher_is_elsewhere_is_refused(tmp_path, kind):
    run = tmp_path / "run"
    run.mkdir()
    teacher = load_teacher("tfidf", fit_on=["one lamp", "two lamps"], width=2)
    with at_once():
        for name in ("answers.json", "teacher"):
            plant(kind, tmp_path, run / name)
            assert f"{name}: " in told(lambda: save_teacher(run, teacher, ["a"]))
            assert "found a" in told(lambda: load_teacher_and_answers(run)) or name == "teacher"
            (run / name).unlink()
    (tmp_path / "disk").mkdir()
    (run / "teacher").symlink_to(tmp_path / "disk")
    assert "teacher: folder: found a link" in told(lambda: save_teacher(run, teacher, ["a"]))
    assert not list((tmp_path / "disk").iterdir())
