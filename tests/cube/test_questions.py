"""Questions: every bad line is told with file, line and field; what is good is read as it stands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nca3d.cube.questions import Pair, Questions, read_questions, shipped
from nca3d.errors import InputError, InputErrors

GOOD = [{"question": f"q{n}", "answer": f"a{n}", "split": "train"} for n in range(2)]


def row(**changes) -> str:
    return json.dumps({"question": "why?", "answer": "so", "split": "test", **changes})


def written(folder: Path, *lines: str | bytes, good: bool = True) -> Path:
    file = folder / "own.jsonl"
    first = [json.dumps(one) for one in GOOD] if good else []
    file.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in [*first, *lines]))
    return file


BAD = {
    "not JSON": ("{", [":3: JSON: found", "one object a line"]),
    "not an object": ("[1]", [":3: JSON: found a list", "an object"]),
    "unknown key": (row(anwser="x"), [":3: anwser: found an unknown key", "did you mean 'answer'"]),
    "no question": ('{"answer": "a", "split": "test"}', [":3: question: found nothing", "a text"]),
    "no answer": ('{"question": "a", "split": "test"}', [":3: answer: found nothing"]),
    "no split": ('{"question": "a", "answer": "b"}', [":3: split: found nothing", "train"]),
    "empty": (row(question=" \t"), [":3: question: found ' \\t'", "1 to 4,096"]),
    "a number": (row(answer=7), [":3: answer: found 7", "a text"]),
    "null": (row(answer=None), [":3: answer: found None"]),
    "too long": (row(question="x" * 4097), [":3: question: found 4,097 characters"]),
    "half a surrogate pair": (row(question="a\ud800"), [":3: question: found 'a\\ud800'"]),
    "split with a space": (row(split="a test"), [":3: split: found 'a test'", "a-z"]),
    "split in capitals": (row(split="Test"), [":3: split: found 'Test'"]),
    "split as a list": (row(split=["test"]), [":3: split: found ['test']"]),
    "kind as a number": (row(kind=3), [":3: kind: found 3"]),
    "another answer": (row(question="q0"), [":3: answer: found another answer to the question of line 1", "'a0'"]),
    "not UTF-8": (b'{"question": "\xff"}', [":3: text: found byte 0xff", "UTF-8"]),
    "nested too deep": ("[" * 100_000, [":3: JSON: found"]),
}


@pytest.mark.parametrize("name", BAD)
def test_every_bad_line(name, tmp_path):
    line, words = BAD[name]
    with pytest.raises(InputErrors) as caught:
        read_questions(written(tmp_path, line))
    (told,) = str(caught.value).splitlines()
    assert "own.jsonl" in told and ": found " in told and ", allowed " in told
    for word in words:
        assert word in told
    assert len(told) < 500


def test_all_errors_of_a_file_at_once_but_no_more_than_ten(tmp_path):
    with pytest.raises(InputErrors) as caught:
        read_questions(written(tmp_path, "{", row(split=""), row(answer="", question="")))
    assert len(str(caught.value).splitlines()) == 4
    with pytest.raises(InputErrors) as caught:
        read_questions(written(tmp_path, *["{"] * 300))
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert "290 more" in lines[-1]


WRONG_FILES = {
    "missing": (lambda t: t / "none.jsonl", "no such file"),
    "a name nearly right": (lambda t: "latice", "did you mean 'lattice'"),
    "a folder": (lambda t: t, "a folder"),
    "a NUL in the name": (lambda t: "a\0b", "questions"),
    "empty": (lambda t: written(t, good=False), "pairs: found none"),
    "blank lines": (lambda t: written(t, "", " ", good=False), "pairs: found none"),
    "nothing to train on": (lambda t: written(t, row(), good=False), "split: found 0 pairs of split train"),
    "one to train on": (lambda t: written(t, row(split="train"), good=False), "at least 2"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_files_that_are_no_set(name, tmp_path):
    make, words = WRONG_FILES[name]
    with pytest.raises(InputError) as caught:
        read_questions(make(tmp_path))
    (told,) = str(caught.value).splitlines()
    assert words in told and ": found " in told


TEXT = st.text(min_size=1, max_size=20, alphabet=st.characters(codec="utf-8")).filter(str.strip)
PAIRS = st.lists(
    st.builds(Pair, question=TEXT, answer=TEXT, split=st.sampled_from(["test", "compose", "mine_2"]), kind=st.just("")),
    max_size=6,
    unique_by=lambda pair: pair.question,
)


@given(pairs=PAIRS, ascii_only=st.booleans(), mark=st.booleans())
def test_what_is_written_is_read(pairs, ascii_only, mark, tmp_path_factory):
    pairs = [Pair("Do you train?", "Yes", "train"), Pair("Do you?", "Yes", "train"), *pairs]
    pairs = list({pair.question: pair for pair in pairs}.values())
    file = tmp_path_factory.mktemp("q") / "set.jsonl"
    rows = [json.dumps({k: v for k, v in vars(pair).items() if v}, ensure_ascii=ascii_only) for pair in pairs]
    file.write_bytes(b"\xef\xbb\xbf" * mark + "\r\n".join(rows).encode())
    found = read_questions(file)
    if sum(pair.split == "train" for pair in pairs) == 2:
        assert found.pairs == tuple(pairs)
        assert found.answers == tuple(dict.fromkeys(pair.answer for pair in pairs))
        assert sum(len(found.of(split)) for split in found.splits) == len(pairs)
        assert found == Questions("set", tuple(pairs)) and found.digest == Questions("x", tuple(pairs)).digest


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_told(data, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    file.write_bytes(data)
    try:
        read_questions(file)
    except InputError as error:
        assert all(": found " in line for line in str(error).splitlines())


def test_digest_follows_the_content():
    one = Pair("q", "a", "train")
    sets = [
        Questions("x", (one, other)) for other in (Pair("p", "b", "train"), Pair("p", "b", "test"), Pair("pb", "", "train"))
    ]
    assert len({each.digest for each in sets}) == 3


def test_a_split_that_there_is_not():
    with pytest.raises(InputError, match="did you mean 'train'"):
        read_questions("lattice").of("trian")


def test_shipped_names():
    assert shipped() == ["dialogue", "lattice"]
    assert read_questions("dialogue").name == "dialogue"


def test_reading_loads_nothing_heavy():
    code = (
        "import sys; from nca3d.cube import read_questions; read_questions('lattice'); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
