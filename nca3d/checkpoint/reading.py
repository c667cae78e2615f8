"""Reads and verifies checkpoints: the newest of a run that can be used, or one that is named."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from nca3d.checkpoint.folder import FORMAT, MANIFEST, SCALARS, STEP, Checkpoint, all_finite, newest_first, step_of
from nca3d.errors import InputError, InputErrors
from nca3d.files import load_tensors, parse_table, read_sealed, read_verified
from nca3d.schema.saved import check_scalars

_KEYS = {"format": int, "step": int, "files": dict, "torch": str, "threads": int, "world_size": int, "sha256": str}


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
    if (place / MANIFEST).exists() or STEP.fullmatch(place.name):
        return read(place, check)
    bad: list[tuple[Path, InputError]] = []
    for candidate in newest_first(place / "checkpoints" if (place / "checkpoints").is_dir() else place):
        if up_to is not None and step_of(candidate) > up_to:
            continue
        try:
            # A link would make a run go on from another run's state without a word.
            if candidate.is_symlink():
                raise InputError(candidate, "folder", "a link", "a folder of this run, or its path given outright")
            good = read(candidate, check)
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


def read(folder: Path, check: Callable[[Checkpoint], None] | None = None) -> Checkpoint:
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
            if not all_finite(tensor):
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
    if step_of(folder) not in (-1, manifest["step"]):
        raise InputError(path, "step", manifest["step"], f"{step_of(folder)}, as the folder is named")
    # Tensors that no digest covers must not pass for a part of the checkpoint.
    unlisted = {file.name for file in folder.glob("*.safetensors")} - manifest["files"].keys()
    if unlisted:
        raise InputError(folder, min(unlisted), "a file that the manifest does not list", ", ".join(manifest["files"]))
    return manifest
