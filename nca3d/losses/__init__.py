"""What we ask of a trajectory, one question per file. May import `registry`, `rules`, `rollout` and `targets`.

A loss term is a function `term(moments, target, rule) -> (B,)` of the last states of a rollout; a config weighs terms by name:
`[losses] rgba = 1.0  overflow = 0.1`. One line adds one's own: `@LOSSES.register("mine")`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nca3d.errors import InputError
from nca3d.losses.classes import classes
from nca3d.losses.dialogue import dialogue
from nca3d.losses.internal import internal
from nca3d.losses.occupancy import occupancy
from nca3d.losses.overflow import overflow
from nca3d.losses.reconstruction import reconstruction
from nca3d.losses.rest import rest
from nca3d.losses.rgba import rgba
from nca3d.losses.still import still
from nca3d.losses.surface import surface
from nca3d.registry import Registry
from nca3d.rules.cell import Rule

OF_BODIES = (rgba, classes, occupancy, overflow, rest, still)
OF_CUBES = (surface, internal, dialogue, reconstruction)

LOSSES = Registry("loss")
for _term in (*OF_BODIES, *OF_CUBES):
    LOSSES[_term.__name__] = _term

DEFAULT_TERMS = {
    "rgb": {"rgba": 1.0, "occupancy": 0.2, "overflow": 0.1},
    "classes": {"classes": 1.0, "overflow": 0.1},
    "signal": {"surface": 0.3, "internal": 0.01, "dialogue": 1.0, "reconstruction": 0.1},
}
"""The terms of a config that names none, by the target's kind."""


def terms_of(weights: Mapping[str, float], kind: str) -> dict[str, float]:
    """The terms that a config asks for, zero weights left out.

    Raises:
        InputError: a term that nobody registered, or one that does not fit the target's kind.
    """
    chosen = {name: weight for name, weight in (weights or DEFAULT_TERMS[kind]).items() if weight}
    for name in chosen:
        LOSSES.find(name, "config", "losses")
    strange = {"rgb": (classes, *OF_CUBES), "classes": (rgba, *OF_CUBES), "signal": OF_BODIES}[kind]
    for term in strange:
        if term.__name__ in chosen:
            known = ", ".join(name for name in LOSSES if LOSSES[name] not in strange)
            raise InputError("config", "losses", repr(term.__name__), f"terms for a target of kind {kind!r}: {known}")
    return chosen


def evaluate_terms(weights: Mapping[str, float], moments: Tensor, target: Any, rule: Rule) -> dict[str, Tensor]:
    """Each weighted term, by name, as (B,).

    Args:
        weights: by name.
        moments: (T, B, C, D, H, W), the last ones of a rollout in order.
        target: what is wanted: a `Target`, or of cubes a `Lesson`.
        rule: whose states these are.
    """
    return {name: weight * LOSSES.find(name)(moments, target, rule) for name, weight in weights.items()}


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of weighted terms, (B,)."""
    return torch.stack(list(terms.values())).sum(dim=0)
