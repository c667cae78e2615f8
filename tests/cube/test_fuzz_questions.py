"""Broken files of questions are read or refused in lines that name them: bytes changed, and values of their JSON exchanged."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nca3d.cube.questions import KEYS, Questions, read_questions
from nca3d.errors import InputError

pytestmark = pytest.mark.nightly
ROWS = [{"question": f"what is {n}?", "answer": f"é {n}", "split": "train", "kind": "number"} for n in range(4)]
VALUES = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=2), max_size=2)
# As likely as other bytes those that JSON and its lines are made of.
BYTES = st.binary(min_size=1, max_size=6) | st.sampled_from(
    [b'"', b"{", b"}", b"[" * 3000, b"\n", b"\r", b"\\u", b"\xef\xbb\xbf"]
)


def read_or_refused(data: bytes, folder: Path) -> None:
    file = folder / "own.jsonl"
    file.write_bytes(data)
    try:
        questions = read_questions(file)
    except InputError as error:
        for line in str(error).split("\n"):
            assert line.isprintable() and str(file) in line and ": found " in line and ", allowed " in line, line
    else:
        assert isinstance(questions, Questions) and len(questions.of("train")) >= 2 and questions.digest
    assert [path.name for path in folder.iterdir()] == ["own.jsonl"] and file.read_bytes() == data


@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), BYTES), min_size=1, max_size=4))
def test_changed_bytes(changes, tmp_path_factory):
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
    for share, taken_out, put_in in changes:
        at = int(share * len(data))
        data = data[:at] + put_in + data[at + taken_out :]
    read_or_refused(data, tmp_path_factory.mktemp("broken"))


@given(
    changes=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(KEYS) | st.text(max_size=4), VALUES), min_size=1, max_size=4)
)
def test_exchanged_values(changes, tmp_path_factory):
    rows = [dict(row) for row in ROWS]
    for number, key, value in changes:
        rows[number][key] = value  # type: ignore[assignment]
    read_or_refused("\n".join(map(json.dumps, rows)).encode(), tmp_path_factory.mktemp("broken"))
