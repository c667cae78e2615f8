"""A signal is a wish to stop; a second one is an order; afterwards all is as it was."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from nca3d.process import stop
from nca3d.process.stop import Overdue, StopSignal, ended_by_signals

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_a_flag_and_the_handlers_come_back(number: signal.Signals) -> None:
    former = [signal.getsignal(n) for n in SIGNALS]
    with StopSignal() as wish:
        assert wish.requested is None
        os.kill(os.getpid(), number)
        assert wish.requested == number
    assert [signal.getsignal(n) for n in SIGNALS] == former


def test_handlers_come_back_after_an_error() -> None:
    former = [signal.getsignal(n) for n in SIGNALS]
    with pytest.raises(ZeroDivisionError), StopSignal():
        raise ZeroDivisionError
    assert [signal.getsignal(n) for n in SIGNALS] == former


def test_leaving_as_the_signal_asked(capsys: pytest.CaptureFixture[str]) -> None:
    wish = StopSignal()
    wish.requested = signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        wish.leave("saved")
    wish.requested = signal.SIGTERM
    with pytest.raises(SystemExit) as caught:
        wish.leave()
    assert caught.value.code == 143
    assert capsys.readouterr().err == "saved\n"


def test_in_another_thread_it_does_nothing() -> None:
    former = [signal.getsignal(n) for n in SIGNALS]
    seen: list[object] = []

    def work() -> None:
        with StopSignal() as wish:
            seen.append(wish.requested)
            seen.append([signal.getsignal(n) for n in SIGNALS])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, former]


def test_a_second_ctrl_c_in_a_notebook_leaves_the_kernel_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)  # as a Python prompt has it
    with pytest.raises(KeyboardInterrupt), StopSignal() as wish:
        os.kill(os.getpid(), signal.SIGINT)
        assert wish.requested == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)  # Python's own handler is back


LOOP = """
import runpy, sys, time
StopSignal = runpy.run_path(sys.argv[2])["StopSignal"]  # without its package, which imports torch
with StopSignal() as wish:
    print("ready", flush=True)
    while wish.requested is None:
        time.sleep(0.01)
    print("saving", flush=True)
    if sys.argv[1] == "stuck":
        time.sleep(60)
    wish.leave("saved")
"""


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("way", ["once", "stuck"])
def test_a_process_that_is_told_to_stop(number: signal.Signals, way: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP, way, stop.__file__], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "saving\n"
    if way == "stuck":
        process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    expected = -signal.SIGINT if (way, number) == ("once", signal.SIGINT) else 128 + number
    assert process.returncode == expected  # an uncaught KeyboardInterrupt ends Python by the signal itself
    assert ("saved" in errors) == (way == "once")


def test_at_once_a_signal_ends_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    with StopSignal() as wish:
        with pytest.raises(SystemExit) as caught, wish.at_once("saved already"):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit), wish.at_once("asked before"):
            raise AssertionError("not begun")
    assert caught.value.code == 143
    assert capsys.readouterr().err == "saved already\nasked before\n"
    assert all(thread.finished.is_set() for thread in threading.enumerate() if isinstance(thread, threading.Timer))


def test_work_that_may_be_broken_off_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "PATIENCE", 0.2)
    with StopSignal() as wish:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)  # it may not yet
        assert wish.requested == signal.SIGTERM
    with StopSignal() as wish, pytest.raises(Overdue):
        wish.may_interrupt = lambda: True
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)


def test_nohup_is_obeyed() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as wish, ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert wish.requested is None
    finally:
        signal.signal(signal.SIGHUP, former)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_commands_tidy_up_when_they_are_told_to_end(number: signal.Signals) -> None:
    tidy = []
    with pytest.raises(SystemExit) as caught, ended_by_signals():
        try:
            os.kill(os.getpid(), number)
        finally:
            tidy.append("up")
    assert (caught.value.code, tidy) == (128 + number, ["up"])


STUBBORN = """
import runpy, sys, time
stop = runpy.run_path(sys.argv[1])
stop["_ended_soon"].__globals__["FAREWELL"] = 0.3
with stop["ended_by_signals"]():
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60)
        except SystemExit:
            pass
"""


def test_who_does_not_end_is_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN, stop.__file__], text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(30) == 143
