"""Rows about saves that don't come to their end: killed, out of disk, refused by it.

Each trial begins with a good save of step 1; then that of step 2 goes wrong, and a fresh process loads what there is.
"""

import errno
import os
import random
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from reliability.children import SKIPPED, Ended, has_strace, killed_after, limited, make_read_only, run, small_disk, traced
from reliability.peers import Peer, found, state_of

# Enough that a save takes some milliseconds, and a kill hits it anywhere.
MEGABYTES = 8.0
BOTH = {1: MEGABYTES, 2: MEGABYTES}
TRIALS = 40
# Kills at one kind of system call; torch and numpy make few, DCP and ours a dozen.
MOST_CALLS = 30


def begin(peer: Peer, folder: Path, megabytes: float = MEGABYTES) -> Path:
    """Saves step 1 into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started = run(lambda: peer.save(folder, 1, state_of(1, megabytes)))
    if started.error or started.code:
        raise RuntimeError(f"step 1 was not saved: {started.error or started.said[-300:]}")
    return folder


def save_second(peer: Peer, folder: Path, megabytes: float = MEGABYTES) -> Callable[[], None]:
    state = state_of(2, megabytes)
    return lambda: peer.save(folder, 2, state)


def after(peer: Peer, folder: Path, megabytes: dict[int, float] = BOTH) -> str:
    """Returns what a process finds that loads a folder; see `peers.found`."""
    ended = run(lambda: found(peer, folder, megabytes))
    return str(ended.value) if ended.value else f"ended with {ended.code}"


def kept(results: list[str]) -> str:
    """Returns a cell: how often one of the two states was there, and how often what was loaded was neither."""
    lost, wrong = sum(result not in ("old", "new", "wrong") for result in results), results.count("wrong")
    if not lost and not wrong:
        return f"kept {len(results)} of {len(results)}"
    silent = f", silently wrong {wrong}" if wrong else ""
    return f"**lost {lost} of {len(results)}{silent}**"


def random_kills(peer: Peer, folder: Path, trials: int = TRIALS) -> str:
    """Kills at random moments of a save, which takes as long as three whole ones took."""
    template = begin(peer, folder / "template")
    times = [run(save_second(peer, _copy(template, folder / "timed"))).seconds for _ in range(3)]
    draw, results = random.Random(7), []
    for _ in range(trials):
        trial = _copy(template, folder / "trial")
        killed_after(save_second(peer, trial), draw.uniform(0.02, 1.0) * sorted(times)[1])
        results.append(after(peer, trial))
    # The newer one, where the kill came too late or the save was nearly done, says that the kills did not all miss.
    return f"{kept(results)} ({results.count('new')} new)"


def elsewhere_kills(peer: Peer, folder: Path) -> str:
    """The same where the folder lies on another file system than temporary files."""
    with small_disk(folder / "disk", "128m") as there:
        return random_kills(peer, folder / "disk") if there else SKIPPED


def _copy(template: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(template, place))


def call_kills(peer: Peer, folder: Path) -> str:
    """Kills before each rename, before each fsync, and before the second write."""
    if not has_strace():
        return SKIPPED
    template, results = begin(peer, folder / "template"), []
    for calls, whens in (
        ("rename,renameat,renameat2", range(1, MOST_CALLS)),
        ("fsync,fdatasync", range(1, MOST_CALLS)),
        ("write,pwrite64,writev", [2]),
    ):
        for when in whens:
            trial = _copy(template, folder / "trial")
            ended, _ = traced(save_second(peer, trial), calls, f"signal=KILL:when={when}")
            if ended.code == 0:
                break
            results.append(after(peer, trial))
    return kept(results) if results else "no such calls"


def failing_sync(peer: Peer, folder: Path) -> str:
    """Each fsync fails: the disk says that it could not keep what was written."""
    if not has_strace():
        return SKIPPED
    trial = begin(peer, folder / "trial")
    ended, calls = traced(save_second(peer, trial), "fsync,fdatasync", "error=EIO")
    if not calls:
        return "**never synced**"
    told = "error raised" if ended.code else "**not told**"
    return f"{kept([after(peer, trial)]).split(' ')[0].strip('*')}, {told}"


def _refused(peer: Peer, place: Path, ended: Ended) -> str:
    """Returns a cell: what is left after a save that had no room, and what was said of it."""
    left = after(peer, place, SMALL_THEN_LARGE)
    words = "kept" if left in ("old", "new") else "**lost**"
    if ended.code == 0:
        return f"{words}, **not told**"
    text = ended.error.lower()
    why = any(os.strerror(number).lower() in text for number in (errno.ENOSPC, errno.EFBIG))
    says = "says why" if why else "doesn't say why"
    return f"{words}, {says}{', file named' if place.name in text else ''}"


SMALL_THEN_LARGE = {1: 3.0, 2: 14.0}


def full_disk(peer: Peer, folder: Path) -> str:
    """A disk of 10 MB, an old checkpoint of 3 MB, a new one of 14."""
    with small_disk(folder / "disk", "10m") as there:
        if not there:
            return SKIPPED
        place = begin(peer, folder / "disk" / "crowded-run", 3.0)
        return _refused(peer, place, run(save_second(peer, place, 14.0)))


def file_limit(peer: Peer, folder: Path) -> str:
    """No file may be larger than 5 MB (RLIMIT_FSIZE): an old checkpoint of 3 MB, a new one of 14."""
    place = begin(peer, folder / "limited-run", 3.0)
    ended = run(limited(resource.RLIMIT_FSIZE, 5 << 20, save_second(peer, place, 14.0)))
    return _refused(peer, place, ended)


def read_only(peer: Peer, folder: Path) -> str:
    """A save into a folder that can't be written to."""
    with small_disk(folder / "locked-disk", "40m") as there:
        if not there:
            return SKIPPED
        place = begin(peer, folder / "locked-disk" / "run", 1.0)
        if not make_read_only(folder / "locked-disk"):
            return SKIPPED
        ended = run(save_second(peer, place, 1.0))
        left = "kept" if after(peer, place, {1: 1.0, 2: 1.0}) == "old" else "**lost**"
    if not ended.code:
        return "**not told**"
    return f"{left}, {'file named' if 'locked-disk' in ended.error else 'file not named'}"


