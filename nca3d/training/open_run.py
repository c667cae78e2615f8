"""Which folder a run may have: a new or empty one, or that of the run to resume, locked; a refused run leaves nothing there."""

import contextlib
import itertools
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from nca3d.config import Config
from nca3d.errors import InputError, RunError
from nca3d.files import KEPT_SEVERAL, KEPT_TARGET, locked, refuse_locked, refuse_odd, remove_folder
from nca3d.ranks import by_first, current
from nca3d.ranks.restart import note_run
from nca3d.registry import wing_entries
from nca3d.training.run_folder import CONFIG, FOLDERS, LOCK, METRICS, RunFolder, never_saved


@contextlib.contextmanager
def open_run_folder(config: Config, resume: str | os.PathLike[str] | None = None, subject: str = "") -> Iterator[RunFolder]:
    """A context with the locked run folder: a new one, or that of the run to resume.

    A new folder gets its `config.toml` at once. A resumed one gets it by `cut_metrics`, once its checkpoint proved to fit.

    Args:
        config: the experiment; `out` names the folder.
        resume: the folder of the run to resume.
        subject: what a new folder is named after if the config names no folder; "" = what the config trains.

    Raises:
        InputError: the folder is not empty, not writable, a file, locked by another run, or has nothing to resume; nothing
            was written.
    """
    if current().size == 1:
        with _opened(config, resume, subject) as folder:
            yield folder
        return
    # Of several processes the first one opens it, and the others learn where it is, or why it can't be had.
    with contextlib.ExitStack() as stack:
        own = {}

        def open_first() -> Path:
            own["folder"] = stack.enter_context(_opened(config, resume, subject))
            note_run(own["folder"].path)
            return own["folder"].path

        path = by_first(open_first)
        yield own.get("folder") or RunFolder(path, config)


@contextlib.contextmanager
def _opened(config: Config, resume: str | os.PathLike[str] | None, subject: str) -> Iterator[RunFolder]:
    """A context with the run folder, locked by this process; see `open_run_folder`."""
    # Whether the folder can be used is known before anything is locked or written.
    path, new_folders = (_resumed(Path(resume)), []) if resume is not None else _new(config, subject)
    try:
        with locked(path / LOCK):
            # Again, now that no other run can be at work there.
            _refuse_odd(path)
            folder = RunFolder(path, config)
            try:
                if resume is None or not folder.has_checkpoints():
                    _clear(path)
                    folder.write_config()
                yield folder
            # Only after our own errors: what a crash leaves may be worth a look.
            except (InputError, RunError):
                # Somebody else's folder is left alone.
                new_folders *= folder.is_there()
                raise
            finally:
                folder.close()
    except (InputError, RunError) as error:
        _undo(path, new_folders, refused=isinstance(error, InputError))
        raise


def check_run_folder(config: Config, resume: str | os.PathLike[str] | None = None) -> None:
    """Checks what `open_run_folder` would refuse, early and without touching anything.

    Args:
        config: the experiment; `out` names the folder.
        resume: the folder of the run to resume.

    Raises:
        InputError: the folder can't be used, for the same reasons as in `open_run_folder`.
    """
    by_first(lambda: _check_run_folder(config, resume))


def _check_run_folder(config: Config, resume: str | os.PathLike[str] | None) -> None:
    if resume is not None:
        _resumed(Path(resume))
    elif config.out:
        _refuse_unusable(Path(config.out))


def _undo(path: Path, new_folders: list[Path], *, refused: bool) -> None:
    """Removes the new folders if nothing was done in them: a refused run leaves nothing behind.

    Args:
        path: the run folder.
        new_folders: those that were made for it, innermost first.
        refused: whether the run was refused for its input, so that what it saved before its first iteration is nothing, too.
    """
    with contextlib.suppress(OSError):
        if new_folders and refused and _only_begun(path):
            if (path / "checkpoints").is_dir():
                remove_folder(path / "checkpoints")
            for name in (KEPT_TARGET, *_of_several(path), *wing_entries("kept")):
                (path / name).unlink(missing_ok=True)
        if new_folders and all(entry.name == CONFIG for entry in path.iterdir()):
            (path / CONFIG).unlink(missing_ok=True)
        # `rmdir` fails on a folder with something in it, which is then left alone.
        for folder in new_folders:
            folder.rmdir()


