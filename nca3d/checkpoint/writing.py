"""Writes a checkpoint whole or not at all, and refuses what nobody could go on from."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from nca3d.checkpoint.folder import FORMAT, MANIFEST, SCALARS, all_finite
from nca3d.checkpoint.keeping import tidy
from nca3d.checkpoint.surroundings import surroundings
from nca3d.errors import InputError, NotFiniteError, RunError
from nca3d.files import atomic_folder, file_entry, refuse_odd, seal
from nca3d.versions import versions

_GROUP = re.compile(r"[a-z][a-z0-9_]*")


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
        # Another folder that a link leads to would get this run's checkpoints, and lose its own to `tidy`.
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
    tidy(final.parent, step, keep, every)
    return final


def _manifest(step: int, files: dict[str, Any], groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
    devices = {tensor.device.type for tensors in groups.values() for tensor in tensors.values()}
    software = {name: version for name, version in versions().items() if name in ("nca3d", "numpy", "python")}
    # The pool stays on the CPU even where the rule trains on a GPU.
    device = max(devices - {"cpu"}, default="cpu")
    return {"format": FORMAT, "step": step, "files": files, "device": device} | software | surroundings()


def _check_tensors(where: Path, group: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuses what could not be read back, and NaN: a run must not be able to go on from it."""
    if not _GROUP.fullmatch(group):
        raise InputError(where, "group", repr(group), "lower-case letters, digits and _")
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            found = tensor.layout if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
            raise InputError(where, f"{group}.{name}", found, "a dense tensor")
        if not all_finite(tensor):
            raise NotFiniteError(f"{where}: not saved: {group}.{name} is not finite; the older checkpoints are untouched")


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
