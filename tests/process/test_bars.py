"""Bars in a log: plain lines at intervals, no carriage return; all other text as it was."""

import io
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from nca3d.process.bars import BarLog, is_log
from nca3d.process.streams import SteadyStream, steady_output


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def drawn(seconds: int, clock: Clock, log: BarLog) -> str:
    """What a log shows of a bar that is drawn each second."""
    text = ""
    for second in range(seconds + 1):
        text += log.lines(f"\rtrain:  {second:2d}%|██▏  | {second}/{seconds} [00:{second:02d}<01:00, 9.9it/s, loss=0.5]   ")
        clock.now += 1
    return text


def test_a_bar_is_lines_at_intervals_and_its_end() -> None:
    clock = Clock()
    log = BarLog(clock)
    assert drawn(35, clock, log).splitlines() == [
        f"train: {at}%, {at}/35 [00:{at} gone, 01:00 left, 9.9it/s, loss=0.5]" for at in (10, 20, 30)
    ]
    assert log.lines("\n") == "train: 35%, 35/35 [00:35 gone, 01:00 left, 9.9it/s, loss=0.5]\n"
    assert log.lines("\n") == "\n", "the bar is over"


def test_the_longer_it_takes_the_rarer_the_lines() -> None:
    clock = Clock()
    log = BarLog(clock)
    assert 30 < drawn(3600, clock, log).count("\n") < 60
    log, told = BarLog(clock), 0
    for minute in range(24 * 60):
        told += log.lines(f"\rminute {minute}") != ""
        clock.now += 60
    assert 250 < told < 350, "a day is a line each five minutes"


def test_a_bar_that_is_wiped_away_leaves_nothing() -> None:
    log = BarLog(Clock())
    assert "".join(map(log.lines, ["\rbench 50% | | 1 s left", "\r          ", "\r", "| a |", "\n"])) == "| a |\n"


def test_a_message_within_a_bar_has_a_line_of_its_own() -> None:
    log = BarLog(Clock())
    assert "".join(map(log.lines, ["\r1/9", "stopped", "\n", "\r2/9", "\n"])) == "stopped\n2/9\n"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r"))))
def test_text_without_a_bar_stays_as_it_was(texts: list[str]) -> None:
    log = BarLog()
    assert [log.lines(text) for text in texts] == texts


@given(st.lists(st.text("ab|%[<, \r\n")))
def test_there_is_never_a_carriage_return(texts: list[str]) -> None:
    log = BarLog()
    assert "\r" not in "".join(log.lines(text) for text in texts)


def test_a_file_and_a_pipe_are_logs_a_terminal_and_a_notebook_are_not(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    reader, writer = os.pipe()
    with (tmp_path / "log").open("w") as file, open(writer, "w") as pipe, open(follower, "w") as terminal:
        assert [is_log(stream) for stream in (file, pipe, terminal, io.StringIO())] == [True, True, False, False]
        below = SteadyStream(terminal, bars=True)
        below.write("\r1/2")
        below.flush()
        assert os.read(leader, 99) == b"\r1/2"
        monkeypatch.setattr(sys, "stderr", file)
        with steady_output():
            list(tqdm(range(3), desc="count"))
    for descriptor in (leader, reader):
        os.close(descriptor)
    text = (tmp_path / "log").read_text()
    assert "\r" not in text and text.startswith("count: 100%, 3/3 [00:00 gone, 00:00 left, ") and text.count("\n") == 1
