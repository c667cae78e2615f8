"""What we ask of a trajectory, one question a term. May import `registry`, `rules`, `rollout` and `targets`.

A loss term is a function `term(moments, target, rule) -> (B,)` of the last states of a rollout. A config weighs terms by name:
`[losses] rgba = 1.0  overflow = 0.1`. One line adds a term of your own: `@LOSSES.register("mine", moments=2, kinds=("rgb",))`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nca3d.errors import InputError, nearest
from nca3d.losses.body import classes, classes_even, first_cell, front, occupancy, overflow, rest, rgba, still
from nca3d.losses.terms import Losses, declared
from nca3d.registry import Registry
from nca3d.rules.cell import Rule

LOSSES = Losses("loss")
for _term in (rgba, classes, classes_even, first_cell, front, occupancy, overflow, rest, still):
    LOSSES[_term.__name__] = _term

# The weighted terms of a config that names none, by the target's kind.
# A registry, because a wing adds the terms of its own kind.
DEFAULT_TERMS = Registry("default losses")
DEFAULT_TERMS["rgb"] = {"rgba": 1.0, "occupancy": 0.2, "overflow": 0.1}
DEFAULT_TERMS["classes"] = {"classes": 1.0, "overflow": 0.1}


def terms_of(weights: Mapping[str, float], kind: str) -> dict[str, float]:
    """Returns the weights of the terms to evaluate; terms of weight 0 are left out.

    Args:
        weights: weights by name, as the config has them; none = the default terms of the kind.
        kind: the target's kind, "rgb", "classes" or "signal".

    Raises:
        InputError: a term is not registered, or does not fit the target's kind.
    """
    chosen = {name: weight for name, weight in (weights or DEFAULT_TERMS[kind]).items() if weight}
    # A term of another kind would read channels as what they are not.
    fitting = LOSSES.fitting(kind)
    for name in chosen:
        if name not in fitting:
            known = f"{', '.join(fitting)}{nearest(name, fitting)}"
            raise InputError("config", "losses", repr(name), f"terms for a target of kind {kind!r}: {known}")
    return chosen


def evaluate_terms(weights: Mapping[str, float], moments: Tensor, target: object, rule: Rule) -> dict[str, Tensor]:
    """Returns each term times its weight, by name, (B,).

    Args:
        weights: weights of the terms, by name.
        moments: (T, B, C, D, H, W), the last recorded states of a rollout, in order of time.
        target: what the states should become: a `Target`, or the goal that the task draws.
        rule: the rule whose states these are.

    Raises:
        InputError: a term returned no tensor of real numbers, or another shape than (B,).
    """
    weighted = {}
    for name, weight in weights.items():
        count = LOSSES.moments([name])
        # A pooled state comes alone, without its past: repeated, it is a state that does not change.
        recording = moments[-count:] if len(moments) >= count else moments[-1:].expand(count, *moments.shape[1:])
        term = LOSSES.find(name)(recording, target, rule)
        if not isinstance(term, Tensor) or term.is_complex():
            found = f"a {type(term).__name__}" if not isinstance(term, Tensor) else f"numbers of {term.dtype}"
            raise InputError("losses", name, found, f"a tensor of real numbers ({moments.shape[1]},), one for each sample")
        if tuple(term.shape) != (moments.shape[1],):
            raise InputError("losses", name, f"shape {tuple(term.shape)}", f"{(moments.shape[1],)}, one number for each sample")
        weighted[name] = weight * term
    return weighted


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """Returns the sum of weighted terms, (B,).

    Args:
        terms: at least one term, (B,) each, by name.
    """
    return torch.stack(list(terms.values())).sum(dim=0)


__all__ = ["DEFAULT_TERMS", "LOSSES", "Losses", "declared", "evaluate_terms", "terms_of", "total"]
