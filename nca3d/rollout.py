"""Many steps of one rule: `rollout(rule, state, steps)` from a `seed_state`, and the `Trajectory` that it can record."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Generic, TypedDict, TypeVar, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.executors import EXECUTORS, THRESHOLD, Memory, choose
from nca3d.executors.by_condition import ByCondition, grouped
from nca3d.executors.cores import backward_on_few, torch_on_few
from nca3d.executors.offload import Kept
from nca3d.fire import Draw
from nca3d.lattice import Size, as_size, centre
from nca3d.ranks import current
from nca3d.rules.cell import Rule
from nca3d.rules.conditional import Condition, ConditionalRule
from nca3d.rules.inputs import Inputs, RuleWithInputs
from nca3d.sparse import Compact, chosen, dense, joined

State = TypeVar("State", Tensor, Compact)
States = TypeVar("States", Tensor, list[Compact])


@dataclass(frozen=True)
class Trajectory(Generic[States]):
    """The states that a rollout passed through.

    Attributes:
        states: The recorded states, (T, B, C, D, H, W), or a list of T compact ones if the rollout began with a compact one.
        steps: Their absolute step numbers, int64 (T,): the first, every k-th and the last.
    """

    states: States
    steps: Tensor

    def numpy(self, rule: Rule, sample: int = 0, palette: np.ndarray | None = None) -> np.ndarray:
        """Returns the life of one sample in colours, as `visualize` draws it: float32 (T, D, H, W, 4), straight RGBA, 0..1.

        Args:
            rule: The rule, which knows what the visible channels mean.
            sample: Which sample of the batch.
            palette: The colours of classes, (K, 3); None = those of the target on the rule's card, if it has one.
        """
        # Late: a rollout needs no colours.
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
    condition: Condition | Sequence[Condition] | None = None,
) -> Tensor:
    """Returns an empty lattice with the one cell that a body grows from: alpha and hidden channels 1, visible ones 0.

    A rule that grows nothing plants what it starts from itself (`Rule.plant`); a cube is at rest.

    Args:
        rule: The rule that is going to run.
        size: The lattice (D, H, W); None = that of the rule, by its size or its card.
        batch: The number of samples, B.
        positions: The cells (d, h, w) to plant, int (B, 3), one for each sample; None = where the rule was trained to start
            (card["start"], if the lattice is the card's), else the centre (n // 2).
        device: The device of the state; None = that of the rule.
        condition: For a rule of several bodies, the one to grow: a name, its place or a code (K,); or one for each sample, a
            list, int (B,) or codes (B, K). It may be left out where cells are told later what they are (`rollout`).

    Returns:
        The state, float32 (B, C, D, H, W).

    Raises:
        ValueError: A position lies outside the lattice, no size is given and the rule knows none, or the condition is no body.
    """
    if condition is not None or (rule.conditions and not rule.told):
        return _seeds_of(rule, size, batch, positions, device, condition)
    size = size or getattr(rule, "size", None) or rule.card.get("size")
    if size is None:
        raise ArgumentError("size", None, "(D, H, W): pass a size, since this rule has no card that names one")
    depth, height, width = as_size(tuple(size))
    if device is None:
        device = next((tensor.device for tensor in (*rule.parameters(), *rule.buffers())), torch.device("cpu"))
    state = torch.full((batch, rule.channels, depth, height, width), rule.dead_value, device=device)
    where = torch.as_tensor(positions if positions is not None else [start_of(rule, (depth, height, width))] * batch)
    if where.shape != (batch, 3) or (where < 0).any() or (where >= torch.tensor([depth, height, width])).any():
        raise ArgumentError(
            "positions", where.tolist(), f"one (d, h, w) inside {tuple(state.shape[2:])} for each of {batch} samples"
        )
    # The rule plants, since it alone knows what its first cell holds.
    rule.plant(state, where)
    return state


def _seeds_of(
    rule: Rule, size: Size | None, batch: int, positions: Tensor | None, device: torch.device | str | None, condition: Any
) -> Tensor:
    """Returns the first cells of the bodies that a condition names: each where its own body was trained to start."""
    if not isinstance(rule, ConditionalRule):
        raise ArgumentError("condition", repr(condition), f"None: {type(rule).__name__} grows one body")
    if condition is None:
        raise ArgumentError("condition", None, f"the body to grow: {', '.join(rule.conditions)}")
    # A batch of none has no body.
    groups = grouped(rule, condition, batch) or [([], 0)]
    parts = []
    for samples, one in groups:
        where = None if positions is None else torch.as_tensor(positions)[samples]
        parts.append((samples, seed_state(rule.tied(one), size, len(samples), where, device)))
    return joined(parts)


def start_of(rule: Rule, size: Size) -> Size:
    """Returns the cell (d, h, w) that a body of the rule grows from: card["start"] in the card's lattice, else the centre."""
    # In another lattice than that of training the card's start may be no cell, or no good place.
    trained = rule.card.get("start") if size == tuple(rule.card.get("size") or ()) else None
    if not trained:
        return centre(size)
    depth, height, width = trained
    return depth, height, width


@torch.no_grad()
def record(
    rule: Rule,
    state: Tensor,
    steps: int,
    every: int = 4,
    *,
    random_seed: int = 0,
    condition: Condition | Sequence[Condition] | None = None,
) -> Trajectory[Tensor]:
    """Runs a rollout without gradient and records it: `record(rule, seed_state(rule), 92).numpy(rule)` is a film.

    Args:
        rule: What one cell does.
        state: The first state, float (B, C, D, H, W).
        steps: The number of steps, 0 or more.
        every: The number of steps from one recorded state to the next; the first and the last state are recorded too.
        random_seed: Decides which cells fire, as in `rollout`.
        condition: Which body each sample is to grow, as in `rollout`.

    Returns:
        The trajectory, whose `states` are (T, B, C, D, H, W).
    """
    return rollout(rule, state, steps, random_seed=random_seed, condition=condition, record_every=every)


# One list for all overloads below, which differ only in what they take and return.
class Options(TypedDict, total=False):
    """The options of `rollout` beside rule, state, steps and record_every; `rollout` says what they mean."""

    random_seed: int
    first_step: int
    sample_ids: Tensor | None
    fire_masks: Tensor | None
    inputs: Tensor | Inputs | None
    condition: Condition | Sequence[Condition] | None
    executor: str
    memory: str | int
    memory_budget: int | None
    offload: str
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
    condition: Condition | Sequence[Condition] | None = None,
    executor: str = "auto",
    memory: str | int = "auto",
    memory_budget: int | None = None,
    offload: str = "none",
    activity_threshold: float = THRESHOLD,
    record_every: int | None = None,
) -> Tensor | Compact | Trajectory[Tensor] | Trajectory[list[Compact]]:
    """Runs `steps` steps of `rule` from `state`.

    Args:
        rule: What one cell does.
        state: The first state, float32 (B, C, D, H, W), or `nca3d.compact` of it: the result is then compact too, and most
            executors make no array of the lattice's size on the way.
        steps: The number of steps, 0 or more.
        random_seed: Decides which cells fire, with the step number and the sample ids; 0 .. 2³²−1.
        first_step: The absolute number of the first step: 10 steps from 0 and 10 from 10 equal 20 from 0.
        sample_ids: A number for each sample that decides which of its cells fire, int (B,); None = 0 .. B−1.
        fire_masks: Masks instead of the draw, bool (steps, B, 1, D, H, W).
        inputs: External inputs in every step, for rules that take them: float (B, E, D, H, W), E external channels, or what the
            rule's `ask(question)` returns.
        condition: Which body each sample is to grow, for rules of several bodies whose cells are told: a name, its place, a
            code (K,); for each sample int (B,), codes (B, K) or a list of B; for each step a list of `steps` of these, or
            codes (steps, B, K). A list that could be either has one for each step.
        executor: How to run it: "auto" (see `nca3d.executors.choose`) or a name in `nca3d.executors.EXECUTORS`. All agree but
            "event-approx", which saves work at a small error (its report measures both) and has no gradient.
        memory: What to keep for the backward pass: "keep" = all that each step needs; "recompute" = each step is run again from
            its start; a number = segments of so many steps are; "auto" = keep all while it fits into the budget, else segments
            of about √steps.
        memory_budget: The budget of "auto" in bytes; None = `nca3d.executors.BUDGET`.
        offload: Where what is kept waits: "none" = on the device, "host" = in host memory, from where it comes back before the
            backward pass asks for it. On a CPU it is there already, and stays.
        activity_threshold: For "event-approx": a cell whose input changed by no more than this since it was last computed keeps
            its last change; 0 = exact.
        record_every: k = return a `Trajectory` with the first state, every k-th and the last; None = return the last state.

    Small states are run with one thread of torch's, forward and backward, as in training; compiled steps use all cores.

    Returns:
        The last state, dense or compact like the first one, or a `Trajectory`.

    Raises:
        ValueError: An argument does not fit; the line says which, and what is allowed.
    """
    _check(rule, state, steps, fire_masks, inputs, record_every)
    told = _told(rule, condition, state.shape[0], steps)
    batch, _, *sides = state.shape
    device = state.values.device if isinstance(state, Compact) else state.device
    ids = torch.arange(batch, device=device) if sample_ids is None else sample_ids.to(device)
    if ids.shape != (batch,):
        raise ArgumentError("sample_ids", f"shape {tuple(ids.shape)}", f"({batch},)")
    if ids.is_floating_point():  # they would be rounded, and two samples fire alike
        raise ArgumentError("sample_ids", ids.dtype, "whole numbers")
    masks = None if fire_masks is None else fire_masks.to(device)
    draw = Draw(random_seed, first_step, ids, as_size(tuple(sides)), rule.fire_rate, steps, masks)
    # From here on a rule with inputs is a rule like any other: no executor needs to know of them.
    if inputs is not None:
        rule = RuleWithInputs(rule, Inputs.of(inputs).to(state.values if isinstance(state, Compact) else state))
    # What follows from other channels is left out on the way, and read at the end.
    first, whole = state, rule
    if (core := told.first if told else whole.core) is not None:
        rule, state = core, _changed(state, whole.to_core)
    plan = Memory.of(memory, memory_budget)
    if offload not in ("none", "host"):
        raise ArgumentError("offload", repr(offload), "'none' or 'host'")
    # "auto" is decided once, on the first state: a rollout does not change its executor on the way.
    found = EXECUTORS.find(choose(rule, state) if executor == "auto" else executor, "rollout", "executor")
    # An executor that remembers what its cells computed last needs a memory for each rollout.
    open_run = partial(found.opened, activity_threshold) if hasattr(found, "opened") else lambda: found
    run = open_run() if told is None else told.opened(open_run)

    # One run from each recorded state to the next: executors know nothing of recording.
    recorded: list[Any] = [state]
    # The last step is recorded too, also where k does not divide the number of steps.
    recorded_at = {*range(0, steps, record_every or max(1, steps)), steps}
    stops = sorted(recorded_at | {change for change in told.changes if change < steps} if told else recorded_at)
    # Threads as in training, inside this call and its backward pass alone: see `executors/cores.py`.
    with torch_on_few(state), Kept(rule, host=True).keeping() if offload == "host" else nullcontext():
        for start, stop in pairwise(stops):
            state = run(rule, state, draw, start, stop, plan)
            recorded += [state] * (stop in recorded_at)
    recorded = [first, *map(backward_on_few, recorded[1:])]
    if core is not None:
        recorded[1:] = [_changed(one, whole.from_core) for one in recorded[1:]]
    state = recorded[-1]
    if record_every is None:
        return state
    # Absolute numbers, so that trajectories of a cut rollout can be joined.
    numbers = torch.tensor([first_step + stop for stop in sorted(recorded_at)])
    return Trajectory(recorded, numbers) if isinstance(state, Compact) else Trajectory(torch.stack(recorded), numbers)