def _only_begun(path: Path) -> bool:
    """Returns whether a run has saved what it began with, and nothing else."""
    names = {entry.name for entry in path.iterdir()}
    saved = {entry.name for entry in (path / "checkpoints").iterdir()} if "checkpoints" in names else set()
    kept = {KEPT_TARGET, *_of_several(path), *wing_entries("kept")}
    return saved <= {"step-000000"} and names <= {CONFIG, "checkpoints", *kept}


def _of_several(path: Path) -> list[str]:
    """Returns the files of a run folder that keep one of several bodies."""
    return [file.name for file in path.glob(KEPT_SEVERAL)]


def _clear(path: Path) -> None:
    """Removes what a run left that was killed before its first save: its lines are of iterations that nobody has.

    Raises:
        InputError: the folder has got other content since it was looked at.
    """
    if not (path / CONFIG).exists():
        return
    if not never_saved(path):
        raise InputError(path, "out", "a folder with a run in it", f"a new or empty folder, or --resume {path}")
    # The target stays: the config may name this very file.
    for name in (METRICS, *wing_entries("kept")):
        if (path / name).is_file():
            (path / name).unlink()
    print(f"{path}: the run in it ended before its first save; it is begun anew", file=sys.stderr)


def _resumed(path: Path) -> Path:
    """Returns the folder of a run to resume, once it is known to be one.

    Raises:
        InputError: it is no run folder, has no checkpoint, or can't be written to.
    """
    if not path.is_dir():
        raise InputError(path, "resume", "a file" if path.exists() else "no such folder", "the folder of a run")
    _refuse_odd(path)
    # Both are needed: the config to build the rule, a checkpoint to continue from. A run that was killed before its first save
    # has none: it begins anew.
    missing = [name for name in (CONFIG, "checkpoints") if not (path / name).exists()]
    if missing and not never_saved(path):
        raise InputError(path, "resume", f"no {' and no '.join(missing)}", "the folder of a run that saved a checkpoint")
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(path, "resume", "a folder that can't be written to", "a writable one")
    return path


def _refuse_odd(path: Path) -> None:
    """Checks that what a run writes to lies in its folder. The folder itself may be a link: to a larger disk, say.

    Raises:
        InputError: one of its files or folders is a link, a pipe, a socket or a device.
    """
    for name in (CONFIG, METRICS, LOCK):
        refuse_odd(path / name)
    for name in FOLDERS:
        refuse_odd(path / name, folder=True)


def _new(config: Config, subject: str) -> tuple[Path, list[Path]]:
    """Makes the new run folder; returns it and all folders that had to be made for it, innermost first."""
    if config.out:
        path = Path(config.out)
        _refuse_unusable(path)
        return path, _make(path, exist_ok=True)
    # A name that is safe in every file system; 64 characters of it are enough to know it by.
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(subject or config.kind.subject(config)).stem).strip("-.") or "run"
    # The first free number: runs/axolotl-1, runs/axolotl-2, …
    for number in itertools.count(1):
        path = Path("runs") / f"{stem[:64]}-{number}"
        if not os.path.lexists(path):
            _refuse_unusable(path)
            # Another run may take the number in this moment: then the next one is tried.
            with contextlib.suppress(FileExistsError):
                return path, _make(path, exist_ok=False)
    raise AssertionError("unreachable")


def _make(path: Path, *, exist_ok: bool) -> list[Path]:
    """Makes a folder with its parents; returns those that were missing, innermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        raise
    except OSError as error:
        raise InputError(path, "out", error.strerror or error, "a folder that can be made") from None
    return missing


def _refuse_unusable(path: Path) -> None:
    """Checks that a new run may use this folder, which need not exist yet.

    Raises:
        InputError: it is not empty, locked, a file, or can't be written to.
    """
    try:
        if path.is_dir():
            # A lock alone is what a killed run may leave; the folder counts as empty.
            entries = [entry.name for entry in sorted(path.iterdir()) if entry.name != LOCK]
            # A message that names the run at work there says more than one that names its files.
            refuse_locked(path / LOCK)
            if entries and not never_saved(path):
                raise InputError(path, "out", f"a folder with {entries[0]} in it", f"a new or empty folder, or --resume {path}")
        # The first folder above that exists is where the new ones would be made.
        nearest = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    except OSError as error:
        raise InputError(path, "out", error.strerror or error, "a folder that can be read") from None
    if not nearest.is_dir():
        raise InputError(path, "out", f"{nearest}, which is a file", "a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(path, "out", f"{nearest}, which can't be written to", "a folder under a writable one")
