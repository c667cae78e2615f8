"""Checkpoint folders `checkpoints/step-NNNNNN/` that survive kill -9, a full disk and a flipped bit.

Tensors are saved as safetensors, scalars as JSON (no pickle), and a manifest, written last, has the sha256 of each file:
neither torch.load nor safetensors notices a flipped bit. A folder is written under another name, synced, then renamed: it is
there whole or not at all (`files.py`). The newest is the one with the highest step, whatever the clock says.
"""

import contextlib
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from nca3d.errors import InputError, InputErrors, NotFiniteError, RunError
from nca3d.files import (
    atomic_folder,
    file_entry,
    load_tensors,
    move_folder,
    parse_table,
    read_sealed,
    read_verified,
    refuse_odd,
    remove_folder,
    seal,
    sweep,
)
from nca3d.schema.saved import check_scalars
from nca3d.versions import versions

# Version of the manifest's format. A change of what is in a folder needs a new number and a reader of the old one.
FORMAT = 1
MANIFEST, SCALARS = "manifest.json", "scalars.json"
# The folder beside `checkpoints` in which the checkpoint of step 0 is set aside.
FIRST = "first"
# With .old-PID: the folder of a step that was being replaced when its writer was killed.
_STEP = re.compile(r"step-(\d{6,18})(\.old-\d+)?")
_GROUP = re.compile(r"[a-z][a-z0-9_]*")
_KEYS = {"format": int, "step": int, "files": dict, "torch": str, "threads": int, "world_size": int, "sha256": str}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was verified.

    Attributes:
        step: the iteration that it was saved at.
        groups: tensors by name, by group (rule, optimizer, pool, …).
        scalars: what was saved as JSON.
        manifest: the manifest, with versions and device.
        path: the folder.
        skipped: newer checkpoints that could not be used, each with the reason.
    """

    step: int
    groups: dict[str, dict[str, Tensor]]
    scalars: dict[str, Any]
    manifest: dict[str, Any]
    path: Path
    skipped: tuple[tuple[Path, str], ...] = ()


def save(
    run_folder: Path,
    step: int,
    groups: Mapping[str, Mapping[str, Tensor]],
    scalars: Mapping[str, Any],
    *,
    keep: int,
    every: int = 1,
) -> Path:
    """Writes `checkpoints/step-NNNNNN/`, then removes older ones and what killed saves left behind.

    Args:
        run_folder: the run's folder, whose lock is held.
        step: 0, 1, …; a folder of the same step is replaced.
        groups: tensors by name, by group; one file for each group. Any layout in memory, also shared storage.
        scalars: what JSON can hold.
        keep: how many of the newest checkpoints stay; at least 2.
        every: as many of the newest whose step is a multiple of this stay too: those that a straight run would have.

    Returns:
        The folder.

    Raises:
        InputError: a tensor is sparse, JSON can't hold a scalar, or `keep` is below 2.
        RunError: the disk is full or fails, or a tensor is not finite; the older checkpoints are untouched.
    """
    # One alone would be lost with its first damaged file.
    if keep < 2:
        raise InputError("checkpoint", "keep", keep, "at least 2: the newest may turn out damaged")
    final = Path(run_folder) / "checkpoints" / f"step-{step:06d}"
    try:
        text = json.dumps(dict(scalars), indent=1)
    except (TypeError, ValueError) as error:
        raise InputError("checkpoint", "scalars", error, "what JSON can hold") from None
    for group, tensors in groups.items():
        _check_tensors(final, group, tensors)
    # For the message of a full disk; 200 bytes is about what a tensor's header takes.
    needed = len(text) + sum(t.numel() * t.element_size() + 200 for tensors in groups.values() for t in tensors.values())
    try:
        # Another folder that a link leads to would get this run's checkpoints, and lose its own to `_tidy`.
        refuse_odd(final.parent, folder=True)
        with atomic_folder(final) as folder:
            files = {f"{group}.safetensors": _write(folder / f"{group}.safetensors", _bytes(groups[group])) for group in groups}
            files[SCALARS] = _write(folder / SCALARS, text.encode())
            (folder / MANIFEST).write_bytes(seal(_manifest(step, files, groups)))
    except InputError as error:
        raise RunError(f"{final}: not saved: {error}") from error
    except OSError as error:
        free = shutil.disk_usage(run_folder).free
        raise RunError(
            f"{final}: not saved: {error.strerror or error}; {needed:,} bytes needed, {free:,} free; "
            "the older checkpoints are untouched"
        ) from error
    _tidy(final.parent, step, keep, every)
    return final


def load(
    path: str | os.PathLike[str], up_to: int | None = None, check: Callable[[Checkpoint], None] | None = None
) -> Checkpoint:
    """Returns the newest checkpoint of a run folder that verifies, or the one in a `step-NNNNNN` folder.

    Checkpoints that are skipped are reported on stderr, each with its reason.

    Args:
        path: a run folder, its folder of checkpoints, or one checkpoint.
        up_to: the last step that will do; None = any.
        check: raises an InputError where what was saved makes no sense to whoever wants it; None = whatever verifies will do.

    Raises:
        InputError: the path is none of these, or the one checkpoint can't be used.
        InputErrors: no checkpoint can be used; there is one line for each, with the reason.
    """
    place = Path(path)
    if not place.is_dir():
        found = "a file" if place.exists() else "no such folder"
        raise InputError(place, "checkpoint", found, "a run folder or one of its checkpoints/step-NNNNNN")
    # One checkpoint, named outright: there is no older one to fall back on.
    if (place / MANIFEST).exists() or _STEP.fullmatch(place.name):
        return _read(place, check)
    bad: list[tuple[Path, InputError]] = []
    for candidate in _newest_first(place / "checkpoints" if (place / "checkpoints").is_dir() else place):
        if up_to is not None and _step_of(candidate) > up_to:
            continue
        try:
            # A link would make a run go on from another run's state without a word.
            if candidate.is_symlink():
                raise InputError(candidate, "folder", "a link", "a folder of this run, or its path given outright")
            good = _read(candidate, check)
        except InputError as error:
            bad.append((candidate, error))
            continue
        for _, reason in bad:
            print(f"skipped {reason}", file=sys.stderr)
        if bad:
            print(f"using {candidate}", file=sys.stderr)
        return replace(good, skipped=tuple((path, str(reason)) for path, reason in bad))
    if bad:
        raise InputErrors(error for _, error in bad)
    raise InputError(place, "checkpoint", "none", "a run folder with checkpoints/step-NNNNNN in it")


def bit_exact_warning(manifest: Mapping[str, Any], device: str | None = None, *, any_ranks: bool = False) -> str | None:
    """Returns why a run that is resumed here is not bit for bit the run that was saved; None if it is.

    Args:
        manifest: of the checkpoint.
        device: type of the device that the run goes on with; None = not compared.
        any_ranks: whether its sums are the same on any number of processes.
    """
    now = _surroundings() | ({"device": device} if device else {})
    differ = [key for key in now if manifest.get(key) != now[key] and not (any_ranks and key == "world_size")]
    changes = [f"{key} was {manifest.get(key)}, is {now[key]}" for key in differ]
    return f"not bit-exact: {'; '.join(changes)}" if changes else None


def _surroundings() -> dict[str, Any]:
    """Returns what bits depend on besides the checkpoint: torch, the CPU's instructions, threads and processes."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return {
        "torch": str(torch.__version__),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "world_size": torch.distributed.get_world_size() if several else 1,
    }