@torch.no_grad()
def shared_rollout(
    rule: Rule, state: State, steps: int, *, random_seed: int = 0, first_step: int = 0, executor: str = "auto"
) -> State:
    """Runs a rollout without gradient whose samples several processes share out; each of them gets all, as `rollout` would.

    Args:
        rule: What one cell does.
        state: The first state, dense or compact, (B, C, D, H, W); equal in all processes.
        steps: The number of steps.
        random_seed: See `rollout`.
        first_step: See `rollout`.
        executor: See `rollout`.
    """
    own, options = current().share(state.shape[0]), {"random_seed": random_seed, "first_step": first_step}
    if current().size == 1 or current().splits != "samples":
        return rollout(rule, state, steps, executor=executor, **options)  # type: ignore[call-overload]
    part = None
    if own:
        ids = torch.tensor(own)
        part = rollout(rule, chosen(state, own), steps, sample_ids=ids, executor=executor, **options)  # type: ignore[call-overload]
    found = current().gather_objects(part)
    return joined([(current().share(state.shape[0], rank), one) for rank, one in enumerate(found) if one is not None])


def _changed(state: Tensor | Compact, change: Callable[[Tensor], Tensor]) -> Tensor | Compact:
    """Returns a state with other channels; `change` takes and returns (B, C, D, H, W), or (N, C) of a compact state."""
    return replace(state, values=change(state.values)) if isinstance(state, Compact) else change(state)


