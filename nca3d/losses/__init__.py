"""What we ask of a trajectory, one question a term. May import `registry`, `rules`, `rollout` and `targets`.

A loss term is a function `term(moments, target, rule) -> (B,)` of the last states of a rollout; a config weighs terms by name:
`[losses] rgba = 1.0  overflow = 0.1`. One line adds one's own: `@LOSSES.register("mine", moments=2, kinds=("rgb",))`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nca3d.errors import InputError, nearest
from nca3d.losses.body import classes, occupancy, overflow, rest, rgba, still
from nca3d.losses.terms import Losses, declared
from nca3d.registry import Registry
from nca3d.rules.cell import Rule

LOSSES = Losses("loss")
for _term in (rgba, classes, occupancy, overflow, rest, still):
    LOSSES[_term.__name__] = _term

# The terms of a config that names none, by the target's kind.
DEFAULT_TERMS = Registry("default losses")
DEFAULT_TERMS["rgb"] = {"rgba": 1.0, "occupancy": 0.2, "overflow": 0.1}
DEFAULT_TERMS["classes"] = {"classes": 1.0, "overflow": 0.1}


def terms_of(weights: Mapping[str, float], kind: str) -> dict[str, float]:
    """The terms that a config asks for, zero weights left out.

    Raises:
        InputError: a term that nobody registered, or one that does not fit the target's kind.
    """
    chosen = {name: weight for name, weight in (weights or DEFAULT_TERMS[kind]).items() if weight}
    fitting = LOSSES.fitting(kind)
    for name in chosen:
        if name not in fitting:
            known = f"{', '.join(fitting)}{nearest(name, fitting)}"
            raise InputError("config", "losses", repr(name), f"terms for a target of kind {kind!r}: {known}")
    return chosen


def evaluate_terms(weights: Mapping[str, float], moments: Tensor, target: Any, rule: Rule) -> dict[str, Tensor]:
    """Each weighted term, by name, as (B,).

    Args:
        weights: by name.
        moments: (T, B, C, D, H, W), the last ones of a rollout in order.
        target: what is wanted: a `Target`, or what the task draws.
        rule: whose states these are.

    Raises:
        InputError: a term of another shape.
    """
    found = {}
    for name, weight in weights.items():
        count = LOSSES.moments([name])
        # A state alone (a pooled one, that is ranked) stands for all that a term looks at: nothing has changed.
        seen = moments[-count:] if len(moments) >= count else moments[-1:].expand(count, *moments.shape[1:])
        term = LOSSES.find(name)(seen, target, rule)
        if tuple(term.shape) != (moments.shape[1],):
            raise InputError("losses", name, f"shape {tuple(term.shape)}", f"{(moments.shape[1],)}, one number for each sample")
        found[name] = weight * term
    return found


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of weighted terms, (B,)."""
    return torch.stack(list(terms.values())).sum(dim=0)


__all__ = ["DEFAULT_TERMS", "LOSSES", "Losses", "declared", "evaluate_terms", "terms_of", "total"]
