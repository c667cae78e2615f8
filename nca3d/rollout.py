"""Many steps of one rule: `rollout(rule, state, steps)`."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypedDict, TypeVar, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.executors import EXECUTORS, THRESHOLD, Memory, choose
from nca3d.fire import Draw
from nca3d.lattice import as_size, centre
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs, RuleWithInputs
from nca3d.sparse import Compact, dense

States = TypeVar("States", Tensor, list[Compact])


@dataclass(frozen=True)
class Trajectory(Generic[States]):
    """The states on the way of a rollout.

    Attributes:
        states: (T, B, C, D, H, W), or a list of T compact ones if the rollout began with one.
        steps: int64 (T,), absolute step numbers: the first, every k-th, the last.
    """

    states: States
    steps: Tensor

    def numpy(self, rule: Rule, sample: int = 0, palette: np.ndarray | None = None) -> np.ndarray:
        """Returns one sample's life as pictures, as `visualize` takes them: float32 (T, D, H, W, 4), straight RGBA, 0..1.

        Args:
            rule: says what the visible channels mean.
            sample: which of the batch.
            palette: of classes, (K, 3); None = that of the target on the rule's card, if it has one.
        """
        from nca3d.metrics import to_rgba

        if palette is None and rule.visible_kind == "classes" and rule.card:
            palette = rule.target().palette
        whole = [dense(state, rule.dead_value) if isinstance(state, Compact) else state for state in self.states]
        return to_rgba(torch.stack([state[sample] for state in whole]), rule, palette)


def seed_state(
    rule: Rule,
    size: tuple[int, int, int] | None = None,
    batch: int = 1,
    positions: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Returns the first cell: alpha and hidden channels 1, visible ones 0; a rule without one (a cube) is at rest instead.

    Args:
        rule: whose channels the state has.
        size: lattice (D, H, W); None = that of the rule's card.
        batch: B.
        positions: int (B, 3) cells (d, h, w), one for each sample; None = where the rule was trained to start
            (card["start"], if the lattice is the card's), else the centre (n // 2).
        device: where the state lies; None = where the rule is.

    Returns:
        float32 (B, C, D, H, W).

    Raises:
        ValueError: a size or position that is no cell of the lattice, or none that is known.
    """
    size = size or getattr(rule, "size", None) or rule.card.get("size")
    if size is None:
        raise ArgumentError("size", None, "(D, H, W): this rule has no card that says it")
    depth, height, width = as_size(tuple(size))
    if device is None:
        device = next((tensor.device for tensor in (*rule.parameters(), *rule.buffers())), torch.device("cpu"))
    state = torch.full((batch, rule.channels, depth, height, width), rule.dead_value, device=device)
    own = rule.card.get("start") if (depth, height, width) == tuple(rule.card.get("size") or ()) else None
    start = tuple(own or centre((depth, height, width)))
    where = torch.as_tensor(positions if positions is not None else [start] * batch)
    if where.shape != (batch, 3) or (where < 0).any() or (where >= torch.tensor([depth, height, width])).any():
        raise ArgumentError(
            "positions", where.tolist(), f"one (d, h, w) inside {tuple(state.shape[2:])} for each of {batch} samples"
        )
    rule.plant(state, where)
    return state


@torch.no_grad()
def record(rule: Rule, state: Tensor, steps: int, every: int = 4, *, random_seed: int = 0) -> Trajectory[Tensor]:
    """Records a rollout on its way, without gradient: `record(rule, seed_state(rule), 92).numpy(rule)` is a film.

    Args:
        rule: what one cell does.
        state: float (B, C, D, H, W).
        steps: how many, 0 or more.
        every: steps from one recorded state to the next; the first and the last are recorded too.
        random_seed: as in `rollout`.

    Returns:
        The trajectory, whose `states` are (T, B, C, D, H, W).
    """
    return rollout(rule, state, steps, random_seed=random_seed, record_every=every)


class Options(TypedDict, total=False):
    """The options of `rollout` beside rule, state, steps and record_every."""

    random_seed: int
    first_step: int
    sample_ids: Tensor | None
    fire_masks: Tensor | None
    inputs: Tensor | Inputs | None
    executor: str
    memory: str | int
    memory_budget: int | None
    activity_threshold: float


@overload
def rollout(rule: Rule, state: Tensor, steps: int, *, record_every: None = None, **options: Unpack[Options]) -> Tensor: ...


@overload
def rollout(rule: Rule, state: Compact, steps: int, *, record_every: None = None, **options: Unpack[Options]) -> Compact: ...


@overload
def rollout(rule: Rule, state: Tensor, steps: int, *, record_every: int, **options: Unpack[Options]) -> Trajectory[Tensor]: ...


@overload
def rollout(
    rule: Rule, state: Compact, steps: int, *, record_every: int, **options: Unpack[Options]
) -> Trajectory[list[Compact]]: ...