def _check(
    rule: Rule,
    state: Tensor | Compact,
    steps: int,
    fire_masks: Tensor | None,
    inputs: Tensor | Inputs | None,
    record_every: int | None,
) -> None:
    """Checks the arguments of a rollout before it runs: the shapes that would fail deep inside fail here, by name."""
    if not isinstance(rule, Rule):
        raise ArgumentError("rule", f"a {type(rule).__name__}", "a Rule: nca3d.load(…) reads one")
    if not isinstance(state, Tensor | Compact):
        raise ArgumentError("state", f"a {type(state).__name__}", "a Tensor or a Compact: torch.from_numpy(…) makes one")
    values, shape = (state.values, state.shape) if isinstance(state, Compact) else (state, tuple(state.shape))
    if len(shape) != 5 or shape[1] != rule.channels:
        raise ArgumentError("state", f"shape {shape}", f"(B, {rule.channels}, D, H, W)")
    if not values.is_floating_point():
        raise ArgumentError("state", values.dtype, "a floating-point tensor")
    # `__index__` is what whole numbers of every make have, and True is 1 to Python.
    if isinstance(steps, bool) or not hasattr(steps, "__index__"):
        raise ArgumentError("steps", repr(steps), "a whole number, 0 or more")
    if steps < 0:
        raise ArgumentError("steps", steps, "0 or more")
    if record_every is not None and record_every < 1:
        raise ArgumentError("record_every", record_every, "1 or more, or None")
    # Masks of another shape could still broadcast, and fire the wrong cells without a word.
    _check_inputs(rule, shape, inputs)
    expected = (steps, shape[0], 1, *shape[2:])
    if fire_masks is not None and (tuple(fire_masks.shape) != expected or fire_masks.dtype != torch.bool):
        raise ArgumentError("fire_masks", f"{fire_masks.dtype} {tuple(fire_masks.shape)}", f"bool {expected}")


