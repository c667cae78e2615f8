"""Write the folder that a cube can be asked by without its training (`record.py` says what is in it)."""

import os
import platform
import time
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nca3d
from nca3d.cube.export.record import FORMAT, GOALS, GRAPH, RECORD, WEIGHTS, is_surface_folder, listed, read_record
from nca3d.errors import InputError, RunError
from nca3d.files import atomic_folder, seal

if TYPE_CHECKING:
    from nca3d.cube.ask import Cube

# How far ONNX Runtime may be from PyTorch over a whole thinking, of the largest number said.
FURTHEST = 1e-4


class Written(NamedTuple):
    """The folder, its bytes, the seconds that it took, and how far ONNX Runtime is from PyTorch, of max|·|."""

    folder: Path
    size: int
    seconds: float
    furthest: float


def check_surface(folder: Path) -> None:
    """What `write_surface` would refuse, found out before torch loads.

    Raises:
        InputError: an extra that is missing, a place that can't be written or that holds something else.
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
    """What is in a folder besides an older export."""
    try:
        own = {RECORD, *read_record(folder)["files"]} if is_surface_folder(folder) else set()
    except InputError:
        own = set()
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    return sorted(set(found) - own)


def write_surface(cube: "Cube", folder: Path) -> Written:
    """Write it beside, compare it with PyTorch, and rename it: it is there whole or not at all.

    Args:
        cube: of a run.
        folder: an older one of the same name is replaced.

    Raises:
        InputError: see `check_surface`.
        RunError: the disk is full or fails, or ONNX Runtime says something else than PyTorch; nothing is left behind.
    """
    check_surface(folder)
    start = time.perf_counter()
    try:
        with atomic_folder(folder) as beside:
            _write_parts(cube, beside)
            (beside / RECORD).write_bytes(seal({**_record(cube), "files": listed(beside)}))
            furthest = _compare(cube, beside)
            if not furthest <= FURTHEST:
                found = f"ONNX Runtime is {furthest:.1e} of max|·| from PyTorch, allowed {FURTHEST:.0e}"
                raise RunError(f"{folder}: not kept: {found}")
            size = sum(path.stat().st_size for path in beside.rglob("*") if path.is_file())
    except OSError as error:
        raise RunError(f"{folder}: not written: {error.strerror or error}; nothing was left behind") from error
    return Written(folder, size, time.perf_counter() - start, furthest)


def _write_parts(cube: "Cube", folder: Path) -> None:
    from nca3d.cube.export.graph import cube_graph
    from nca3d.cube.lesson import keep_teacher
    from nca3d.cube.teacher.tensors import pack

    (folder / WEIGHTS).write_bytes(pack({name: tensor.detach() for name, tensor in cube.rule.state_dict().items()}, {}))
    (folder / GRAPH).write_bytes(cube_graph(cube.rule, folder / WEIGHTS, cube.teacher.width))
    (folder / GOALS).write_bytes(pack({"goals": cube.goals}, {}))
    keep_teacher(folder, cube.teacher, cube.answers)


def _record(cube: "Cube") -> dict[str, Any]:
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
        "card": {**rule.card, "questions": Path(rule.card.get("questions", "")).name},  # the path is this machine's own
        "horizon": int(rule.card["horizon"]),
        "size": list(rule.size),
        "fire_rate": float(rule.fire_rate),
        "cells": prod(rule.size),
        "weights": sum(weight.numel() for weight in rule.parameters()),
        "embedding": cube.teacher.width,
        "pixels": prod(rule.size[1:]),
        "teacher": cube.teacher.id,
        "versions": {**versions, "python": platform.python_version()},
    }


def _compare(cube: "Cube", folder: Path) -> float:
    """How far ONNX Runtime is from PyTorch, asked three answers as if they were questions."""
    from nca3d.cube.export.folder import SurfaceCube

    asked = cube.teacher.embed([*cube.answers, *cube.answers, *cube.answers][:3])
    wanted = cube.say(asked)
    said = SurfaceCube.load(folder).say(asked)
    return float((said - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
