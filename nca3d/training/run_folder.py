"""The folder of one run: chosen, locked, and its `config.toml` and `metrics.jsonl` kept whole.

`run.lock` is held by flock, so that the kernel frees it when the process dies; its text says who holds it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from nca3d.config import Config
from nca3d.errors import InputError, RunError

CONFIG, METRICS, LOCK = "config.toml", "metrics.jsonl", "run.lock"


class RunFolder:
    """A run folder that is held; made by `open_run_folder`."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path, self.config = path, config
        self._lines: IO[str] | None = None

    def write_config(self) -> None:
        """Write `config.toml`, whole or not at all."""
        _replace(self.path / CONFIG, self.config.to_toml())

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to `metrics.jsonl`; it is there as soon as this returns.

        Raises:
            RunError: the disk is full or fails.
        """
        text = json.dumps(dict(record)) + "\n"
        try:
            if self._lines is None:
                self._lines = (self.path / METRICS).open("a", buffering=1, encoding="utf-8")
            self._lines.write(text)
        except OSError as error:
            raise RunError(f"{self.path / METRICS}: not written: {error.strerror}; the last checkpoint is kept") from error

    def cut_metrics(self, iteration: int) -> None:
        """Make a resumed run the same run: drop the lines after `iteration`, and put this run's config in place."""
        self.close()
        kept = [json.dumps(record) + "\n" for record in self.metrics() if record.get("iteration", 0) <= iteration]
        _replace(self.path / METRICS, "".join(kept))
        self.write_config()

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, oldest first."""
        return read_metrics(self.path)

    def close(self) -> None:
        """Close `metrics.jsonl`; the next line opens it again."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`; a last line that was torn by a kill is left out.

    Raises:
        InputError: a line before the last one is no table.
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
        elif number < len(lines):
            raise InputError(path, f"line {number}", repr(line[:80]), "a JSON table on each line")
    return records


@contextlib.contextmanager
def open_run_folder(config: Config, resume: str | os.PathLike[str] | None = None) -> Iterator[RunFolder]:
    """The run folder, locked for as long as the context lasts: a new one, or that of the run to resume.

    A new one gets its `config.toml` at once; a resumed one with `cut_metrics`, once its checkpoint has proved to fit.

    Raises:
        InputError: not empty, not writable, a file, held by another run, nothing to resume; nothing was written.
    """
    path, made = (_resumed(Path(resume)), []) if resume is not None else _new(config)
    try:
        with _locked(path):
            folder = RunFolder(path, config)
            try:
                if resume is None:
                    folder.write_config()
                yield folder
            finally:
                folder.close()
    except (InputError, RunError):
        _undo(path, made)
        raise


def check_run_folder(config: Config, resume: str | os.PathLike[str] | None = None) -> None:
    """What `open_run_folder` would refuse, found out at once and without touching anything.

    Raises:
        InputError: as `open_run_folder`.
    """
    if resume is not None:
        _resumed(Path(resume))
    elif config.out:
        _refuse_unusable(Path(config.out))


def _undo(path: Path, made: list[Path]) -> None:
    """Leave nothing behind when nothing has happened yet but that the folder was made."""
    with contextlib.suppress(OSError):
        if made and all(entry.name == CONFIG for entry in path.iterdir()):
            (path / CONFIG).unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()


def _resumed(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(path, "resume", "a file" if path.exists() else "no such folder", "the folder of a run")
    missing = [name for name in (CONFIG, "checkpoints") if not (path / name).exists()]
    if missing:
        raise InputError(path, "resume", f"no {' and no '.join(missing)}", "the folder of a run that saved a checkpoint")
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(path, "resume", "a folder that can't be written to", "a writable one")
    return path


def _new(config: Config) -> tuple[Path, list[Path]]:
    """The new run folder, and the folders that had to be made for it, innermost first."""
    if config.out:
        path = Path(config.out)
        _refuse_unusable(path)
        return path, _made(path, exist_ok=True)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(config.kind.subject(config)).stem).strip("-.") or "run"
    for number in itertools.count(1):
        path = Path("runs") / f"{stem[:64]}-{number}"
        if not os.path.lexists(path):
            _refuse_unusable(path)
            with contextlib.suppress(FileExistsError):  # another run took the number in this moment
                return path, _made(path, exist_ok=False)
    raise AssertionError("unreachable")


def _made(path: Path, *, exist_ok: bool) -> list[Path]:
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        raise
    except OSError as error:
        raise InputError(path, "out", error.strerror or error, "a folder that can be made") from None
    return missing


def _refuse_unusable(path: Path) -> None:
    try:
        if path.is_dir():
            found = [entry.name for entry in sorted(path.iterdir()) if entry.name != LOCK]
            if found:
                _refuse_held(path)  # names the run that is at work there, rather than its files
                raise InputError(path, "out", f"a folder with {found[0]} in it", f"a new or empty folder, or --resume {path}")
        nearest = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    except OSError as error:
        raise InputError(path, "out", error.strerror or error, "a folder that can be read") from None
    if not nearest.is_dir():
        raise InputError(path, "out", f"{nearest}, which is a file", "a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(path, "out", f"{nearest}, which can't be written to", "a folder under a writable one")


def _refuse_held(path: Path) -> None:
    import fcntl  # POSIX only; importing nca3d must work elsewhere

    try:
        with (path / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _held(path) from None
    except OSError:
        return


def _held(path: Path) -> InputError:
    try:
        holder = (path / LOCK).read_text(errors="replace").strip()
    except OSError:
        holder = ""
    return InputError(path, LOCK, f"held by {holder or 'another run'}", "a run folder that no other run is using")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _acquire(path)
    try:
        who = f"pid {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        os.ftruncate(descriptor, 0)
        os.write(descriptor, who.encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            (path / LOCK).unlink()
        os.close(descriptor)


def _acquire(path: Path) -> int:
    import fcntl

    while True:
        try:
            descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(descriptor)
                raise
        except BlockingIOError:
            raise _held(path) from None
        except OSError as error:
            raise InputError(path, LOCK, error.strerror or error, "a folder that can be locked") from None
        # the former holder may have removed the file between our open and our lock: then the lock is on nothing
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), (path / LOCK).stat()):
                return descriptor
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Write a file beside, sync it, and rename it into place."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"{path}: not written: {error.strerror or error}; what was there is untouched") from error
    finally:
        temporary.unlink(missing_ok=True)
