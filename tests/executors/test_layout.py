"""Dense steps lie channels last in memory: what a rule's own convolutions are fastest with."""

import torch
from torch import Tensor

import nca3d
from nca3d.rules import ConvRule


class Looking(ConvRule):
    """Notes how the states that it is given lie in memory."""

    seen: list[bool]

    def forward(self, state: Tensor, fire_mask: Tensor) -> Tensor:
        self.seen.append(state.is_contiguous(memory_format=torch.channels_last_3d))
        return super().forward(state, fire_mask)


def test_a_rule_of_ones_own_sees_channels_last():
    rule = Looking(channels=8, hidden=(8,))
    rule.seen = []
    nca3d.rollout(rule, torch.rand(2, 8, 5, 6, 7), 3, executor="dense").sum().backward()
    assert rule.seen[0] and len(rule.seen) == 3
