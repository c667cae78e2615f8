"""Which checkpoints a run keeps: the newest, those that a straight run would have, and the first one set aside."""

import contextlib
from pathlib import Path

from nca3d.checkpoint.folder import newest_first, step_of
from nca3d.checkpoint.reading import read
from nca3d.errors import InputError
from nca3d.files import move_folder, refuse_odd, remove_folder, sweep

# The folder beside `checkpoints` in which the checkpoint of step 0 is set aside.
FIRST = "first"


def make_room(run_folder: Path) -> list[Path]:
    """Removes all checkpoints but the newest that verifies, on a full disk; returns what was removed, which may be nothing.

    Args:
        run_folder: the run's folder, whose lock is held.
    """
    folder, good = Path(run_folder) / "checkpoints", None
    sweep(folder, r"step-\d+")
    older = []
    for path in newest_first(folder) if folder.is_dir() else []:
        if good is None:
            with contextlib.suppress(InputError):
                good = read(path)
        elif not path.is_symlink():
            older.append(path)
    for path in older:
        remove_folder(path)
    return older


def steps(run_folder: Path) -> list[int]:
    """Returns the steps that there are checkpoints of, the newest first and the first one too; none is looked into."""
    found = [step_of(path) for path in newest_first(Path(run_folder) / "checkpoints")]
    return [*found, *[0] * (_first(run_folder, aside=True).is_dir() and 0 not in found)]


def set_first_aside(run_folder: Path, keep: int, every: int) -> None:
    """Moves the checkpoint of step 0 out of the way of later ones; it is removed when there are enough of those.

    It holds nothing that was learned, so nobody should meet it among those that do. A run that goes wrong may need it.

    Args:
        run_folder: the run's folder, whose lock is held.
        keep: how many later ones whose step is a multiple of `every` are enough.
        every: see `save`.
    """
    first, aside = _first(run_folder), _first(run_folder, aside=True)
    # Failing to tidy up is no reason to end a run.
    with contextlib.suppress(OSError):
        refuse_odd(aside.parent, folder=True)
        if first.is_dir() and not aside.exists():
            aside.parent.mkdir(exist_ok=True)
            move_folder(first, aside)
        if aside.is_dir() and sum(step % every == 0 for step in steps(run_folder) if step) >= keep:
            remove_folder(aside)
            aside.parent.rmdir()


def bring_first_back(run_folder: Path) -> None:
    """Moves the checkpoint of step 0 back among the others, if it was set aside: the run begins again."""
    first, aside = _first(run_folder), _first(run_folder, aside=True)
    if aside.is_dir() and not first.exists():
        move_folder(aside, first)
        aside.parent.rmdir()


def _first(run_folder: Path, aside: bool = False) -> Path:
    return Path(run_folder) / (FIRST if aside else "checkpoints") / "step-000000"


def remove_after(run_folder: Path, step: int) -> None:
    """Removes the checkpoints of later steps: a run that has gone back must not go on from them.

    Args:
        run_folder: the run's folder, whose lock is held.
        step: of the checkpoint that the run has gone back to.
    """
    for path in newest_first(Path(run_folder) / "checkpoints"):
        if step_of(path) > step and not path.is_symlink():
            remove_folder(path)


def tidy(folder: Path, step: int, keep: int, every: int) -> None:
    """Removes checkpoints older than the newest `keep`, counted back from the one just written, which is known to be good."""
    sweep(folder, r"step-\d+")
    # Failing to tidy up is no reason to end a run.
    with contextlib.suppress(OSError):
        older = [path for path in newest_first(folder) if step_of(path) <= step and not path.suffix]
        regular = [path for path in older if step_of(path) % every == 0][:keep]
        for path in older[keep:]:
            if path not in regular:
                remove_folder(path)
