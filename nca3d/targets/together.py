"""Several bodies for one rule: kinds and colours that all of them share, one lattice, and where it can be one first cell.

Each body is read as it would be alone. Bodies of kinds get the kinds of all, by name; where some have colours, all are shown in
colours. In a lattice that is "auto" each has its own size, and stands so that all grow from one cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError
from nca3d.files import names_path
from nca3d.targets.doors import load
from nca3d.targets.kept import KeptTarget
from nca3d.targets.target import Size, Target, Wanted

# Free cells at each face of the lattice around all bodies.
MARGIN = 1


@dataclass(frozen=True, eq=False)
class Bodies:
    """Several bodies for one rule, in one lattice and with channels of one meaning.

    Attributes:
        each: The bodies, at least one.
        kept: The files that a run keeps of them; () = they were read from elsewhere.
    """

    each: tuple[Target, ...]
    kept: tuple[KeptTarget, ...] = ()

    @property
    def size(self) -> Size:
        """The lattice (D, H, W)."""
        return self.each[0].size

    @property
    def visible(self) -> int:
        """The number of visible channels: 3 for "rgb", K for "classes"."""
        return self.each[0].visible

    @property
    def kind(self) -> str:
        """The kind of their visible channels, "rgb" or "classes"."""
        return self.each[0].kind

    @property
    def names(self) -> tuple[str, ...]:
        """What the bodies are called, each differently."""
        return tuple(body.name for body in self.each)


def load_several(names: Sequence[str], size: Wanted, **options: object) -> Bodies:
    """Returns the bodies of these names and files, in one lattice and with the kinds of all.

    Args:
        names: Shipped names and paths of files, each as `load` takes it.
        size: The lattice (D, H, W) that each is fitted to; "auto" = each has its own size, in one lattice that holds all.
        **options: Options of `load` for all of them.

    Raises:
        InputError: A body can't be read, or there are more kinds than a label can name.
    """
    bodies = [load(name, size=size, **options) for name in names]
    # A body that a run keeps has a name of its own.
    own = [body.name if name.endswith(".safetensors") else name for body, name in zip(bodies, names, strict=True)]
    return together(dict(zip(called(own), bodies, strict=True)), size)


def together(bodies: Mapping[str, Target], size: Wanted) -> Bodies:
    """Returns bodies by name in one lattice and with the kinds of all.

    Args:
        bodies: The bodies by what they are to be called.
        size: The lattice (D, H, W) that all of them have; "auto" = the smallest in which all grow from one cell.

    Raises:
        InputError: There is none, a body has another lattice, or there are more kinds than a label can name.
    """
    if not bodies:
        raise InputError("targets", "bodies", "none", "one or more")
    alike = common_kinds([replace(body, name=name) for name, body in bodies.items()])
    placed = one_start(alike) if size == "auto" else alike
    for body in placed:
        if size not in ("auto", body.size):
            raise InputError("targets", body.name, f"a lattice of {body.size}", f"{size}, as the others")
    return Bodies(tuple(placed))


def called(names: Sequence[str]) -> list[str]:
    """Returns what bodies are called: shipped names as they are, files without folder and suffix; those alike are numbered."""
    plain = [_stem(Path(name).name) or name if names_path(name) else name for name in names]
    # One that is there once keeps its name, even where it looks like a number of another.
    taken, found = {name for name in plain if plain.count(name) == 1}, []
    for name in plain:
        if plain.count(name) > 1:
            name = next(one for number in count(1) if (one := f"{name}-{number}") not in taken)
        taken.add(name)
        found.append(name)
    return found


def _stem(file: str) -> str:
    """Returns a file's name without its suffix; packed scans have two."""
    packed = file.lower().endswith(".gz") and Path(file).with_suffix("").suffix
    return Path(Path(file).stem).stem if packed else Path(file).stem


def common_kinds(bodies: Sequence[Target]) -> list[Target]:
    """Returns the bodies with channels of one meaning: the kinds of all by name, or colours where some body has colours.

    Raises:
        InputError: There are more kinds than a label can name (255).
    """
    if all(body.kind == "rgb" for body in bodies):
        return list(bodies)
    if any(body.kind == "rgb" for body in bodies):
        return [_in_colours(body) for body in bodies]
    colours: dict[str, np.ndarray] = {}
    for body in bodies:
        palette = np.zeros((body.visible, 3)) if body.palette is None else np.asarray(body.palette)
        for name, colour in zip(body.names, palette, strict=True):
            # A kind that two bodies show in two colours has that of the first.
            colours.setdefault(name, colour)
    if len(colours) > 256:
        raise InputError("targets", "kinds", f"{len(colours) - 1} in all", "at most 255")
    names, palette = tuple(colours), np.stack(list(colours.values()))
    return [replace(body, values=_with_kinds(body, names), names=names, palette=palette) for body in bodies]


def _with_kinds(body: Target, names: tuple[str, ...]) -> Any:
    """Returns the values of a body, (K + 1, D, H, W), with a channel for each of these kinds."""
    values = body.values.new_zeros(len(names) + 1, *body.size)
    for name, channel in zip(body.names, body.values[:-1], strict=True):
        values[names.index(name)] = channel
    values[-1] = body.values[-1]
    return values


def _in_colours(body: Target) -> Target:
    """Returns a body of kinds in the colours of its palette."""
    import torch

    if body.kind == "rgb":
        return body
    rgba = torch.from_numpy(body.rgba()).movedim(-1, 0)
    return replace(body, values=torch.cat([rgba[:3] * rgba[3:], rgba[3:]]), kind="rgb", names=(), palette=None)


def one_start(bodies: Sequence[Target], margin: int = MARGIN) -> list[Target]:
    """Returns the bodies in the smallest lattice in which all of them have one first cell, with a margin around all."""
    boxes = [body.occupied.cpu().nonzero() for body in bodies]
    starts = np.array([body.start for body in bodies])
    before = np.max([start - box.amin(0).numpy() for start, box in zip(starts, boxes, strict=True)], axis=0) + margin
    after = np.max([box.amax(0).numpy() - start for start, box in zip(starts, boxes, strict=True)], axis=0) + margin
    size: Size = tuple(int(n) for n in before + after + 1)  # type: ignore[assignment]
    first: Size = tuple(int(n) for n in before)  # type: ignore[assignment]
    return [_moved(body, tuple(before - start), size, first) for body, start in zip(bodies, starts, strict=True)]


def _moved(body: Target, by: Sequence[int], size: Size, first: Size) -> Target:
    """Returns a body moved into another lattice; what is outside of it is empty in both."""
    values = body.values.new_zeros(body.values.shape[0], *size)
    # Empty cells of a body of kinds are of kind 0.
    if body.kind == "classes":
        values[0] = 1
    occupied = body.occupied.new_zeros(size)
    cells = body.occupied.nonzero()
    there = cells + cells.new_tensor([int(n) for n in by])
    values[:, *there.t()] = body.values[:, *cells.t()]
    occupied[*there.t()] = True
    return replace(body, values=values, occupied=occupied, first=first)