def rollout(
    rule: Rule,
    state: Tensor | Compact,
    steps: int,
    *,
    random_seed: int = 0,
    first_step: int = 0,
    sample_ids: Tensor | None = None,
    fire_masks: Tensor | None = None,
    inputs: Tensor | Inputs | None = None,
    executor: str = "auto",
    memory: str | int = "auto",
    memory_budget: int | None = None,
    activity_threshold: float = THRESHOLD,
    record_every: int | None = None,
) -> Tensor | Compact | Trajectory[Tensor] | Trajectory[list[Compact]]:
    """Runs `steps` steps of `rule` from `state`.

    Args:
        rule: what one cell does.
        state: float32 (B, C, D, H, W), or `nca3d.compact` of it: then the answer is compact too, and no array of the lattice's
            size is made on the way.
        steps: how many, 0 or more.
        random_seed: 0 .. 2³²−1, decides the fire masks (with step number and sample ids).
        first_step: absolute number of the first step: a rollout of 10 + 10 steps equals one of 20 if this counts on.
        sample_ids: int (B,), who each sample is for the fire masks; default 0 .. B−1.
        fire_masks: bool (steps, B, 1, D, H, W) instead of the draw.
        inputs: external inputs in every step, for rules that take them: float (B, E, D, H, W), E external channels, or
            what the rule's `ask(question)` returns.
        executor: how to run it: "auto" (see `nca3d.executors.choose`) or a name in `nca3d.executors.EXECUTORS`; all agree but
            "event-approx", which saves work at a small error (its report measures both), without gradient.
        memory: what is kept for the backward pass: "keep" what each step needs, "recompute" each step from its start, segments
            of this many steps, or "auto" (keep while it fits in the budget, else segments of about √steps).
        memory_budget: bytes; None = `nca3d.executors.BUDGET`.
        activity_threshold: of "event-approx": a cell whose input changed by no more than this since it was last computed reuses
            its last answer; 0 = exact.
        record_every: k → return a `Trajectory` with the first state, every k-th and the last.

    Returns:
        The last state, dense or compact like the first one, or a `Trajectory`.

    Raises:
        ValueError: an argument that does not fit; the line says which and what is allowed.
    """
    _check(rule, state, steps, fire_masks, inputs, record_every)
    batch, _, *sides = state.shape
    device = state.values.device if isinstance(state, Compact) else state.device
    ids = torch.arange(batch, device=device) if sample_ids is None else sample_ids.to(device)
    if ids.shape != (batch,):
        raise ArgumentError("sample_ids", f"shape {tuple(ids.shape)}", f"({batch},)")
    given = None if fire_masks is None else fire_masks.to(device)
    draw = Draw(random_seed, first_step, ids, as_size(tuple(sides)), rule.fire_rate, steps, given)
    if inputs is not None:
        rule = RuleWithInputs(rule, Inputs.of(inputs).to(state.values if isinstance(state, Compact) else state))
    run = EXECUTORS.find(choose(rule, state) if executor == "auto" else executor, "rollout", "executor")
    if hasattr(run, "opened"):  # an executor that remembers, for one rollout, what its cells computed last
        run = run.opened(activity_threshold)
    plan = Memory.of(memory, memory_budget)

    recorded: list[Any] = [state]
    stops = sorted({*range(0, steps, record_every or max(1, steps)), steps})
    for start, stop in pairwise(stops):
        state = run(rule, state, draw, start, stop, plan)
        recorded.append(state)
    if record_every is None:
        return state
    numbers = torch.tensor([first_step + stop for stop in stops])
    return Trajectory(recorded, numbers) if isinstance(state, Compact) else Trajectory(torch.stack(recorded), numbers)


def _check(
    rule: Rule,
    state: Tensor | Compact,
    steps: int,
    fire_masks: Tensor | None,
    inputs: Tensor | Inputs | None,
    record_every: int | None,
) -> None:
    if not isinstance(rule, Rule):
        raise ArgumentError("rule", f"a {type(rule).__name__}", "a Rule: nca3d.load(…) reads one")
    if not isinstance(state, Tensor | Compact):
        raise ArgumentError("state", f"a {type(state).__name__}", "a Tensor or a Compact: torch.from_numpy(…) makes one")
    values, shape = (state.values, state.shape) if isinstance(state, Compact) else (state, tuple(state.shape))
    if len(shape) != 5 or shape[1] != rule.channels:
        raise ArgumentError("state", f"shape {shape}", f"(B, {rule.channels}, D, H, W)")
    if not values.is_floating_point():
        raise ArgumentError("state", values.dtype, "a floating-point tensor")
    if steps < 0:
        raise ArgumentError("steps", steps, "0 or more")
    if record_every is not None and record_every < 1:
        raise ArgumentError("record_every", record_every, "1 or more, or None")
    _check_inputs(rule, shape, inputs)
    expected = (steps, shape[0], 1, *shape[2:])
    if fire_masks is not None and (tuple(fire_masks.shape) != expected or fire_masks.dtype != torch.bool):
        raise ArgumentError("fire_masks", f"{fire_masks.dtype} {tuple(fire_masks.shape)}", f"bool {expected}")


def _check_inputs(rule: Rule, shape: tuple[int, ...], inputs: Tensor | Inputs | None) -> None:
    given = Inputs.of(inputs)
    external, features = getattr(rule, "external", 0), getattr(rule, "features", 0)
    for name, part, expected in (
        ("inputs", given.external, (shape[0], external, *shape[2:]) if external else None),
        ("inputs: face", given.face, (shape[0], features, *shape[3:]) if features else None),
    ):
        if part is not None and tuple(part.shape) != expected:
            allowed = str(expected) if expected else f"None: {type(rule).__name__} takes nothing from outside"
            raise ArgumentError(name, f"shape {tuple(part.shape)}", allowed)
