"""Checkpoint folders `checkpoints/step-NNNNNN/` that survive kill -9, a full disk and a flipped bit.

Tensors lie in safetensors, scalars in JSON (no pickle), and a manifest written last has the sha256 of each file:
neither torch.load nor safetensors notices a flipped bit. A folder is written beside, synced, then renamed: it is there
whole or not at all (`files.py`). The newest is the one with the highest step, whatever the clock says.
"""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from nca3d.errors import InputError, InputErrors, RunError
from nca3d.files import (
    atomic_folder,
    file_entry,
    load_tensors,
    parse_table,
    read_sealed,
    read_verified,
    remove_folder,
    seal,
    sweep,
)
from nca3d.versions import versions

FORMAT = 1
MANIFEST, SCALARS = "manifest.json", "scalars.json"
_STEP = re.compile(r"step-(\d{6,18})(\.old-\d+)?")
_GROUP = re.compile(r"[a-z][a-z0-9_]*")
_KEYS = {"format": int, "step": int, "files": dict, "torch": str, "threads": int, "world_size": int, "sha256": str}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was verified. `skipped` has the newer ones that were not good, each with the reason."""

    step: int
    groups: dict[str, dict[str, Tensor]]
    scalars: dict[str, Any]
    manifest: dict[str, Any]
    path: Path
    skipped: tuple[tuple[Path, str], ...] = ()


def save(
    run_folder: Path, step: int, groups: Mapping[str, Mapping[str, Tensor]], scalars: Mapping[str, Any], *, keep: int
) -> Path:
    """Write `checkpoints/step-NNNNNN/`, then remove all but the last `keep` and what killed saves left behind.

    Args:
        run_folder: the run's folder, whose lock is held.
        step: 0, 1, …; a folder of the same step is replaced.
        groups: name -> tensors, one file each; any layout in memory, shared storage allowed.
        scalars: what JSON can hold.
        keep: at least 2.

    Raises:
        InputError: something that can't be saved: a sparse tensor, a scalar that JSON can't hold.
        RunError: the disk is full or fails, or a tensor is not finite; the older checkpoints are untouched.
    """
    if keep < 2:
        raise InputError("checkpoint", "keep", keep, "at least 2: the newest may turn out damaged")
    final = Path(run_folder) / "checkpoints" / f"step-{step:06d}"
    try:
        text = json.dumps(dict(scalars), indent=1)
    except (TypeError, ValueError) as error:
        raise InputError("checkpoint", "scalars", error, "what JSON can hold") from None
    for group, tensors in groups.items():
        _check_tensors(final, group, tensors)
    needed = len(text) + sum(t.numel() * t.element_size() + 200 for tensors in groups.values() for t in tensors.values())
    try:
        with atomic_folder(final) as folder:
            files = {f"{group}.safetensors": _write(folder / f"{group}.safetensors", _bytes(groups[group])) for group in groups}
            files[SCALARS] = _write(folder / SCALARS, text.encode())
            (folder / MANIFEST).write_bytes(seal(_manifest(step, files, groups)))
    except OSError as error:
        free = shutil.disk_usage(run_folder).free
        raise RunError(
            f"{final}: not saved: {error.strerror or error}; {needed:,} bytes needed, {free:,} free; "
            "the older checkpoints are untouched"
        ) from error
    _tidy(final.parent, step, keep)
    return final


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """The newest checkpoint of a run folder that verifies, or the one in a `step-NNNNNN` folder.

    Those that are skipped are told on stderr, each with its reason.

    Raises:
        InputErrors: there is none, or none is good: a line for each, with the reason.
    """
    place = Path(path)
    if not place.is_dir():
        found = "a file" if place.exists() else "no such folder"
        raise InputError(place, "checkpoint", found, "a run folder or one of its checkpoints/step-NNNNNN")
    if (place / MANIFEST).exists() or _STEP.fullmatch(place.name):
        return _read(place)
    bad: list[tuple[Path, InputError]] = []
    for candidate in _newest_first(place / "checkpoints" if (place / "checkpoints").is_dir() else place):
        try:
            if candidate.is_symlink():
                raise InputError(candidate, "folder", "a link", "a folder of this run, or its path given outright")
            good = _read(candidate)
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


def bit_exact_warning(manifest: Mapping[str, Any], device: str | None = None) -> str | None:
    """Why a run resumed here, on this device, is not bit for bit the run that was saved; None when it is."""
    now = _surroundings() | ({"device": device} if device else {})
    changes = [f"{key} was {manifest.get(key)}, is {now[key]}" for key in now if manifest.get(key) != now[key]]
    return f"not bit-exact: {'; '.join(changes)}" if changes else None


def _surroundings() -> dict[str, Any]:
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return {
        "torch": str(torch.__version__),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "world_size": torch.distributed.get_world_size() if distributed else 1,
    }


def _manifest(step: int, files: dict[str, Any], groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
    devices = {tensor.device.type for tensors in groups.values() for tensor in tensors.values()}
    made = {name: version for name, version in versions().items() if name in ("nca3d", "numpy", "python")}
    device = max(devices - {"cpu"}, default="cpu")
    return {"format": FORMAT, "step": step, "files": files, "device": device} | made | _surroundings()


def _check_tensors(where: Path, group: str, tensors: Mapping[str, Tensor]) -> None:
    if not _GROUP.fullmatch(group):
        raise InputError(where, "group", repr(group), "lower-case letters, digits and _")
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            found = tensor.layout if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
            raise InputError(where, f"{group}.{name}", found, "a dense tensor")
        if not torch.isfinite(tensor).all():
            raise RunError(f"{where}: not saved: {group}.{name} is not finite; the older checkpoints are untouched")


def _bytes(tensors: Mapping[str, Tensor]) -> bytes:
    # safetensors refuses views and shared storage; a contiguous copy of each is neither
    return safetensors.torch.save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})


def _write(path: Path, data: bytes) -> dict[str, Any]:
    path.write_bytes(data)
    return file_entry(data)


def _tidy(folder: Path, step: int, keep: int) -> None:
    """Remove what is older than the last `keep`, counted back from the one just written, which is known to be good."""
    sweep(folder, r"step-\d+")
    with contextlib.suppress(OSError):
        older = [path for path in _newest_first(folder) if _step_of(path) <= step and not path.suffix]
        for path in older[keep:]:
            remove_folder(path)


def _step_of(path: Path) -> int:
    name = _STEP.fullmatch(path.name)
    return int(name[1]) if name else -1


def _newest_first(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if _step_of(path) >= 0]
    return sorted(found, key=lambda path: (_step_of(path), not path.suffix), reverse=True)


def _read(folder: Path) -> Checkpoint:
    manifest = _read_manifest(folder)
    groups: dict[str, dict[str, Tensor]] = {}
    scalars: dict[str, Any] = {}
    for name, entry in manifest["files"].items():
        data = read_verified(folder / MANIFEST, name, entry)
        if name == SCALARS:
            scalars = parse_table(data, folder / name)
            continue
        groups[name.removesuffix(".safetensors")] = tensors = load_tensors(data, folder / name)
        for key, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise InputError(folder / name, key, "numbers that are not finite", "finite numbers")
    if SCALARS not in manifest["files"]:
        raise InputError(folder, SCALARS, "nothing", "a file")
    return Checkpoint(manifest["step"], groups, scalars, manifest, folder)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not os.path.exists(path):
        raise InputError(folder, MANIFEST, "no such file", "a checkpoint that was written to its end")
    manifest = read_sealed(path, _KEYS, FORMAT)
    if _step_of(folder) not in (-1, manifest["step"]):
        raise InputError(path, "step", manifest["step"], f"{_step_of(folder)}, as the folder is named")
    strangers = {file.name for file in folder.glob("*.safetensors")} - manifest["files"].keys()
    if strangers:
        raise InputError(folder, min(strangers), "a file that the manifest does not list", ", ".join(manifest["files"]))
    return manifest
