"""The folder of one run: chosen, locked (`run.lock`), and its `config.toml` and `metrics.jsonl` kept whole."""

import contextlib
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from nca3d.config import Config
from nca3d.errors import InputError, RunError
from nca3d.files import locked, refuse_locked, write_atomic

CONFIG, METRICS, LOCK = "config.toml", "metrics.jsonl", "run.lock"


class RunFolder:
    """A run folder that is held; made by `open_run_folder`."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path, self.config = path, config
        self._lines: IO[str] | None = None

    def write_config(self) -> None:
        """Write `config.toml`, whole or not at all."""
        _write(self.path / CONFIG, self.config.to_toml())

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
        _write(self.path / METRICS, "".join(kept))
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
def open_run_folder(config: Config, resume: str | os.PathLike[str] | None = None, subject: str = "") -> Iterator[RunFolder]:
    """The run folder, locked for as long as the context lasts: a new one, or that of the run to resume.

    A new one is called after its `subject` ("" = what the config names), unless the config says `out`, and gets its
    `config.toml` at once; a resumed one with `cut_metrics`, once its checkpoint has proved to fit.

    Raises:
        InputError: not empty, not writable, a file, held by another run, nothing to resume; nothing was written.
    """
    path, made = (_resumed(Path(resume)), []) if resume is not None else _new(config, subject)
    try:
        with locked(path / LOCK):
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


def _new(config: Config, subject: str) -> tuple[Path, list[Path]]:
    """The new run folder, and the folders that had to be made for it, innermost first."""
    if config.out:
        path = Path(config.out)
        _refuse_unusable(path)
        return path, _made(path, exist_ok=True)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(subject or config.kind.subject(config)).stem).strip("-.") or "run"
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
                refuse_locked(path / LOCK)  # names the run that is at work there, rather than its files
                raise InputError(path, "out", f"a folder with {found[0]} in it", f"a new or empty folder, or --resume {path}")
        nearest = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    except OSError as error:
        raise InputError(path, "out", error.strerror or error, "a folder that can be read") from None
    if not nearest.is_dir():
        raise InputError(path, "out", f"{nearest}, which is a file", "a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(path, "out", f"{nearest}, which can't be written to", "a folder under a writable one")


def _write(path: Path, text: str) -> None:
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise RunError(f"{path}: not written: {error.strerror or error}; what was there is untouched") from error
