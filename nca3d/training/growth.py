"""The task of a body: to grow into a target from one cell, to stay, to heal."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

import pools
from nca3d.config import Config
from nca3d.config.shipped import KEPT
from nca3d.errors import InputError
from nca3d.files import write_atomic
from nca3d.losses import evaluate_terms, terms_of, total
from nca3d.metrics import iou, occupied
from nca3d.rollout import seed_state
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs
from nca3d.targets import Target, from_array, load
from nca3d.training.build import build_rule
from nca3d.training.reach import reach_note

# Bodies whose pattern is measured.
MEASURED = 4


@dataclass(frozen=True)
class CustomBody:
    """A body that no name stands for: kept in the run folder, so that the run can be gone on with and evaluated.

    Args:
        voxels: RGBA (D, H, W, 4) or labels (D, H, W), as `nca3d.targets.from_array` takes them.
        options: those that they were made into a target with.
        target: what they became.
    """

    voxels: np.ndarray
    options: dict[str, Any]
    target: Target

    @classmethod
    def of(cls, body: Target | np.ndarray | Tensor, config: Config) -> "CustomBody":
        """From an array, made into a target with the config's options, or from a target as it is.

        Raises:
            InputError: not such an array, or a target of another lattice than the config's.
        """
        if isinstance(body, str | Path):
            raise InputError(
                "train", "target", repr(body), "an array or a Target; a name stands in the config: Config(target=…)"
            )
        if not isinstance(body, Target):
            voxels, options = np.asarray(body.detach().cpu() if isinstance(body, Tensor) else body), dict(config.target_options)
            return cls(voxels, options, from_array(voxels, config.size, **options))
        if body.size != config.size:
            raise InputError("train", "target", f"a body in a lattice of {body.size}", f"{config.size}, the config's size")
        if body.kind == "rgb":
            return cls(body.rgba(), {}, from_array(body.rgba(), body.size, name=body.name))
        labels, palette = body.values[:-1].argmax(dim=0).numpy(), body.palette
        there = [0, *np.unique(labels[labels > 0]).tolist()]
        options = {"names": [body.names[label] for label in there]}
        options |= {} if palette is None else {"palette": [palette[label].tolist() for label in there]}
        return cls(labels, options, from_array(labels, body.size, name=body.name, **options))

    def keep(self, folder: Path) -> dict[str, Any]:
        """Write it; the fields of a config that name it."""
        file = folder / KEPT
        stream = BytesIO()
        np.save(stream, self.voxels)
        write_atomic(file, stream.getvalue())
        return {"target": str(file.absolute()), "target_options": self.options}


def body_of(config: Config) -> Target:
    """The body that a config names."""
    return load(config.target, size=config.size, **config.target_options)


class Growth:
    """See `Task`.

    Raises:
        InputError: a target that can't be used, a loss term that does not fit it.
    """

    headline = "iou"
    fixed: Mapping[str, str] = {}

    def __init__(self, config: Config, given: Target | CustomBody | None = None) -> None:
        self.config, self.own = config, given if isinstance(given, CustomBody) else None
        self.target = given.target if isinstance(given, CustomBody) else given or body_of(config)
        self.subject = self.own.target.name if self.own else ""
        self.weights = terms_of(config.losses, self.target.kind)
        self.pooled, self.damaging = config.kind.pooled, config.kind.damaging
        self.curriculum, self.ageing = config.curriculum, config.ageing if self.pooled else 0

    def check_rule(self, rule: Rule) -> None:
        """Whether it shows what the target has."""
        shown, wanted = (rule.visible_kind, rule.visible), (self.target.kind, self.target.visible)
        if shown != wanted:
            found = f"one that shows {shown[0]} in {shown[1]} channels"
            raise InputError("train", "rule", found, f"{wanted[0]} in {wanted[1]}, as the target")

    def build_rule(self) -> Rule:
        """A fresh rule for the target, or the one that `init` names."""
        config, target = self.config, self.target
        return build_rule(
            config,
            channels=config.channels_for(target.visible),
            hidden=config.hidden,
            perception=config.perception,
            visible=target.visible,
            visible_kind=target.kind,
            alive_threshold=config.alive_threshold,
            padding=config.padding,
        )

    def lr_multipliers(self, rule: Rule) -> dict[nn.Parameter, float]:
        """None: all weights learn at one rate."""
        return {}

    def card(self) -> dict[str, Any]:
        """Enough to grow and judge the body."""
        config = self.config
        return {
            "size": list(config.size),
            "regime": config.regime,
            "target": config.target,
            "target_options": dict(config.target_options),
            "horizon": config.horizon,
            "figures": {},
        }

    def seed(self, rule: Rule) -> Tensor:
        """The first cell."""
        return seed_state(rule, self.config.size, batch=1, device="cpu")

    def pool_loss(self, rule: Rule, states: Tensor) -> Tensor:
        """The loss of a body as it is."""
        return total(evaluate_terms(self.weights, states[None], self.target, rule))

    def body(self, rule: Rule, states: Tensor) -> Tensor:
        """The cells that are there."""
        return occupied(states, rule.visible, rule.visible_kind)

    def draw(self, iteration: int) -> Target:
        """The same body every time."""
        return self.target

    def part(self, wanted: Target, ids: Tensor) -> Target:
        """All samples grow into it."""
        return wanted

    def inputs(self, rule: Rule, wanted: Target) -> Inputs | None:
        """A body hears nothing."""
        return None

    def figures(self, rule: Rule, states: Tensor, wanted: Target) -> dict[str, float]:
        """IoU."""
        return {"iou": float(iou(states, wanted).mean())}

    def pattern(self, rule: Rule, states: Tensor) -> dict[str, list[float]]:
        """Pattern of some bodies; nothing random is drawn."""
        states = states[:MEASURED]
        alive = rule.alive_mask(states)[:, 0]
        sound = alive.flatten(1).any(dim=1) & states.isfinite().flatten(1).all(dim=1)  # nothing has no pattern
        if not sound.any():
            return {}
        shown = pools.pattern.cropped(states[sound, : rule.visible + 1], alive[sound]).cpu()
        found = pools.pattern.summary(shown, rule.visible_kind)
        return {f"pattern_{name}": values.tolist() for name, values in found.items()}

    def note(self, rule: Rule) -> str:
        """Cells that rollouts can't reach."""
        return reach_note(self.target, self.config.steps_range[1])

    def keep(self, folder: Path) -> dict[str, Any]:
        """A body that no name stands for; else nothing, for the rule has its card."""
        return {} if self.own is None else self.own.keep(folder)
