"""Writes the folder by which a cube can be asked without its training (`record.py` says what is in it)."""

import os
import platform
import time
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nca3d
from nca3d.cube.export.record import (
    FORMAT,
    GOALS,
    GRAPH,
    RECORD,
    SAMPLES,
    THRESHOLD,
    WEIGHTS,
    is_surface_folder,
    listed,
    read_record,
)
from nca3d.errors import InputError, RunError
from nca3d.files import atomic_folder, seal

if TYPE_CHECKING:
    from nca3d.cube.ask import Cube

# How far ONNX Runtime's surface may be from PyTorch's after a whole rollout, relative to the surface's largest number: both
# compute in float32, but sum in another order.
FURTHEST = 1e-4


class Written(NamedTuple):
    """A folder that was written.

    Attributes:
        folder: Where it is.
        size: The bytes of all its files.
        seconds: How many seconds it took.
        furthest: How far ONNX Runtime's surface is from PyTorch's, relative to the surface's largest number.
    """

    folder: Path
    size: int
    seconds: float
    furthest: float


def check_surface(folder: Path) -> None:
    """Checks, before torch loads, whether `write_surface` can write to a folder.

    Raises:
        InputError: A package is missing, or the folder can't be written to or holds something else.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise InputError("--surface", "extra", f"no {', '.join(missing)}", "pip install 'nca3d[export]'")
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError("--surface", "folder", f"{folder}, which is a file", "a folder, or a name that is free")
    if folder.is_symlink():
        raise InputError("--surface", "folder", f"{folder}, which is a link", f"where it leads: {folder.resolve()}")
    if folder.is_dir() and (others := _others(folder)):
        found = f"{folder} with other things in it: {', '.join(others[:3])}"
        raise InputError("--surface", "folder", found, "a name that is free, or an older export")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise InputError("--surface", "folder", folder, "a name in a folder that exists")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError("--surface", "folder", f"{parent}, which can't be written to", "a folder that can")


def _others(folder: Path) -> list[str]:
    """Returns the paths in a folder that are not those of an older export: replacing the folder would destroy them."""
    try:
        own = {RECORD, *read_record(folder)["files"]} if is_surface_folder(folder) else set()
    except InputError:
        own = set()
    # A link to a folder counts as a thing of its own, and is not followed.
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    return sorted(set(files) - own)


def write_surface(cube: "Cube", folder: Path) -> Written:
    """Writes the folder under another name, compares it with PyTorch and renames it: it is there whole or not at all.

    Args:
        cube: The cube of a run.
        folder: Where to write; an older export there is replaced.

    Returns:
        What was written, and how far its answers are from PyTorch's.

    Raises:
        InputError: The folder can't be written; see `check_surface`.
        RunError: The disk is full or fails, or ONNX Runtime disagrees with PyTorch; nothing is left behind.
    """
    check_surface(folder)
    start = time.perf_counter()
    try:
        with atomic_folder(folder) as beside:
            _write_parts(cube, beside)
            # Last: the record lists every other file.
            (beside / RECORD).write_bytes(seal({**_record(cube), "files": listed(beside)}))
            furthest = _compare(cube, beside)
            if not furthest <= FURTHEST:  # "not <=": NaN is a failure too
                found = f"ONNX Runtime is {furthest:.1e} of max|·| from PyTorch, allowed {FURTHEST:.0e}"
                raise RunError(f"{folder}: not exported: {found}")
            size = sum(path.stat().st_size for path in beside.rglob("*") if path.is_file())
    except OSError as error:
        raise RunError(f"{folder}: not written: {error.strerror or error}; nothing was left behind") from error
    return Written(folder, size, time.perf_counter() - start, furthest)


def _write_parts(cube: "Cube", folder: Path) -> None:
    """Writes every file but the record."""
    from nca3d.cube.export.graph import cube_graph
    from nca3d.cube.lesson import save_teacher
    from nca3d.cube.teacher.tensors import pack

    (folder / WEIGHTS).write_bytes(pack({name: tensor.detach() for name, tensor in cube.rule.state_dict().items()}, {}))
    # After the weights: the graph points to their places in the file.
    (folder / GRAPH).write_bytes(cube_graph(cube.rule, folder / WEIGHTS, cube.teacher.width))
    (folder / GOALS).write_bytes(pack({"goals": cube.goals}, {}))
    save_teacher(folder, cube.teacher, cube.answers)


def _record(cube: "Cube") -> dict[str, Any]:
    """Returns the record without its list of files."""
    import onnx
    import torch

    from nca3d.rules import RULES

    rule = cube.rule
    versions = {"nca3d": nca3d.__version__, "torch": str(torch.__version__), "onnx": onnx.__version__}
    name = next((name for name, kind in RULES.items() if kind is type(rule)), type(rule).__name__)
    return {
        "format": FORMAT,
        "id": cube.model,
        "rule": {"name": name, "options": rule.spec()},
        # The name alone: its path says something about this machine, and nothing on any other.
        "card": {**rule.card, "questions": Path(rule.card.get("questions", "")).name},
        "horizon": int(rule.card["horizon"]),
        "size": list(rule.size),
        "fire_rate": float(rule.fire_rate),
        "cells": prod(rule.size),
        "weights": sum(weight.numel() for weight in rule.parameters()),
        "embedding": cube.teacher.width,
        "pixels": prod(rule.size[1:]),
        "teacher": cube.teacher.id,
        "versions": {**versions, "python": platform.python_version()},
        **({THRESHOLD: cube.threshold.record()} if cube.threshold else {}),
        SAMPLES: [sample._asdict() for sample in cube.samples],
    }


def _compare(cube: "Cube", folder: Path) -> float:
    """Returns the largest difference between the surfaces of ONNX Runtime and PyTorch, relative to the largest number.

    The questions are three of the answers' texts: those an export has on every machine, without its training set.
    """
    from nca3d.cube.export.folder import SurfaceCube

    questions = cube.teacher.embed([*cube.answers, *cube.answers, *cube.answers][:3])
    reference = cube.say(questions)
    surfaces = SurfaceCube.load(folder).say(questions)
    return float((surfaces - reference).abs().max() / reference.abs().max().clamp(min=1e-12))
