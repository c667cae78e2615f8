"""Many steps of one rule: `rollout(rule, state, steps)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nca3d.executors import EXECUTORS
from nca3d.fire import fire_mask
from nca3d.lattice import as_size, centre
from nca3d.rules.cell import Rule

MEMORY_BUDGET = 2 << 30
"""Bytes that a rollout may keep for its backward pass under memory="auto" before it recomputes instead."""

MASK_BYTES = 64 << 20
"""Fire masks are drawn for as many steps at once as fit here: few large draws are faster than many small ones."""


@dataclass(frozen=True)
class Trajectory:
    """States on the way: `states` (T, B, C, D, H, W), `steps` (T,) absolute step numbers: the first, every k-th, the last."""

    states: Tensor
    steps: Tensor


def seed_state(
    rule: Rule,
    size: tuple[int, int, int],
    batch: int = 1,
    positions: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The first cell: alpha and hidden channels 1, visible ones 0, at the centre (n // 2) or at `positions`.

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
        raise ValueError(
            f"positions: found {where.tolist()}, allowed one (d, h, w) inside {size} for each of {batch} samples"
        )
    for sample, (d, h, w) in enumerate(where.tolist()):
        state[sample, : rule.visible, d, h, w] = 0.0
        state[sample, rule.visible :, d, h, w] = 1.0
    return state


def rollout(
    rule: Rule,
    state: Tensor,
    steps: int,
    *,
    random_seed: int = 0,
    first_step: int = 0,
    sample_ids: Tensor | None = None,
    fire_masks: Tensor | None = None,
    inputs: Tensor | None = None,
    executor: str = "auto",
    memory: str | int = "auto",
    record_every: int | None = None,
) -> Any:
    """Run `steps` steps of `rule` from `state`.

    Args:
        rule: what one cell does.
        state: float32 (B, C, D, H, W).
        steps: how many, 0 or more.
        random_seed: 0 .. 2³²−1, chooses the fire masks (with step number and sample ids).
        first_step: absolute number of the first step: a rollout of 10 + 10 steps equals one of 20 if this counts on.
        sample_ids: int (B,), who each sample is for the fire masks; default 0 .. B−1.
        fire_masks: bool (steps, B, 1, D, H, W) instead of the draw.
        inputs: external channels, for rules that take them (`ConvRule` takes none).
        executor: how to run it: "auto" or a name in `nca3d.executors.EXECUTORS`.
        memory: what is kept for the backward pass: "keep" everything, "recompute" each step from its start, segments of
            this many steps, or "auto" (keep while it fits in `MEMORY_BUDGET`, else segments of about √steps).
        record_every: k → return a `Trajectory` with the first state, every k-th and the last.

    Returns:
        The last state (B, C, D, H, W), or a `Trajectory`.

    Raises:
        ValueError: an argument that does not fit; the line says which and what is allowed.
    """
    _check(rule, state, steps, fire_masks, inputs, record_every)
    execute = EXECUTORS.find("dense" if executor == "auto" else executor, "rollout", "executor")
    ids = torch.arange(len(state), device=state.device) if sample_ids is None else sample_ids.to(state.device)
    if ids.shape != (len(state),):
        raise ValueError(f"sample_ids: found shape {tuple(ids.shape)}, allowed ({len(state)},)")

    def masks(start: int, stop: int) -> Tensor:
        if fire_masks is not None:
            return fire_masks[start:stop].to(state.device)
        numbers = range(first_step + start, first_step + stop)
        return fire_mask(random_seed, numbers, ids, as_size(state.shape[2:]), rule.fire_rate)

    def run(cells: Tensor, fire: Tensor) -> Tensor:
        return execute(rule, cells, fire[:, :, 0])

    stops = _stops(steps, record_every)
    segment = _segment(rule, state, steps, memory)
    cells = state.movedim(1, -1).contiguous()
    recorded = [state]
    done = 0
    for stop in stops:
        cells = _advance(run, cells, masks, done, stop, segment)
        done = stop
        recorded.append(cells.movedim(-1, 1))
    if record_every is None:
        return recorded[-1]
    return Trajectory(torch.stack(recorded), torch.tensor([first_step, *(first_step + stop for stop in stops)]))


def _advance(
    run: Callable[[Tensor, Tensor], Tensor],
    cells: Tensor,
    masks: Callable[[int, int], Tensor],
    start: int,
    stop: int,
    segment: int | None,
) -> Tensor:
    """Steps start..stop in segments. Masks are drawn outside what is recomputed, so that both passes see the same ones."""
    at_once = max(1, MASK_BYTES // max(1, 8 * cells[..., 0].numel()))
    while start < stop:
        end = min(stop, start + min(segment or at_once, at_once))
        fire = masks(start, end)
        if segment is None:
            cells = run(cells, fire)
        else:
            cells = checkpoint(run, cells, fire, use_reentrant=False, preserve_rng_state=False)
        start = end
    return cells


def _stops(steps: int, record_every: int | None) -> list[int]:
    if record_every is None or steps == 0:
        return [steps] if steps else []
    return sorted({*range(record_every, steps + 1, record_every), steps})


def _segment(rule: Rule, state: Tensor, steps: int, memory: str | int) -> int | None:
    """Steps from one kept state to the next; None = keep everything (also where no gradient is asked for)."""
    if isinstance(memory, int) and not isinstance(memory, bool) and memory >= 1:
        length: int | None = memory
    elif memory == "recompute":
        length = 1
    elif memory == "keep":
        length = None
    elif memory == "auto":
        length = None if steps * step_bytes(rule, state) <= MEMORY_BUDGET else max(1, round(steps**0.5))
    else:
        raise ValueError(
            f"memory: found {memory!r}, allowed 'auto', 'keep', 'recompute' or a segment length of 1 or more"
        )
    trained = state.requires_grad or any(p.requires_grad for p in rule.parameters())
    return length if torch.is_grad_enabled() and trained else None


def step_bytes(rule: Rule, state: Tensor) -> int:
    """At most this many bytes are kept of one step for its backward pass (every cell alive and firing)."""
    per_cell = (len(rule.kernels()) + 3) * rule.channels + 2 * sum(getattr(rule, "hidden", (rule.channels,)))
    return state[:, 0].numel() * per_cell * state.element_size()


def _check(
    rule: Rule, state: Tensor, steps: int, fire_masks: Tensor | None, inputs: Tensor | None, record_every: int | None
) -> None:
    if state.ndim != 5 or state.shape[1] != rule.channels:
        raise ValueError(f"state: found shape {tuple(state.shape)}, allowed (B, {rule.channels}, D, H, W)")
    if not state.is_floating_point():
        raise ValueError(f"state: found {state.dtype}, allowed a floating-point tensor")
    if steps < 0:
        raise ValueError(f"steps: found {steps}, allowed 0 or more")
    if record_every is not None and record_every < 1:
        raise ValueError(f"record_every: found {record_every}, allowed 1 or more, or None")
    if inputs is not None:
        raise ValueError(f"inputs: found a tensor, allowed None: {type(rule).__name__} takes no external channels")
    expected = (steps, len(state), 1, *state.shape[2:])
    if fire_masks is not None and (tuple(fire_masks.shape) != expected or fire_masks.dtype != torch.bool):
        raise ValueError(f"fire_masks: found {fire_masks.dtype} {tuple(fire_masks.shape)}, allowed bool {expected}")


def _device(rule: Rule) -> torch.device:
    return next((tensor.device for tensor in (*rule.parameters(), *rule.buffers())), torch.device("cpu"))
