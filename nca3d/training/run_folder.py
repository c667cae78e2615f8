"""The folder of one run: its `config.toml`, its `metrics.jsonl` and what tells it from any other; `open_run` opens it."""

import contextlib
import itertools
import json
import os
import re
import shlex
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from nca3d.config import Config
from nca3d.config.shipped import OWN_TARGETS, moved_targets
from nca3d.errors import InputError, RunError
from nca3d.files import (
    KEPT_SEVERAL,
    open_own,
    read_file,
    write_atomic,
)
from nca3d.ranks import by_first, current
from nca3d.registry import wing_entries

CONFIG, METRICS, LOCK = "config.toml", "metrics.jsonl", "run.lock"
# The folders that a run writes into while it trains.
FOLDERS = ("checkpoints", "first", "profile", "tensorboard", "wandb")


class RunFolder:
    """A run folder that this process has locked; `open_run_folder` makes it.

    Of several processes the first one has it, and does there what all ask for; each method is called by all of them, but for
    `append_metrics`.

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
        return by_first(self._has_checkpoints)

    def _has_checkpoints(self) -> bool:
        return any((self.path / "checkpoints").glob("step-*[0-9]")) and not never_saved(self.path)

    @property
    def way_on(self) -> str:
        """The command with which the run goes on, plug-ins and all."""
        plugins = f" --plugins {' '.join(map(shlex.quote, self.config.plugins))}" if self.config.plugins else ""
        return f"nca3d train --resume {shlex.quote(str(self.path))}{plugins}"

    def is_there(self) -> bool:
        """Returns whether the folder is still there, the very same."""
        return _identity(self.path) == self._identity

    def require(self) -> None:
        """Checks that the folder is still there, the very same: what is saved into a new one of its name would be half a run.

        Raises:
            RunError: it was deleted, moved or replaced.
        """
        by_first(self._require)

    def _require(self) -> None:
        if self.is_there():
            self._mend()
        else:
            found = "another folder in its place" if self.path.exists() else "deleted or moved while the run was going on"
            raise RunError(f"{self.path}: not saved: the run folder is gone, {found}; nothing of this run is left here")

    def write_config(self) -> None:
        """Writes `config.toml`, whole or not at all."""
        if current().first:
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
            return Config.from_dict({**saved, **moved_targets(saved, self.path)}, str(where))
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
        return by_first(lambda: self._keep_config(config, iteration))

    def _keep_config(self, config: Config, iteration: int) -> Path:
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
        by_first(lambda: self._cut_metrics(iteration))

    def _cut_metrics(self, iteration: int) -> None:
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


def never_saved(path: Path) -> bool:
    """Returns whether all that lies in a folder is what a run writes before its first save, and nothing that anybody misses."""
    with contextlib.suppress(OSError, InputError):
        left = list((path / "checkpoints").iterdir()) if (path / "checkpoints").is_dir() else []
        names = {entry.name for entry in path.iterdir()}
        text, config = read_file(path / CONFIG).decode(errors="replace"), Config.load(path / CONFIG)
        # A config that somebody wrote himself, with comments of his own, is not ours to replace; nor is a target that no run
        # has put there, or a run that has got so far that its checkpoints must be somewhere.
        ours = config.to_toml() == text
        kept, old = OWN_TARGETS
        ours &= old not in names or Path(config.targets[0]).name == old
        ours &= all(record.get("iteration", 0) < config.save_every for record in read_metrics(path))
        half = all(re.fullmatch(r"step-\d+\.tmp-\d+", entry.name) for entry in left)
        several = {entry.name for entry in path.glob(KEPT_SEVERAL)}
        return ours and half and names <= {CONFIG, METRICS, LOCK, kept, old, *several, *FOLDERS, *wing_entries("kept")}
    return False


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all.

    Raises:
        RunError: the disk is full or fails.
    """
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise RunError(f"{path}: not written: {error.strerror or error}; what was there is untouched") from error
