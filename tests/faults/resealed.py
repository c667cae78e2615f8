"""Checkpoints that were sealed with other contents: a digest says that a file is as it was written, not that it makes sense."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from nca3d.files import file_entry, load_tensors, seal

# Whatever JSON can say where another value was expected.
VALUES = [
    None,
    True,
    -1,
    0,
    1.5,
    1e308,
    2**70,
    "x",
    "",
    [],
    {},
    [1],
    [[1]],
    {"a": 1},
    float("nan"),
    "y" * 10**5,
    10**9,
    "\x1b[31m\n",
]
DTYPES = (torch.int8, torch.float64, torch.complex64, torch.float16, torch.bool, torch.int64, torch.bfloat16)
# What only tells of a run, or may be anything: options are for the rule, figures for whoever reads them.
FREE = {"config", "ran"}

Change = tuple[str, dict[str, Any]]


def changes(step: Path) -> Iterator[Change]:
    """Each way in which a checkpoint is changed: what is changed, and what `resealed` takes."""
    scalars = json.loads((step / "scalars.json").read_text())
    for path in _paths(scalars):
        if path[0] in FREE:
            continue
        for value in VALUES:
            yield f"{_name(path)} = {str(value)[:20]!r}", {"scalars": _with(scalars, path, value)}
        yield f"{_name(path)} left out", {"scalars": _without(scalars, path)}
    yield "an unknown field", {"scalars": {**scalars, "unknown": 1}}
    for file in sorted(step.glob("*.safetensors")):
        tensors = load_tensors(file.read_bytes(), file)
        for what, changed in _tensors(tensors):
            yield f"{file.name}: {what}", {"files": {file.name: changed}}


def resealed(step: Path, scalars: Any = None, files: dict[str, dict[str, Tensor]] | None = None) -> None:
    """Writes other contents into a checkpoint, and a manifest that vouches for them."""
    manifest = json.loads((step / "manifest.json").read_text())
    written = {
        name: safetensors.torch.save({key: t.contiguous().clone() for key, t in group.items()})
        for name, group in (files or {}).items()
    }
    if scalars is not None:
        written["scalars.json"] = json.dumps(scalars).encode()
    for name, data in written.items():
        (step / name).write_bytes(data)
        manifest["files"][name] = file_entry(data)
    (step / "manifest.json").write_bytes(seal(manifest))


def only_newest(run: Path, place: Path) -> Path:
    """A copy of a run with its newest checkpoint alone, so that there is none to fall back on; returns that checkpoint."""
    shutil.copytree(run, place)
    *older, newest = sorted((place / "checkpoints").iterdir())
    for folder in (*older, place / "first"):
        shutil.rmtree(folder, ignore_errors=True)
    return newest


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _paths(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = tree.items() if isinstance(tree, dict) else list(enumerate(tree))[:2] if isinstance(tree, list) else ()
    for key, value in entries:
        yield (*at, key)
        yield from _paths(value, (*at, key))


def _with(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    tree = place = copy.deepcopy(tree)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return tree


def _without(tree: Any, path: tuple[Any, ...]) -> Any:
    tree = place = copy.deepcopy(tree)
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return tree


def _tensors(tensors: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    names = list(tensors)
    for name in dict.fromkeys([*names[:2], *names[-2:]]):
        one, rest = tensors[name], {key: value for key, value in tensors.items() if key != name}
        for dtype in DTYPES:
            if one.dtype != dtype:
                yield f"{name} as {dtype}", {**tensors, name: one.to(dtype)}
        yield f"{name} with an axis more", {**tensors, name: one[None]}
        yield f"{name} empty", {**tensors, name: one.flatten()[:0]}
        yield f"{name} left out", rest
        yield f"{name} called otherwise", {**rest, "nobody": one}
    yield "an unknown tensor", {**tensors, "nobody": torch.zeros(3)}
    yield "no tensor", {}
