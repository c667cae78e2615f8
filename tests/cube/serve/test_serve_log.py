"""The log of the server: short lines, not too many, whoever reads them."""

import logging
import os
import time

import pytest

from nca3d.cube.serve.log import LONGEST, RATE, WAITING, LineLog


def record(text: str, error: BaseException | None = None) -> logging.LogRecord:
    trouble = None if error is None else (type(error), error, None)
    return logging.LogRecord("uvicorn.error", logging.INFO, "", 0, text, (), trouble)


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def test_a_line_is_one_line(pipe: tuple[int, int]) -> None:
    log = LineLog(pipe[1])
    log.emit(record("one\r\nINFO: forged\x1b[31m"))
    log.emit(record("x" * 10_000))
    log.emit(record("failed", ValueError("so\nit is")))
    log.close()
    lines = os.read(pipe[0], 100_000).decode().splitlines()
    assert lines[0] == "INFO: one\\r\\nINFO: forged\\x1b[31m"
    assert len(lines[1]) < LONGEST + 20
    assert lines[2] == "INFO: failed (ValueError: so\\nit is)"


def test_a_flood_is_counted(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    log, now = LineLog(pipe[1]), [10.5]
    monkeypatch.setattr("nca3d.cube.serve.log.time.monotonic", lambda: now[0])
    for _ in range(5000):
        log.emit(record("again"))
    now[0] += 1
    log.emit(record("later"))
    log.close()
    lines = os.read(pipe[0], 100_000).decode().splitlines()
    assert lines[:RATE] == ["INFO: again"] * RATE
    assert lines[RATE:] == [f"{5000 - RATE:,} lines left out", "INFO: later"]


def test_a_log_that_nobody_reads_holds_up_nobody(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nca3d.cube.serve.log.RATE", 10**6)
    log, start = LineLog(pipe[1]), time.monotonic()
    for _ in range(WAITING + 3000):
        log.emit(record("x" * LONGEST))
    log.close()
    assert time.monotonic() - start < 5
    os.close(pipe[0])  # the thread ends: what it writes is refused
    log.writer.join(5)