def _manifest(step: int, files: dict[str, Any], groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
    devices = {tensor.device.type for tensors in groups.values() for tensor in tensors.values()}
    software = {name: version for name, version in versions().items() if name in ("nca3d", "numpy", "python")}
    # The pool stays on the CPU even where the rule trains on a GPU.
    device = max(devices - {"cpu"}, default="cpu")
    return {"format": FORMAT, "step": step, "files": files, "device": device} | software | _surroundings()


def _check_tensors(where: Path, group: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuses what could not be read back, and NaN: a run must not be able to go on from it."""
    if not _GROUP.fullmatch(group):
        raise InputError(where, "group", repr(group), "lower-case letters, digits and _")
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            found = tensor.layout if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
            raise InputError(where, f"{group}.{name}", found, "a dense tensor")
        if not _all_finite(tensor):
            raise NotFiniteError(f"{where}: not saved: {group}.{name} is not finite; the older checkpoints are untouched")


def _all_finite(tensor: Tensor) -> bool:
    # One NaN or infinity makes the sum one, which is found thirty times as fast; a finite sum that overflows is looked into.
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _bytes(tensors: Mapping[str, Tensor]) -> bytes:
    here = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # safetensors refuses views and shared storage; copies are neither. A large pool is neither, too, and need not be copied.
    places = Counter(tensor.untyped_storage().data_ptr() for tensor in here.values())
    for name, tensor in here.items():
        storage = tensor.untyped_storage()
        if places[storage.data_ptr()] > 1 or storage.nbytes() != tensor.nbytes:
            here[name] = tensor.clone()
    # safetensors writes its bytes and then copies them, and ends the process, or hangs in its own panic, where there is no
    # memory for either; numpy raises, and whoever saves can tell. No page of it is touched.
    np.empty(2 * sum(tensor.nbytes for tensor in here.values()) + (16 << 20), np.uint8)
    return safetensors.torch.save(here)


def _write(path: Path, data: bytes) -> dict[str, Any]:
    """Writes a file and returns its entry for the manifest."""
    # Side by side: neither holds the interpreter, and a large pool takes a second for each.
    with ThreadPoolExecutor(1) as thread:
        entry = thread.submit(file_entry, data)
        path.write_bytes(data)
        return entry.result()


def make_room(run_folder: Path) -> list[Path]:
    """Removes all checkpoints but the newest that verifies, on a full disk; returns what was removed, which may be nothing.

    Args:
        run_folder: the run's folder, whose lock is held.
    """
    folder, good = Path(run_folder) / "checkpoints", None
    sweep(folder, r"step-\d+")
    older = []
    for path in _newest_first(folder) if folder.is_dir() else []:
        if good is None:
            with contextlib.suppress(InputError):
                good = _read(path)
        elif not path.is_symlink():
            older.append(path)
    for path in older:
        remove_folder(path)
    return older


def steps(run_folder: Path) -> list[int]:
    """Returns the steps that there are checkpoints of, the newest first and the first one too; none is looked into."""
    found = [_step_of(path) for path in _newest_first(Path(run_folder) / "checkpoints")]
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
    for path in _newest_first(Path(run_folder) / "checkpoints"):
        if _step_of(path) > step and not path.is_symlink():
            remove_folder(path)


def _tidy(folder: Path, step: int, keep: int, every: int) -> None:
    """Removes checkpoints older than the newest `keep`, counted back from the one just written, which is known to be good."""
    sweep(folder, r"step-\d+")
    # Failing to tidy up is no reason to end a run.
    with contextlib.suppress(OSError):
        older = [path for path in _newest_first(folder) if _step_of(path) <= step and not path.suffix]
        regular = [path for path in older if _step_of(path) % every == 0][:keep]
        for path in older[keep:]:
            if path not in regular:
                remove_folder(path)


def _step_of(path: Path) -> int:
    """Returns the step in a folder's name; −1 for another name."""
    name = _STEP.fullmatch(path.name)
    return int(name[1]) if name else -1


def _newest_first(folder: Path) -> list[Path]:
    """Returns the folders of checkpoints by falling step; of one step, a replaced folder (.old-PID) comes last."""
    checkpoints = [path for path in folder.iterdir() if _step_of(path) >= 0]
    return sorted(checkpoints, key=lambda path: (_step_of(path), not path.suffix), reverse=True)


def _read(folder: Path, check: Callable[[Checkpoint], None] | None = None) -> Checkpoint:
    """Returns a verified checkpoint.

    Raises:
        InputError: a file is missing or changed, a number is not finite, or `check` refuses what was saved.
    """
    manifest = _read_manifest(folder)
    groups: dict[str, dict[str, Tensor]] = {}
    scalars: dict[str, Any] = {}
    for name, entry in manifest["files"].items():
        data = read_verified(folder / MANIFEST, name, entry)
        # All other files are tensors.
        if name == SCALARS:
            scalars = parse_table(data, folder / name)
            continue
        groups[name.removesuffix(".safetensors")] = tensors = load_tensors(data, folder / name)
        for key, tensor in tensors.items():
            if not _all_finite(tensor):
                raise InputError(folder / name, key, "numbers that are not finite", "finite numbers")
    if SCALARS not in manifest["files"]:
        raise InputError(folder, SCALARS, "no such file in the manifest", "a checkpoint with its scalars")
    saved = Checkpoint(manifest["step"], groups, scalars, manifest, folder)
    if check:
        check(saved)
    return saved


def check_training(saved: Checkpoint) -> None:
    """Checks that a checkpoint holds what a training saves; see `load`.

    Raises:
        InputError: its scalars have another shape, belong to another step or contradict one another, or it has no rule.
    """
    check_scalars(saved.scalars, saved.path / SCALARS, saved.step)
    if "rule" not in saved.groups:
        raise InputError(saved.path, "rule.safetensors", "no such file", "a checkpoint with the rule's tensors")


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the verified manifest.

    Raises:
        InputError: it is missing or changed, or doesn't fit the folder.
    """
    path = folder / MANIFEST
    if not os.path.exists(path):
        raise InputError(folder, MANIFEST, "no such file", "a checkpoint that was written to its end")
    manifest = read_sealed(path, _KEYS, FORMAT)
    # A folder that was copied under another name (−1) is fine; one that was renamed to another step is not.
    if _step_of(folder) not in (-1, manifest["step"]):
        raise InputError(path, "step", manifest["step"], f"{_step_of(folder)}, as the folder is named")
    # Tensors that no digest covers must not pass for a part of the checkpoint.
    unlisted = {file.name for file in folder.glob("*.safetensors")} - manifest["files"].keys()
    if unlisted:
        raise InputError(folder, min(unlisted), "a file that the manifest does not list", ", ".join(manifest["files"]))
    return manifest
