"""Streams that can't fail: what can't be written is dropped, the rest arrives whole."""

import errno
import io
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nca3d.process import streams
from nca3d.process.streams import SteadyStream, silence, steady_output


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=3 * streams.CHUNK)))
def test_any_text_arrives_as_it_was(texts: list[str]) -> None:
    below = io.StringIO(newline="")
    stream = SteadyStream(below)  # type: ignore[arg-type]
    assert [stream.write(text) for text in texts] == [len(text) for text in texts]
    stream.flush()
    assert below.getvalue() == "".join(texts) and stream.failed is None


def test_it_passes_for_the_stream_that_it_wraps(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="latin-1") as below:
        stream = SteadyStream(below)
        assert (stream.encoding, stream.isatty(), stream.fileno()) == ("latin-1", False, below.fileno())
        print("grün", file=stream)  # type: ignore[arg-type]
        # What the encoding lacks is written in other signs: an arrow ends no run.
        print("3 × 4 → \udcff", file=stream)  # type: ignore[arg-type]
    assert stream.failed is None and (tmp_path / "log").read_bytes() == b"gr\xfcn\n3 \xd7 4 -> \\udcff\n"


def test_after_the_first_error_it_is_silent() -> None:
    class Full(io.StringIO):
        calls = 0

        def write(self, text: str) -> int:
            self.calls += 1
            raise OSError(errno.ENOSPC, "full")

    below = Full()
    stream = SteadyStream(below)  # type: ignore[arg-type]
    assert stream.write("a") == 1 and stream.write("b") == 1
    stream.flush()
    assert below.calls == 1 and stream.failed is not None and stream.failed.errno == errno.ENOSPC


def test_a_message_within_a_message_is_dropped() -> None:
    class Busy(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError("reentrant call inside <_io.BufferedWriter>")

    stream = SteadyStream(Busy())  # type: ignore[arg-type]
    assert stream.write("a") == 1 and stream.failed is None


def test_closed_or_missing_is_silent() -> None:
    below = io.StringIO()
    below.close()
    for stream in (SteadyStream(below), SteadyStream(None)):  # type: ignore[arg-type]
        stream.write("a")
        stream.flush()
        assert stream.encoding or stream.failed


@pytest.fixture
def pipe() -> "tuple[int, io.TextIOWrapper]":
    reader, writer = os.pipe()
    return reader, open(writer, "w", buffering=1)


def test_a_reader_who_stops_is_waited_for_once_and_may_come_back(pipe: "tuple[int, io.TextIOWrapper]") -> None:
    reader, below = pipe
    stream, start = SteadyStream(below, patience=0.2), time.monotonic()
    for _ in range(3000):
        stream.write("0123456789" * 10 + "\n")
    assert stream.stalled and stream.failed is None
    assert 0.2 <= time.monotonic() - start < 2
    while len(os.read(reader, 1 << 20)) == 1 << 20:
        pass
    stream.write("back\n")
    assert not stream.stalled and os.read(reader, 1 << 20) == b"back\n"
    os.close(reader)
    stream.write("gone\n")
    assert stream.failed is not None and stream.failed.errno == errno.EPIPE
    silence(stream)
    below.close()


def test_both_outputs_are_steady_inside_and_themselves_again_outside() -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), steady_output() as (out, err):
        assert (sys.stdout, sys.stderr) == (out, err)
        raise ZeroDivisionError
    assert (sys.stdout, sys.stderr) == before
