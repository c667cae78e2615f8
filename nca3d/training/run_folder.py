"""The folder of one run: its name, its lock (`run.lock`), its `config.toml` and its `metrics.jsonl`."""

import contextlib
import itertools
import json
import os
import re
import sys
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from nca3d.config import Config
from nca3d.config.shipped import OWN_TARGETS, moved_target
from nca3d.errors import InputError, RunError
from nca3d.files import (
    KEPT_TARGET,
    locked,
    open_own,
    read_file,
    refuse_locked,
    refuse_odd,
    remove_folder,
    write_atomic,
)
from nca3d.registry import wing_entries

CONFIG, METRICS, LOCK = "config.toml", "metrics.jsonl", "run.lock"
# The folders that a run writes into while it trains.
FOLDERS = ("checkpoints", "first", "tensorboard")


class RunFolder:
    """A run folder that this process has locked; `open_run_folder` makes it.

    Args:
        path: the folder.
        config: what `write_config` writes.
    """

    def __init__(self, path: Path, config: Config) -> None:
        self.path, self.config = path, config
        self._lines: IO[str] | None = None
        # Held open: as long as it is, no other folder can get its number.
        with contextlib.suppress(OSError):
            weakref.finalize(self, os.close, os.open(path, os.O_RDONLY))
        self._identity = _identity(path)

    def has_checkpoints(self) -> bool:
        """Returns whether there is anything to go on from, damaged or not; half-written checkpoints don't count."""
        return any((self.path / "checkpoints").glob("step-*[0-9]")) and not _never_saved(self.path)

    def is_there(self) -> bool:
        """Returns whether the folder is still there, the very same."""
        return _identity(self.path) == self._identity

    def require(self) -> None:
        """Checks that the folder is still there, the very same: what is saved into a new one of its name would be half a run.

        Raises:
            RunError: it was deleted, moved or replaced.
        """
        if self.is_there():
            self._mend()
        else:
            found = "another folder in its place" if self.path.exists() else "deleted or moved while the run was going on"
            raise RunError(f"{self.path}: not saved: the run folder is gone, {found}; nothing of this run is left here")

    def write_config(self) -> None:
        """Writes `config.toml`, whole or not at all."""
        _write(self.path / CONFIG, self.config.to_toml())

    def _mend(self) -> None:
        """Writes again what somebody has removed from the folder, as far as that is known."""
        if not os.path.lexists(self.path / CONFIG):
            print(f"{self.path / CONFIG}: was removed while the run was going on; written again", file=sys.stderr)
            self.write_config()
        if self._lines is not None and not os.path.lexists(self.path / METRICS):
            print(f"{self.path / METRICS}: was removed while the run was going on; begun anew", file=sys.stderr)
            self.close()

    def config_before(self, saved: object) -> Config | None:
        """Returns the config that a checkpoint was trained with; None if nothing tells.

        Args:
            saved: the fields that it was saved with. Checkpoints of version 0.1.0 have none: for these `config.toml` tells.
        """
        where = self.path / CONFIG
        try:
            if not isinstance(saved, dict):
                return Config.load(where)
            if isinstance(target := saved.get("target"), str):
                saved = {**saved, "target": moved_target(target, self.path)}
            return Config.from_dict(saved, str(where))
        # What can't be read any more can't be compared; the checkpoint itself is whole.
        except InputError:
            return None

    def keep_config(self, config: Config, iteration: int) -> Path:
        """Writes a config that is about to be replaced beside the new one; returns its path.

        Args:
            config: the old config.
            iteration: up to which the run was trained with it.

        Raises:
            RunError: the disk is full or fails.
        """
        text, stem = config.to_toml(), f"config-until-{iteration:06d}"
        for number in itertools.count(1):
            path = self.path / f"{stem}{f'-{number}' if number > 1 else ''}.toml"
            if not os.path.lexists(path):
                _write(path, text)
                return path
            # Kept before, when the run went on from here with yet another one.
            if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
                return path
        raise AssertionError("unreachable")

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Adds one line to `metrics.jsonl`; it can be read as soon as this returns.

        Args:
            record: what JSON can hold.

        Raises:
            InputError: the file is a link, a pipe, a device, or has a second name: a line would land elsewhere.
            RunError: the disk is full or fails.
        """
        text = json.dumps(dict(record)) + "\n"
        try:
            if self._lines is None:
                file = open_own(self.path / METRICS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                # Buffered by line: whoever watches the run sees whole lines.
                self._lines = os.fdopen(file, "a", buffering=1, encoding="utf-8")
            self._lines.write(text)
        except OSError as error:
            # What could not be written is still in its buffer: closing it would fail once more.
            with contextlib.suppress(OSError):
                self.close()
            raise RunError(f"{self.path / METRICS}: not written: {error.strerror}; the last checkpoint is kept") from error

    def cut_metrics(self, iteration: int) -> None:
        """Drops the metrics after `iteration`, which a resumed run computes again, and writes this run's config.

        Args:
            iteration: of the checkpoint from which the run goes on.

        Raises:
            RunError: the disk is full or fails.
        """
        # Closed first: an open file would go on writing into the old one.
        self.close()
        lines = [json.dumps(record) + "\n" for record in self.metrics() if record.get("iteration", 0) <= iteration]
        _write(self.path / METRICS, "".join(lines))
        self.write_config()

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the lines of `metrics.jsonl`, oldest first."""
        return read_metrics(self.path)

    def close(self) -> None:
        """Closes `metrics.jsonl`; the next line opens it again."""
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns what tells a folder from any other, also from one that is made anew under its name."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's `metrics.jsonl`; a last line that was cut off by a kill is left out.

    Raises:
        InputError: a line before the last one is no JSON table.
    """
    path = folder / METRICS
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        # Only the last line can be torn by a kill; a bad line before it is somebody's edit, and not ours to drop.
        elif number < len(lines):
            raise InputError(path, f"line {number}", repr(line[:80]), "a JSON table on each line")
    return records


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
            remove_folder(path / "checkpoints")
            for name in (KEPT_TARGET, *wing_entries("kept")):
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
    return saved == {"step-000000"} and names <= {CONFIG, KEPT_TARGET, "checkpoints", *wing_entries("kept")}


def _clear(path: Path) -> None:
    """Removes what a run left that was killed before its first save: its lines are of iterations that nobody has.

    Raises:
        InputError: the folder has got other content since it was looked at.
    """
    if not (path / CONFIG).exists():
        return
    if not _never_saved(path):
        raise InputError(path, "out", "a folder with a run in it", f"a new or empty folder, or --resume {path}")
    # The target stays: the config may name this very file.
    for name in (METRICS, *wing_entries("kept")):
        if (path / name).is_file():
            (path / name).unlink()
    print(f"{path}: the run in it ended before its first save; it is begun anew", file=sys.stderr)


def _never_saved(path: Path) -> bool:
    """Returns whether all that lies in a folder is what a run writes before its first save, and nothing that anybody misses."""
    with contextlib.suppress(OSError, InputError):
        left = list((path / "checkpoints").iterdir()) if (path / "checkpoints").is_dir() else []
        names = {entry.name for entry in path.iterdir()}
        text, config = read_file(path / CONFIG).decode(errors="replace"), Config.load(path / CONFIG)
        # A config that somebody wrote himself, with comments of his own, is not ours to replace; nor is a target that no run
        # has put there, or a run that has got so far that its checkpoints must be somewhere.
        ours = config.to_toml() == text
        kept, old = OWN_TARGETS
        ours &= old not in names or Path(config.target).name == old
        ours &= all(record.get("iteration", 0) < config.save_every for record in read_metrics(path))
        half = all(re.fullmatch(r"step-\d+\.tmp-\d+", entry.name) for entry in left)
        return ours and half and names <= {CONFIG, METRICS, LOCK, kept, old, *FOLDERS, *wing_entries("kept")}
    return False


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
    if missing and not _never_saved(path):
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
            if entries and not _never_saved(path):
                raise InputError(path, "out", f"a folder with {entries[0]} in it", f"a new or empty folder, or --resume {path}")
        # The first folder above that exists is where the new ones would be made.
        nearest = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    except OSError as error:
        raise InputError(path, "out", error.strerror or error, "a folder that can be read") from None
    if not nearest.is_dir():
        raise InputError(path, "out", f"{nearest}, which is a file", "a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(path, "out", f"{nearest}, which can't be written to", "a folder under a writable one")


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all.

    Raises:
        RunError: the disk is full or fails.
    """
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise RunError(f"{path}: not written: {error.strerror or error}; what was there is untouched") from error