def leftovers(peer: Peer, folder: Path) -> str:
    """What a save that was killed leaves behind, in the folder and among temporary files, once another save has worked."""
    template, temporary = begin(peer, folder / "template"), folder / "tmp"
    temporary.mkdir()
    clean = run(save_second(peer, _copy(template, folder / "clean"))), sum(1 for _ in _files(folder / "clean"))
    worst, draw = 0, random.Random(8)
    for _ in range(12):
        trial = _copy(template, folder / "trial")
        killed_after(_with_temporary(temporary, save_second(peer, trial)), draw.uniform(0.1, 0.95) * clean[0].seconds)
        run(save_second(peer, trial))
        worst = max(worst, sum(1 for _ in _files(trial)) - clean[1])
    stray = sum(1 for _ in _files(temporary))
    return "none" if worst <= 0 and not stray else f"**{max(worst, stray)} file{'s' * (max(worst, stray) > 1)} of 12 kills**"


def _with_temporary(temporary: Path, function: Callable[[], None]) -> Callable[[], None]:
    def inside() -> None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        function()

    return inside


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


ROWS = {
    f"kill -9 at {TRIALS} random moments of a save": random_kills,
    "the same, on another disk than /tmp": elsewhere_kills,
    "kill -9 before each rename, each fsync and the second write": call_kills,
    "every fsync fails (EIO)": failing_sync,
    "disk full (10 MB: 3 MB old, 14 MB new)": full_disk,
    "files of 5 MB at most (RLIMIT_FSIZE)": file_limit,
    "read-only folder, in a save": read_only,
    "left behind by 12 killed saves, after another save": leftovers,
}
