"""Cells that rest, of any rule without an alive mask whose step is that of `cell.py`: the network is asked where sights moved.

What every cell sees is gathered each step, which is cheap; the update network, which is not, runs on the cells that fire and
whose perception changed by more than the threshold since it last ran on them. The others change as they did then.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nca3d.executors.every_cell import Clock
from nca3d.rules.cell import Rule


def fits(rule: Rule) -> bool:
    """Whether its step is `Rule.forward` and no cell is ever dead."""
    kind = type(rule)
    return rule.alive_threshold is None and kind.forward is Rule.forward and kind.alive_mask is Rule.alive_mask


class RestingRows:
    """What is remembered through one rollout: what each cell of each sample saw last, and the change that it made then."""

    def __init__(self, rule: Rule, threshold: float, like: Tensor) -> None:
        self.rule, self.threshold = rule, threshold
        cells = like[..., 0].numel()
        # NaN: a cell that was never asked has changed, whatever it sees.
        self.seen = like.new_full((cells, len(rule.kernels()) * rule.channels), torch.nan)
        self.delta = like.new_zeros(cells, rule.channels)
        self.counts: list[tuple[int, int]] = []

    def run(self, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
        """Steps of a state (B, D, H, W, C) with masks fire (T, B, D, H, W); `counts` gets (computed, fired) of each."""
        rows = state.reshape(-1, self.rule.channels)
        for fire_now in fire:
            firing = fire_now.flatten()
            with torch.autocast(state.device.type, enabled=False):  # only the network may answer in fewer bits
                seen = self.rule.perceive(rows.view(state.shape).movedim(-1, 1))
            seen = seen.movedim(1, -1).reshape(self.seen.shape)
            # not (… <= …): NaN is a change too.
            awake = firing & ~((seen - self.seen).abs().amax(dim=1) <= self.threshold)
            chosen = awake.nonzero().squeeze(1)
            fresh = seen.index_select(0, chosen)
            self.seen.index_copy_(0, chosen, fresh)
            self.delta.index_copy_(0, chosen, self.rule.update(fresh).to(self.delta.dtype))
            rows = torch.where(firing[:, None], rows + self.rule.step_size * self.delta, rows)
            self.counts.append((len(chosen), int(firing.sum())))
        return rows.view(state.shape)
