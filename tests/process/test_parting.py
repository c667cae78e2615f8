"""A process that was told to end does so, even where Python's handlers never run."""

import subprocess
import sys
import threading
import time

import pytest

from nca3d.process.parting import parting

# A lock that is taken twice, in C: Python never gets to the handler of the signal.
STUCK = """
import ctypes, signal, sys, time
from nca3d.process import parting as module
from nca3d.process.stop import StopSignal
module.PARTING, module.LONGEST = 0.3, 1.0
saving = sys.argv[1] == "saving"
with StopSignal(several=True) as stop:
    begun = time.monotonic()
    stop.saving = lambda: saving
    stop.parts = lambda: print(f"parted after {time.monotonic() - begun:.1f}", flush=True)
    print("ready", flush=True)
    if sys.argv[1] == "ends":
        while stop.requested is None:
            time.sleep(0.01)
    else:
        lock, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
        library.pthread_mutex_lock(lock)
        library.pthread_mutex_lock(lock)
print("left", flush=True)
time.sleep(0.6)
print("alive", flush=True)
"""


@pytest.mark.parametrize("how, code, least", [("stuck", 143, 0.3), ("saving", 143, 1.0), ("ends", 0, 0.0)])
def test_it_ends_whatever_it_is_doing(how, code, least):
    with subprocess.Popen([sys.executable, "-c", STUCK, how], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        begun = time.monotonic()
        out, _ = process.communicate(timeout=20)
        assert process.returncode == code and time.monotonic() - begun >= least * 0.9
    assert out == "left\nalive\n" if how == "ends" else out.startswith("parted after")


def test_in_another_thread_it_does_nothing():
    seen = []

    def work() -> None:
        with parting([15], lambda: False, lambda: None):
            seen.append(threading.active_count())

    before = threading.active_count()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before + 1]
