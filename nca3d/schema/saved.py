"""What a training saves beside its tensors: the file `scalars.json` of a checkpoint, with the rule's record and its card.

What is optional came after version 0.1.0, or is of some rules alone: others lack it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nca3d.errors import InputError
from nca3d.schema.record import Open, check_record, optional, required

# The longest side of a lattice, and the most iterations and steps that a config may ask for.
LONGEST, MOST = 100_000, 2**53
# Files of a run folder that keep a body.
_KEPT = re.compile(r"target(-\d{1,4})?\.safetensors")


@dataclass(frozen=True)
class RuleRecord:
    """What makes a rule anew, without its weights; see `training.build.rule_record`. Its constructor looks at the options."""

    name: str = required("the name that it is registered by")
    options: Any = required("keyword arguments of its constructor")


@dataclass(frozen=True)
class KeptBody:
    """Where a run keeps the body that it grows; see `targets.kept`."""

    file: str = required("the file's name, in the run folder")
    size: int = required("its bytes", low=0)
    sha256: str = required("its digest")


@dataclass(frozen=True)
class OneBody(Open):
    """What it takes to grow and judge one body."""

    name: str = optional("its name among several", may_be_empty=True)
    target: str | None = optional("name or file of the body", may_be_empty=True)
    target_options: dict[str, Any] = optional("options of the body")
    body: KeptBody = optional("where the run keeps it")
    start: tuple[int, int, int] = optional("the first cell (d, h, w)", low=0, high=LONGEST)


@dataclass(frozen=True)
class Card(OneBody):
    """What a rule knows of its training: all that it takes to run it and to judge it. Tasks of one's own add fields."""

    size: tuple[int, int, int] = required("the lattice D H W", low=1, high=LONGEST)
    regime: str = optional("what was trained")
    horizon: int = required("the age in steps at which a body is judged grown", low=1, high=1_000_000)
    figures: Any = optional("what the evaluation at the end of the run measured")
    conditions: tuple[str, ...] = optional("the names of several bodies", length=(0, 1024))
    targets: tuple[OneBody, ...] = optional("several bodies, in the order of their names")


@dataclass(frozen=True)
class SavedSetback:
    """One time that a run went wrong; see `training.recovery`."""

    iteration: int = required("the iteration in which it was noticed", low=0, high=MOST)
    cause: str = required("what was wrong")
    learning_rate: float = required("the highest rate of the schedule that led there", low=0)
    back_to: int = required("the iteration that the run went back to", low=0, high=MOST)


@dataclass(frozen=True)
class SavedCourse:
    """The looks of a run; see `training.course`."""

    looks: Any = required("a list of looks, each a list of numbers")
    whole_at: int = required("the iteration at which the body had been whole for a while", low=0, high=MOST)


@dataclass(frozen=True)
class SavedWatch:
    """What a run has seen in its numbers; see `training.watch`."""

    losses: tuple[float, ...] = required("the losses of the last iterations with old states alone", length=(0, 1000))
    seeded: tuple[float, ...] = required("the losses of the last iterations with a fresh seed", length=(0, 1000))
    aged: tuple[float, ...] = required("the losses of the last iterations with aged states", length=(0, 1000))
    told: bool = required("whether the last loss is to be told")
    silent: int = required("iterations without a gradient", low=0, high=MOST)
    spikes: int = required("losses that were spikes", low=0, high=MOST)
    digest: float | None = required("a number that follows from all weights")
    unmoved: int = required("iterations without a weight that moved", low=0, high=MOST)


@dataclass(frozen=True)
class SavedOptimizer:
    """What an optimizer has beside its tensors; see `training.optimizer_state`, which compares it with the optimizer."""

    type: str = required("package and class")
    shapes: Any = required("the shapes of all parameters")
    groups: Any = required("the options of each group")
    states: Any = required("what each parameter's state has beside tensors")
    tensors: int = optional("how many tensors it has", low=0, high=MOST)


@dataclass(frozen=True)
class SavedScale:
    """The scale of the loss in fp16: the state of torch's GradScaler."""

    scale: float = required("the factor on the loss", above=0)
    growth_factor: float = required("by which it grows", above=1)
    backoff_factor: float = required("by which it falls", above=0, below=1)
    growth_interval: int = required("after how many good iterations it grows", low=1)
    _growth_tracker: int = required("good iterations so far", low=0)


@dataclass(frozen=True)
class Scalars:
    """The file `scalars.json` of a training's checkpoint."""

    iteration: int = required("iterations done", low=0, high=MOST)
    iterations: int = required("iterations of the whole run", low=0, high=MOST)
    seconds: float = required("how long it took", low=0)
    bad_steps: int = required("faulty iterations in a row", low=0, high=MOST)
    skipped: int = required("faulty iterations in all", low=0, high=MOST)
    optimizer: SavedOptimizer = required("the optimizer")
    rule: RuleRecord = required("the rule")
    card: Card = required("the rule's card")
    recovery: tuple[SavedSetback, ...] = optional("how often the run went wrong")
    course: SavedCourse = optional("its looks")
    watch: SavedWatch = optional("what it saw in its numbers")
    config: dict[str, Any] = optional("the fields of its config")
    ran: dict[str, Any] = optional("what really ran")
    scale: SavedScale = optional("the scale of the loss in fp16")
    overflows: int = optional("how often the scale was too large", low=0, high=MOST)


def check_scalars(scalars: object, where: object, step: int) -> None:
    """Checks the scalars of a checkpoint: every field, and what two of them say of each other.

    Args:
        scalars: what was read.
        where: the file, for errors.
        step: the step that the checkpoint is of.

    Raises:
        InputError: a field is missing, unknown, of another type or out of range, or belongs to another checkpoint.
    """
    check_record(scalars, Scalars, where)
    assert isinstance(scalars, dict)
    if scalars["iteration"] != step:
        raise InputError(where, "iteration", scalars["iteration"], f"{step}, as the manifest says")
    looks = scalars.get("course", {}).get("looks", [])
    if not isinstance(looks, list) or not all(map(_is_look, looks)):
        raise InputError(where, "course.looks", looks, "lists of an iteration and one to five numbers")
    check_bodies(scalars["card"], where)


def check_bodies(card: Mapping[str, Any], where: object) -> None:
    """Checks that each first cell of a card lies in its lattice, and each body in the run folder.

    Raises:
        InputError: one doesn't.
    """
    size = card["size"]
    for name, one in (("card", card), *((f"card.targets[{n}]", body) for n, body in enumerate(card.get("targets", ())))):
        start = one.get("start")
        if start and not all(cell < side for cell, side in zip(start, size, strict=True)):
            raise InputError(where, f"{name}.start", start, f"a cell of the lattice {size}")
        file = one.get("body", {}).get("file", "target.safetensors")
        if not _KEPT.fullmatch(file):
            raise InputError(where, f"{name}.body.file", repr(file), "target.safetensors, or target-NN.safetensors")


def _is_look(look: object) -> bool:
    """Whether this is a look as `training.course` saves it."""
    if not isinstance(look, list) or not 2 <= len(look) <= 6 or type(look[0]) is not int:
        return False
    return all(isinstance(number, int | float) and math.isfinite(number) for number in look)
