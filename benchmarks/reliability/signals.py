"""Rows about runs that are stopped: by signals, by kills, by a read-only folder; and what a resumed run becomes."""

import os
import signal
import time
from pathlib import Path

import torch

from reliability.children import SKIPPED, Child, Ended, make_read_only, run, small_disk
from reliability.peers import Peer
from reliability.trainings import Training, steps_done, training_of

NOT_ASKED = "—"
EVERY = 10


def stopped(training: Training, folder: Path, at: int, number: int, steps: int = 100_000, every: int = EVERY) -> Ended:
    """Trains until `at` steps are done, sends a signal, and waits for the end."""
    child = Child(lambda: training.train(folder, steps, every))
    begun = child.go()
    deadline = time.monotonic() + 60
    while steps_done(folder) < at and time.monotonic() < deadline:
        # Ended by itself: what it said is the row's error.
        if not Path(f"/proc/{child.pid}/stat").exists() or " Z " in Path(f"/proc/{child.pid}/stat").read_text():
            break
        time.sleep(0.0002)
    os.kill(child.pid, number)
    return child.wait(30, begun)


def _signalled(peer: Peer, folder: Path, number: int) -> str:
    training, run_folder = training_of(peer), folder / "run"
    if training is None:
        return NOT_ASKED
    ended = stopped(training, run_folder, 25, number)
    done = steps_done(run_folder)
    kept = run(lambda: training.saved_step(run_folder)).value
    # The step that the signal interrupts may be undone: it was begun, not done.
    lost = max(0, done - 1 - kept)
    words = f"exit {ended.code}" if ended.code is not None and ended.code >= 0 else "killed"
    return f"{words}, nothing lost" if not lost else f"{words}, **{lost} of {done} steps lost**"


def terminated(peer: Peer, folder: Path) -> str:
    return _signalled(peer, folder, signal.SIGTERM)


def interrupted(peer: Peer, folder: Path) -> str:
    return _signalled(peer, folder, signal.SIGINT)


def hung_up(peer: Peer, folder: Path) -> str:
    return _signalled(peer, folder, signal.SIGHUP)


def killed(peer: Peer, folder: Path) -> str:
    return _signalled(peer, folder, signal.SIGKILL)


def resumed(peer: Peer, folder: Path) -> str:
    """30 steps in one go, against a run that is killed after 20, goes on from step 15 and does the rest."""
    training = training_of(peer)
    if training is None:
        return NOT_ASKED
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    straight, cut = folder / "one" / "run", folder / "two" / "run"
    run(lambda: training.train(straight, 30, 15))
    stopped(training, cut, 20, signal.SIGKILL, steps=30, every=15)
    again = run(lambda: training.train(cut, 30, 15))
    if again.code:
        return f"**not resumed**: {(again.error or again.said)[-60:]}"
    one, two = training.weights(straight), training.weights(cut)
    if all(torch.equal(one[name], two[name]) for name in one):
        return "equal, bit for bit"
    return f"**differs by {max(float((one[name] - two[name]).abs().max()) for name in one):.1g}**"


def read_only_run(peer: Peer, folder: Path) -> str:
    """A whole run into a folder that can't be written to: when is that noticed?"""
    training = training_of(peer)
    if training is None:
        return NOT_ASKED
    with small_disk(folder / "locked-disk", "4m") as there:
        place = folder / "locked-disk" / "run"
        if there:
            place.mkdir()
        if not there or not make_read_only(folder / "locked-disk"):
            return SKIPPED
        # Steps are noted beside the run; there they would fail.
        count = folder / "count"
        ended = run(lambda: _counted(training, place, count))
        done = count.stat().st_size if count.exists() else 0
    when = "before step 1" if not done else f"after {done} steps"
    named = "file named" if "locked-disk" in ended.error + ended.said else "file not named"
    return f"refused {when}, {named}" if ended.code else "**not told**"


def _counted(training: Training, place: Path, count: Path) -> None:
    from reliability import trainings

    class Counting(trainings.Fault):
        def begin(self, folder: Path) -> bool:
            with count.open("ab") as file:
                file.write(b".")
            return False

    training.train(place, 30, EVERY, Counting())


ROWS = {
    f"SIGTERM in a run that saves every {EVERY} steps": terminated,
    "SIGINT": interrupted,
    "SIGHUP": hung_up,
    "kill -9": killed,
    "30 steps, against killed and resumed from 15": resumed,
    "a run into a read-only folder": read_only_run,
}
