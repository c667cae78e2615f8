"""The cache: nothing is embedded twice, damage is noticed, what does not belong is refused; and the file of `nca3d embed`."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from one_line import told

from nca3d.cube import Embeddings, Pair, Questions, Teacher, embeddings_of, read_embeddings, write_embeddings
from nca3d.cube.teacher.embeddings import count_embeddings_of, embeddings_folder
from nca3d.cube.teacher.tensors import pack, unpack
from nca3d.files import sha256


class Letters(Teacher):
    """Counts letters, and remembers what it was asked."""

    def __init__(self, letters: str = "abc") -> None:
        self.letters, self.id, self.width, self.asked = letters, f"letters:{letters}", len(letters), []

    def embed(self, texts: Sequence[str], progress: bool = False) -> torch.Tensor:
        self.asked += texts
        return torch.tensor([[float(text.count(letter)) for letter in self.letters] for text in texts])

    def save(self, folder: str | Path) -> None:
        raise AssertionError("the cache keeps embeddings, never a teacher")


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_only_missing_texts_are_embedded(tmp_path):
    teacher = Letters()
    first = embeddings_of(teacher, ["a", "ab", "a"], tmp_path)
    assert first.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert teacher.asked == ["a", "ab"], "a text that is there twice is embedded once"
    again, known = count_embeddings_of(Letters(), ["c", "ab"], tmp_path)
    assert again.tolist() == [[0, 0, 1], [1, 1, 0]] and known == 1
    other = Letters("cba")
    assert embeddings_of(other, ["ab"], tmp_path).tolist() == [[0, 1, 1]]
    assert other.asked == ["ab"], "another teacher, another cache"
    quiet = Letters()
    assert torch.equal(embeddings_of(quiet, ["a", "ab", "a"], tmp_path), first) and not quiet.asked


def test_without_a_cache_and_without_texts(tmp_path):
    assert embeddings_of(Letters(), ["a"], None).tolist() == [[1, 0, 0]]
    assert embeddings_of(Letters(), [], tmp_path).shape == (0, 3)
    assert not files(tmp_path)


@given(rounds=st.lists(st.lists(st.text("abc", max_size=3), max_size=6), max_size=4))
def test_the_cache_changes_nothing(rounds, tmp_path_factory):
    folder, seen = tmp_path_factory.mktemp("cache"), set()
    for texts in rounds:
        teacher = Letters()
        assert torch.equal(embeddings_of(teacher, texts, folder), embeddings_of(Letters(), texts, None))
        assert set(teacher.asked) == set(texts) - seen
        seen |= set(texts)


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(where, bit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    right = embeddings_of(Letters(), ["a", "b"], folder)
    (file,) = files(folder)
    data = bytearray(file.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    file.write_bytes(data)
    teacher = Letters()
    assert torch.equal(embeddings_of(teacher, ["a", "b"], folder), right)
    assert teacher.asked == ["a", "b"]
    quiet = Letters()
    embeddings_of(quiet, ["a", "b"], folder)
    assert not quiet.asked, "the damaged file was replaced"


@pytest.mark.parametrize("size", [0, 5, 100])
def test_a_short_file_is_noticed(size, tmp_path, capsys):
    right = embeddings_of(Letters(), ["a", "b"], tmp_path)
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:size])
    assert torch.equal(embeddings_of(Letters(), ["a", "b"], tmp_path), right)
    assert "damaged, its texts are embedded again" in capsys.readouterr().err


GOOD = torch.tensor([[1.0, 0.0, 0.0]])
WRONG = {
    "wrong width": ({"embeddings": torch.ones(1, 4)}, "embeddings: found shape (1, 4), allowed (1, 3)"),
    "NaN": ({"embeddings": GOOD * torch.nan}, "embeddings: found numbers that are not finite"),
    "infinite": ({"embeddings": GOOD / 0}, "embeddings: found numbers that are not finite"),
    "fp16": ({"embeddings": GOOD.half()}, "embeddings: found float16, allowed float32"),
    "integers": ({"embeddings": GOOD.long()}, "embeddings: found int64"),
    "wrong count": ({"embeddings": torch.ones(2, 3)}, "embeddings: found 2 rows, allowed 1"),
    "wrong rank": ({"embeddings": torch.ones(3)}, "embeddings: found shape (3,)"),
    "none": ({"embeddings": None}, "embeddings: found nothing"),
    "no digests": ({"texts": None}, "texts: found nothing"),
    "short digests": ({"texts": torch.zeros(1, 16, dtype=torch.uint8)}, "texts: found uint8 (1, 16), allowed uint8 (N, 32)"),
    "another teacher": ({"teacher": "other"}, "teacher: found other, allowed letters:abc"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_belong_is_refused(name, tmp_path):
    """Whole files, well signed, with something else in them."""
    embeddings_of(Letters(), ["a"], tmp_path)
    (file,) = files(tmp_path)
    tensors, _ = unpack(file.read_bytes(), file)
    changes, words = WRONG[name]
    metadata = {"teacher": changes.get("teacher", "letters:abc")}
    tensors.update({key: value for key, value in changes.items() if key != "teacher"})
    data = pack({key: value for key, value in tensors.items() if value is not None}, metadata)
    file.unlink()
    (file.parent / f"{sha256(data)}.safetensors").write_bytes(data)
    teacher = Letters()
    line = told(lambda: embeddings_of(teacher, ["a"], tmp_path))
    assert words in line and str(file.parent) in line
    assert not teacher.asked


def test_a_teacher_that_says_nonsense_is_not_kept(tmp_path):
    teacher = Letters()
    teacher.embed = lambda texts, progress=False: torch.full((len(texts), 3), torch.nan)  # type: ignore[method-assign]
    assert "not finite" in told(lambda: embeddings_of(teacher, ["a"], tmp_path))
    assert not files(tmp_path)


def test_a_folder_that_can_not_be_written_is_no_reason_to_fail(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert embeddings_of(Letters(), ["a"], tmp_path / "file").tolist() == [[1, 0, 0]]
    assert "not cached" in capsys.readouterr().err


def test_the_default_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("NCA3D_CACHE", "/somewhere")
    assert embeddings_folder() == Path("/somewhere/embeddings")
    monkeypatch.delenv("NCA3D_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/else")
    assert embeddings_folder() == Path("/else/nca3d/embeddings")


# ---- the file of nca3d embed -----------------------------------------------------------------------------------------

SET = Questions("own", (Pair("a", "b", "train"), Pair("c", "d", "train")))


def test_written_and_read(tmp_path):
    found = Embeddings(torch.rand(2, 5), torch.rand(2, 5), {"model": "m", "data": SET.digest})
    write_embeddings(tmp_path / "own.safetensors", found)
    again = read_embeddings(tmp_path / "own.safetensors", SET)
    assert torch.equal(again.questions, found.questions) and torch.equal(again.answers, found.answers)
    assert again.metadata == {**found.metadata, "nca3d": "embeddings"}


BAD = {
    "wrong width": ((torch.ones(2, 5), torch.ones(2, 4)), "answers: found shape (2, 4), allowed (2, 5)"),
    "NaN": ((torch.ones(2, 5) * torch.nan, torch.ones(2, 5)), "questions: found numbers that are not finite"),
    "fp16": ((torch.ones(2, 5), torch.ones(2, 5).half()), "answers: found float16"),
    "wrong count": ((torch.ones(3, 5), torch.ones(3, 5)), "questions: found 3 rows, allowed 2"),
    "counts that differ": ((torch.ones(2, 5), torch.ones(1, 5)), "answers: found 1 rows, allowed 2"),
    "no width": ((torch.ones(2, 0), torch.ones(2, 0)), "questions: found shape (2, 0)"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_can_not_be_trained_on(name, tmp_path):
    """B28."""
    tensors, words = BAD[name]
    write_embeddings(tmp_path / "own.safetensors", Embeddings(*tensors, {}))
    assert words in told(lambda: read_embeddings(tmp_path / "own.safetensors", SET))


def test_files_that_are_something_else(tmp_path):
    import numpy as np

    file = tmp_path / "own.safetensors"
    write_embeddings(file, Embeddings(torch.ones(2, 5), torch.ones(2, 5), {"data": "0" * 64}))
    assert "data: found embeddings of another set" in told(lambda: read_embeddings(file, SET))
    file.write_bytes(pack({"questions": torch.ones(2, 5)}, {}))
    assert "answers: found nothing" in told(lambda: read_embeddings(file, SET))
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    assert "safetensors: found" in told(lambda: read_embeddings(tmp_path / "object.npy"))
    assert "no such file" in told(lambda: read_embeddings(tmp_path / "none"))


def test_a_link_in_the_cache_costs_nothing_and_leads_nowhere(tmp_path, capsys):
    teacher, elsewhere = Letters(), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / sha256(teacher.id.encode())[:16]).symlink_to(elsewhere)
    assert embeddings_of(teacher, ["a"], tmp_path / "cache").tolist() == [[1, 0, 0]]
    assert "are not cached" in (said := capsys.readouterr().err) and "found a link" in said
    assert not list(elsewhere.iterdir())