def _told(rule: Rule, condition: Any, batch: int, steps: int) -> ByCondition | None:
    """Returns what each sample is told in each step; None for a rule that is told nothing."""
    if isinstance(rule, ConditionalRule) and rule.told:
        if condition is None:
            raise ArgumentError("condition", None, f"the body to grow: {', '.join(rule.conditions)}")
        return ByCondition(rule, condition, batch, steps)
    if condition is not None:
        why = "its first cell carries the condition: seed_state(rule, condition=…)" if rule.conditions else "it grows one body"
        raise ArgumentError("condition", repr(condition), f"None for this {type(rule).__name__}: {why}")
    return None


def _check_inputs(rule: Rule, shape: tuple[int, ...], inputs: Tensor | Inputs | None) -> None:
    """Checks the external inputs: a rule without external channels or features takes none."""
    parts = Inputs.of(inputs)
    external, features = getattr(rule, "external", 0), getattr(rule, "features", 0)
    for name, part, expected in (
        ("inputs", parts.external, (shape[0], external, *shape[2:]) if external else None),
        ("inputs: face", parts.face, (shape[0], features, *shape[3:]) if features else None),
    ):
        if part is not None and tuple(part.shape) != expected:
            allowed = str(expected) if expected else f"None: {type(rule).__name__} takes no such input"
            raise ArgumentError(name, f"shape {tuple(part.shape)}", allowed)
