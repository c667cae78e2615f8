"""The gradient of a batch: that of its samples, added up in their order, whoever has run them (law 8)."""

import torch
from torch import Tensor, nn

from nca3d.rules.by_sample import BySample
from nca3d.rules.cell import Rule
from nca3d.rules.conditional import ConditionalRule
from nca3d.training.shares import Share


def add_up(rule: Rule, found: BySample, share: Share, labels: Tensor) -> None:
    """Gives each parameter of a rule its gradient over the whole batch; every process gets the same bits.

    Args:
        rule: The rule. What autograd has summed up over this process's samples is in its parameters.
        found: The gradients that came by sample.
        share: Which samples of the batch these are of.
        labels: The body of each sample of the whole batch, int64 (B,) on the CPU.
    """
    parameters = [parameter for parameter in rule.parameters() if parameter.requires_grad]
    # A process without samples has found nothing, and must still take part.
    mine = [[found.has(p), p.grad is not None] for p in parameters]
    tied = [[any(map(found.has, found.tied.values())), any(one.grad is not None for one in found.tied.values())]]
    flags = torch.stack(share.ranks.gather(torch.tensor(mine + tied, dtype=torch.uint8))).any(dim=0).tolist()
    for parameter, (_, summed) in zip(parameters, flags, strict=False):
        if summed and share.ranks.size > 1:
            parameter.grad = share.ranks.sum(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    for parameter, gradient in _by_sample([p for p, flag in zip(parameters, flags, strict=False) if flag[0]], found, share):
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    if any(flags[-1]) and isinstance(rule, ConditionalRule):
        rule.pass_on(_of_conditions(rule, found, share, labels, *flags[-1]))


def _by_sample(parameters: list[nn.Parameter], found: BySample, share: Share) -> list[tuple[nn.Parameter, Tensor]]:
    """Returns each parameter with the sum of its gradients by sample."""
    if not parameters:
        return []
    total = _in_order(
        share.whole(_rows(share, [[found.of(p, place) for p in parameters] for place in share.places], parameters))
    )
    parts = total.split([parameter.numel() for parameter in parameters])
    return [(p, part.view_as(p).to(p.dtype)) for p, part in zip(parameters, parts, strict=True)]


def _of_conditions(
    rule: ConditionalRule, found: BySample, share: Share, labels: Tensor, by_sample: bool, summed: bool
) -> dict[int, Tensor]:
    """Returns the gradient of the bias of each condition that is in the batch, summed over its samples."""
    like = rule.cell.network[0].bias
    assert isinstance(like, Tensor)
    each = sorted(set(labels.tolist()))
    totals = {label: torch.zeros_like(like) for label in each}
    if by_sample:
        own = [[found.of(found.tied[int(labels[place])], place)] for place in share.places]
        rows = share.whole(_rows(share, own, [like]))
        totals = {label: _in_order(rows[labels == label]).to(like.dtype) for label in each}
    if summed:
        for label in each:
            grad = found.tied[label].grad if label in found.tied else None
            totals[label] = totals[label] + share.ranks.sum(torch.zeros_like(like) if grad is None else grad)
    return totals


def _rows(share: Share, gradients: list[list[Tensor]], like: list[nn.Parameter] | list[Tensor]) -> Tensor:
    """Returns the gradients of each sample of this process in one row, (n, numbers)."""
    if not gradients:
        return like[0].new_zeros(0, sum(one.numel() for one in like))
    return torch.stack([torch.cat([gradient.flatten() for gradient in own]) for own in gradients])


def _in_order(rows: Tensor) -> Tensor:
    """Returns the sum of rows (n, numbers), n at least 1, added one by one: torch's own sum takes an order of its own."""
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total
