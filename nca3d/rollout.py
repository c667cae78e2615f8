"""Many steps of one rule: `rollout(rule, state, steps)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.executors import EXECUTORS, THRESHOLD, Memory, choose
from nca3d.fire import Draw
from nca3d.lattice import as_size, centre
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Fed, Told
from nca3d.sparse import Compact


@dataclass(frozen=True)
class Trajectory:
    """States on the way: `states` (T, B, C, D, H, W), or a list of T compact ones if the rollout began with one; `steps` (T,)
    absolute step numbers: the first, every k-th, the last."""

    states: Any
    steps: Tensor


def seed_state(
    rule: Rule,
    size: tuple[int, int, int],
    batch: int = 1,
    positions: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The first cell: alpha and hidden channels 1, visible ones 0, at the centre (n // 2) or at `positions`; of a cube, rest.

    Args:
        rule: whose channels the state has.
        size: lattice (D, H, W).
        batch: B.
        positions: int (B, 3) cells (d, h, w), one for each sample.
        device: where the state lies; None = where the rule is.

    Returns:
        float32 (B, C, D, H, W).

    Raises:
        ValueError: a size or position that is no cell of the lattice.
    """
    depth, height, width = as_size(size)
    device = device if device is not None else _device(rule)
    state = torch.full((batch, rule.channels, depth, height, width), rule.dead_value, device=device)
    where = torch.as_tensor(positions if positions is not None else [centre((depth, height, width))] * batch)
    if where.shape != (batch, 3) or (where < 0).any() or (where >= torch.tensor([depth, height, width])).any():
        raise ArgumentError("positions", where.tolist(), f"one (d, h, w) inside {size} for each of {batch} samples")
    rule.plant(state, where)
    return state


def rollout(
    rule: Rule,
    state: Tensor | Compact,
    steps: int,
    *,
    random_seed: int = 0,
    first_step: int = 0,
    sample_ids: Tensor | None = None,
    fire_masks: Tensor | None = None,
    inputs: Tensor | Told | None = None,
    executor: str = "auto",
    memory: str | int = "auto",
    memory_budget: int | None = None,
    activity_threshold: float = THRESHOLD,
    record_every: int | None = None,
) -> Any:
    """Run `steps` steps of `rule` from `state`.

    Args:
        rule: what one cell does.
        state: float32 (B, C, D, H, W), or `nca3d.compact` of it: then the answer is compact too, and no array of the lattice's
            size is made on the way.
        steps: how many, 0 or more.
        random_seed: 0 .. 2³²−1, chooses the fire masks (with step number and sample ids).
        first_step: absolute number of the first step: a rollout of 10 + 10 steps equals one of 20 if this counts on.
        sample_ids: int (B,), who each sample is for the fire masks; default 0 .. B−1.
        fire_masks: bool (steps, B, 1, D, H, W) instead of the draw.
        inputs: what comes from outside in every step, for rules that take it (`GMLPRule`): float (B, E, D, H, W), so many
            external channels, or `GMLPRule.ask(question)`.
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
        rule = Fed(rule, Told.of(inputs).to(state.values if isinstance(state, Compact) else state))
    run = EXECUTORS.find(choose(rule, state) if executor == "auto" else executor, "rollout", "executor")
    if hasattr(run, "opened"):  # it remembers, for one rollout, what cells were last asked
        run = run.opened(activity_threshold)
    plan = Memory.of(memory, memory_budget)

    recorded: list[Any] = [state]
    done = 0
    for stop in _stops(steps, record_every):
        state = run(rule, state, draw, done, stop, plan)
        recorded.append(state)
        done = stop
    if record_every is None:
        return state
    numbers = torch.tensor([first_step, *(first_step + stop for stop in _stops(steps, record_every))])
    return Trajectory(recorded if isinstance(state, Compact) else torch.stack(recorded), numbers)


def _stops(steps: int, record_every: int | None) -> list[int]:
    if record_every is None or steps == 0:
        return [steps] if steps else []
    return sorted({*range(record_every, steps + 1, record_every), steps})


def _check(
    rule: Rule,
    state: Tensor | Compact,
    steps: int,
    fire_masks: Tensor | None,
    inputs: Tensor | Told | None,
    record_every: int | None,
) -> None:
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


def _check_inputs(rule: Rule, shape: tuple[int, ...], inputs: Tensor | Told | None) -> None:
    told = Told.of(inputs)
    external, features = getattr(rule, "external", 0), getattr(rule, "features", 0)
    for name, part, wanted in (
        ("inputs", told.external, (shape[0], external, *shape[2:]) if external else None),
        ("inputs: face", told.face, (shape[0], features, *shape[3:]) if features else None),
    ):
        if part is not None and tuple(part.shape) != wanted:
            allowed = str(wanted) if wanted else f"None: {type(rule).__name__} takes nothing from outside"
            raise ArgumentError(name, f"shape {tuple(part.shape)}", allowed)


def _device(rule: Rule) -> torch.device:
    return next((tensor.device for tensor in (*rule.parameters(), *rule.buffers())), torch.device("cpu"))
