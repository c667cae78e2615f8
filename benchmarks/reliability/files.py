"""Rows about checkpoints that have changed since they were saved, and about what else lies where one belongs."""

import os
import random
import signal
import time
from pathlib import Path

from reliability.children import Child, run
from reliability.peers import Ours, Peer, found, state_of
from reliability.saves import begin, save_second
from reliability.trainings import OurRun, steps_done

BOTH = {1: 1.0, 2: 1.0}
FLIPS = 60
KEEP_SHARES = (0.0, 0.001, 0.5, 0.999)
# How long a save into a pipe may wait for its other end, in seconds.
PATIENCE = 5.0
# How long two runs share a folder, in seconds.
SHARED = 4.0


def both_saved(peer: Peer, folder: Path) -> list[Path]:
    """Saves steps 1 and 2; returns the files of step 2."""
    begin(peer, folder, 1.0)
    run(save_second(peer, folder, 1.0))
    newest = peer.path(folder)
    return [newest] if newest.is_file() else sorted(path for path in newest.rglob("*") if path.is_file())


def noticed(results: list[str]) -> str:
    """Returns a cell: how often a change was noticed, and what was loaded then."""
    silent, count = results.count("wrong"), len(results)
    if silent:
        return f"**silent {silent} of {count}**"
    left = [result for result in results if result != "new"]
    same = f", {count - len(left)} without effect" if len(left) < count else ""
    then = "previous used" if left and all(result == "old" for result in left) else "nothing loaded"
    return f"noticed {len(left)} of {count}{same}, {then}"


def truncated(peer: Peer, folder: Path) -> str:
    """The largest file of the newest checkpoint is cut to 0, 0.1 %, 50 % and 99.9 % of its length."""
    results = []
    for share in KEEP_SHARES:
        file = max(both_saved(peer, folder / "run"), key=lambda path: path.stat().st_size)
        os.truncate(file, int(file.stat().st_size * share))
        results.append(_loaded(peer, folder / "run"))
    return noticed(results)


def flipped(peer: Peer, folder: Path) -> str:
    """One bit of the newest checkpoint is flipped, anywhere in it."""
    files, draw, results = both_saved(peer, folder / "run"), random.Random(5), []
    whole = {file: file.read_bytes() for file in files}
    for _ in range(FLIPS):
        (file,) = draw.choices(files, [len(data) for data in whole.values()])
        at, bit = draw.randrange(len(whole[file])), draw.randrange(8)
        data = bytearray(whole[file])
        data[at] ^= 1 << bit
        file.write_bytes(data)
        results.append(_loaded(peer, folder / "run"))
        file.write_bytes(whole[file])
    return noticed(results)


def _loaded(peer: Peer, folder: Path) -> str:
    ended = run(lambda: found(peer, folder, BOTH), timeout=20)
    return str(ended.value) if ended.value else f"ended with {ended.code}"


def two_runs(peer: Peer, folder: Path) -> str:
    """Two runs save into one folder, and somebody reads: how often is that a state that one of them has saved?"""
    if isinstance(peer, Ours):
        return _two_of_ours(folder)
    begin(peer, folder / "run", 4.0)
    # One saves step 1 again and again, the other step 2.
    sizes = {1: 4.0, 2: 4.0}
    writers = [Child(lambda step=step: _again_and_again(peer, folder / "run", step)) for step in sizes]
    deadline, results = writers[0].go() + SHARED, []
    writers[1].go()
    while time.monotonic() < deadline:
        results.append(found(peer, folder / "run", sizes))
    for writer in writers:
        writer.wait()
    failed = sum(result not in ("old", "new") for result in results)
    mixed = f", {results.count('wrong')} mixed" if "wrong" in results else ""
    return f"**both go on; {failed} of {len(results)} reads fail{mixed}**"


def _again_and_again(peer: Peer, folder: Path, step: int) -> None:
    state, deadline = state_of(step, 4.0), time.monotonic() + SHARED
    while time.monotonic() < deadline:
        # A save that fails because of the other one is tried again: that is what both of them would do.
        try:
            peer.save(folder, step, state)
        except Exception:
            continue


def _two_of_ours(folder: Path) -> str:
    training, place = OurRun(), folder / "run"
    first = Child(lambda: training.train(place, 100_000))
    begun = first.go()
    deadline = time.monotonic() + 60
    while steps_done(place) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    second = run(lambda: training.train(place, 100_000))
    os.kill(first.pid, signal.SIGTERM)
    ended = first.wait(begun=begun)
    whole = run(lambda: training.saved_step(place)).value
    named = "pid named" if f"pid {first.pid}" in second.said else "pid not named"
    refused = f"second refused, {named}" if second.code == 2 else f"**second ends with {second.code}**"
    return refused if ended.code == 143 and whole else f"{refused}, **first ends with {ended.code}**"


def link_there(peer: Peer, folder: Path) -> str:
    """A link to somebody's work where step 2 belongs: is that work overwritten?"""
    place, work = begin(peer, folder / "run", 1.0), folder / "work"
    next_path = peer.next_path(place)
    if next_path.is_dir():
        work.mkdir()
        (work / "thesis").write_text("years")
        _clear(next_path)
    else:
        work.write_text("years")
        next_path.unlink(missing_ok=True)
    next_path.symlink_to(work)
    run(save_second(peer, place, 1.0))
    untouched = [path.name for path in work.iterdir()] == ["thesis"] if work.is_dir() else work.read_bytes() == b"years"
    saved = "saved" if _loaded(peer, place) == "new" else "not saved"
    return f"work kept, {saved}" if untouched else "**written through the link**"


def _clear(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


def pipe_there(peer: Peer, folder: Path) -> str:
    """A named pipe where step 2 belongs: nobody reads it."""
    place = begin(peer, folder / "run", 1.0)
    next_path = peer.next_path(place)
    if next_path.is_dir():
        _clear(next_path)
    else:
        next_path.unlink(missing_ok=True)
    os.mkfifo(next_path)
    ended = run(save_second(peer, place, 1.0), timeout=PATIENCE)
    if ended.code is None:
        return "**hangs**"
    return "refused" if ended.code else "replaced, saved" if next_path.is_dir() or next_path.is_file() else "**not told**"


ROWS = {
    "newest cut to 0, 0.1, 50, 99.9 %": truncated,
    f"one bit flipped, {FLIPS} times": flipped,
    "two runs in one folder": two_runs,
    "a link where the checkpoint belongs": link_there,
    "a pipe where the checkpoint belongs": pipe_there,
}
