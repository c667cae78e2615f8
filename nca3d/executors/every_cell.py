"""Makes an executor of a function that runs every cell of a lattice: `EveryCell` adds memory, fire masks and compact states.

This is no executor to choose: `dense`, `graph` and the steppers of rules with their own step become executors by it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nca3d.executors.memory import Memory
from nca3d.fire import Draw
from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact, compact, dense

# Fire masks are drawn for as many steps at once as fit into this: few large draws are faster than many small ones.
MASK_BYTES = 64 << 20


class Clock(NamedTuple):
    """What a step may need to know beside the state: its number, and what decides its draws.

    Attributes:
        step: The absolute number of the first step.
        random_seed: The seed of the rollout, 0 .. 2³²−1.
        sample_ids: A number for each sample, int (B,); None = nobody asks for it.
    """

    step: int = 0
    random_seed: int = 0
    sample_ids: Tensor | None = None


# For rules whose steps are all alike.
AT_FIRST = Clock()

# (rule, state (B, D, H, W, C), fire bool (T, B, D, H, W), clock) -> the state after T steps.
Steps = Callable[[Rule, Tensor, Tensor, Clock], Tensor]


@dataclass(frozen=True)
class Stepper:
    """How executors run one kind of rule that has its own step; the rule names it (`Rule.stepper`).

    Args:
        runs: For each executor, by name, the function that runs some steps of every cell (`Steps`).
        step_bytes: Returns how many bytes one step saves for its backward pass.
        not_compiled: Returns why compiled code can't run a rule on a state, or "".
    """

    runs: Mapping[str, Steps]
    step_bytes: Callable[[Rule, Tensor], int]
    not_compiled: Callable[[Rule, Tensor | Compact], str] = lambda rule, state: (
        "has its own step, for which there is no compiled code"
    )


# By name; a wing adds those of its rules.
STEPPERS = Registry("stepper")


def stepper_of(rule: Rule) -> Stepper | None:
    """Returns the stepper that a rule names; None for rules that any executor can run."""
    return STEPPERS.find(rule.stepper) if rule.stepper else None


def step_bytes(rule: Rule, state: Tensor) -> int:
    """Returns how many bytes one step of a state (B, C, D, H, W) saves at most for its backward pass: if every cell fires."""
    # An estimate: the perception, three states and two copies of each hidden layer.
    per_cell = (len(rule.kernels()) + 3) * rule.channels + 2 * sum(getattr(rule, "hidden", (rule.channels,)))
    return state[:, 0].numel() * per_cell * state.element_size()


class EveryCell:
    """An executor made of a function on whole lattices.

    Args:
        run: Runs some steps. It may be called again for its gradient, so it must not draw random numbers.
        step_bytes: Returns how many bytes one step saves for its backward pass.
    """

    def __init__(self, run: Steps, step_bytes: Callable[[Rule, Tensor], int] = step_bytes) -> None:
        self.run, self.step_bytes = run, step_bytes

    def __call__(
        self, rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory
    ) -> Tensor | Compact:
        """Runs steps start .. stop−1 of a state (B, C, D, H, W), dense or compact; the result has the same form."""
        whole = dense(state, rule.dead_value) if isinstance(state, Compact) else state
        needs_grad = whole.requires_grad or any(p.requires_grad for p in rule.parameters())
        segment = None
        if torch.is_grad_enabled() and needs_grad:
            segment = memory.segment(stop - start, self.step_bytes(rule, whole))
        # Channels last: each cell's numbers lie together, as the update network reads them.
        cells = whole.movedim(1, -1).contiguous()
        # Masks are drawn outside what is recomputed, so that both passes see the same ones.
        at_once = max(1, MASK_BYTES // max(1, 8 * cells[..., 0].numel()))
        while start < stop:
            end = min(stop, start + min(segment or at_once, at_once))
            fire, clock = draw.masks(start, end), Clock(draw.first_step + start, draw.random_seed, draw.sample_ids)
            if segment is None:
                cells = self.run(rule, cells, fire, clock)
            else:
                cells = checkpoint(self.run, rule, cells, fire, clock, use_reentrant=False, preserve_rng_state=False)
            start = end
        last = cells.movedim(-1, 1)
        return compact(last, rule.dead_value) if isinstance(state, Compact) else last
