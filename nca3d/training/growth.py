"""The task of a body: to grow into a target from one cell, to stay, to heal."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pools
from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.fire import evaluation_seed
from nca3d.losses import evaluate_terms, terms_of, total
from nca3d.metrics import colour_error, iou, label_accuracy, occupied
from nca3d.rollout import rollout, seed_state, shared_rollout
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs
from nca3d.targets import Target, from_array, load
from nca3d.targets.kept import KeptTarget
from nca3d.training.build import build_rule
from nca3d.training.course import EVERY, RECOVERED, WHOLE, Look
from nca3d.training.precision import autocast
from nca3d.training.reach import reach_note
from nca3d.training.recovery import BAD_AT_END, EXTINCT_AT_END

# How many bodies of a batch have their pattern measured: enough for a mean, quick enough for the loop.
MEASURED = 4
# How many steps after the horizon a look at a body asks whether it is still whole.
HELD = 300


def custom_body(body: Target | np.ndarray | Tensor, config: Config) -> KeptTarget:
    """Returns a body that came as an array or a `Target`, not by a name, in the form in which a run keeps it.

    Args:
        body: A target, or an array: RGBA (D, H, W, 4) or labels (D, H, W).
        config: Gives the size of the lattice, and the options of an array.

    Raises:
        InputError: The array has another form, or the target another lattice than the config's.
    """
    # A name is the likeliest mistake; it must not be read as an array of characters.
    if isinstance(body, str | Path):
        raise InputError("train", "target", repr(body), "an array or a Target; a name stands in the config: Config(target=…)")
    if isinstance(body, list | tuple) and any(isinstance(one, Target | np.ndarray | Tensor) for one in body):
        raise InputError("train", "target", f"a list of {len(body)}", "one body, or several by name: {NAME: body, …}")
    if not isinstance(body, Target):
        # From a GPU, too: targets are made on the CPU.
        voxels = np.asarray(body.detach().cpu() if isinstance(body, Tensor) else body)
        body = from_array(voxels, config.given_size, **config.target_options)
    if config.given_size not in ("auto", body.size):
        raise InputError("train", "target", f"a body in a lattice of {body.size}", f"{config.lattice}, the config's size")
    return KeptTarget.of(body)


def body_of(config: Config) -> Target:
    """Returns the body that a config names.

    Raises:
        InputError: The target is unknown or can't be read.
    """
    return load(config.targets[0], size=config.lattice, **config.target_options)


class Growth:
    """The task of growing a body; its methods are described in `Task`.

    Args:
        config: the experiment.
        given: the body to grow, as the config names it or as the run keeps it; None = it is read here.

    Raises:
        InputError: the target can't be used, or a loss term does not fit it.
    """

    headline = "iou"
    fixed: Mapping[str, str] = {}
    device = torch.device("cpu")

    def __init__(self, config: Config, given: Target | KeptTarget | None = None) -> None:
        self.config = config
        if not isinstance(given, KeptTarget):
            given = KeptTarget.of(given or body_of(config), config.targets[0], config.target_options)
        self.kept, self.target = given, given.target
        # A body that came as an array: the config names another one, or its file.
        self.own = not given.source["target"]
        self.subject = self.target.name if self.own else ""
        if config.code and self.target.kind != "classes" and not config.init:
            raise InputError("config", "code", config.code, f"0: {config.target} is in colours, and kinds are read from a code")
        self.weights = terms_of(config.losses, self.target.kind)
        # Without a pool there are no old states, and nothing to age.
        self.pooled, self.damaging = config.kind.pooled, config.kind.damaging
        self.curriculum, self.ageing = config.curriculum, config.ageing if self.pooled else 0
        # As many states as the pool has; which of them come is drawn anew each time.
        self.epoch = config.pool_size / config.batch if self.pooled else 0.0

    def check_rule(self, rule: Rule) -> None:
        """Checks that the rule shows what the target has.

        Raises:
            InputError: its visible channels are of another kind or number.
        """
        own, goal = (rule.visible_kind, rule.visible), (self.target.kind, self.target.visible)
        if own != goal:
            found = f"one that shows {own[0]} in {own[1]} channels"
            raise InputError("train", "rule", found, f"{goal[0]} in {goal[1]}, as the target")

    def build_rule(self) -> Rule:
        """Returns a fresh rule for the target, or the one that `init` names."""
        config, target = self.config, self.target
        # Colours are three channels as it is.
        code = config.code if target.kind == "classes" else 0
        return build_rule(
            config.replace(rule="coded") if code and config.rule == "conv" else config,
            code=code,
            channels=config.channels_for(target.visible),
            hidden=config.hidden,
            perception=config.perception,
            visible=target.visible,
            visible_kind=target.kind,
            alive_threshold=config.alive_threshold,
            padding=config.padding,
        )

    def lr_multipliers(self, rule: Rule) -> dict[nn.Parameter, float]:
        """Returns nothing: all weights of a body learn at one rate."""
        return {}

    def in_full(self, rule: Rule) -> list[nn.Parameter]:
        """Returns no parameters: all cells share the weights of a body's rule, which are few."""
        return []

    def in_backward(self, rule: Rule, optimizer: torch.optim.Optimizer) -> None:
        """Returns None: no cell has weights of its own."""

    def card(self) -> dict[str, Any]:
        """Returns the card: all that it takes to grow and judge the body."""
        config = self.config
        return {
            "size": list(config.lattice),
            "regime": config.regime,
            "target": config.target,
            "target_options": dict(config.target_options),
            "horizon": config.horizon,
            "body": self.kept.record,
            # Where its first cell stands: in the body, for growth seldom crosses much void.
            "start": list(self.target.start),
            "figures": {},  # filled at the end of the run, by its evaluation
        }

    def seed(self, rule: Rule) -> Tensor:
        """Returns the first cell in an empty lattice, (1, C, D, H, W)."""
        return seed_state(rule, self.config.lattice, batch=1, device="cpu")

    def pool_loss(self, rule: Rule, states: Tensor, label: int) -> Tensor:
        """Returns the loss of each pooled body as it is, (B,)."""
        # As one recorded moment (T = 1): terms of change have nothing to compare and are 0.
        return total(evaluate_terms(self.weights, states[None], self.goal, rule))

    def body(self, rule: Rule, states: Tensor) -> Tensor:
        """Returns the cells of each body, bool (B, D, H, W)."""
        return occupied(states, rule.visible, rule.visible_kind)

    def draw(self, iteration: int, labels: Tensor) -> Target:
        """Returns the target on the device where the rule runs, the same in every iteration and for all `labels` (B,)."""
        return self.goal

    @cached_property
    def goal(self) -> Target:
        """The target on the device where the rule runs: losses look at it in each iteration, and must not copy it each time."""
        return self.target.to(self.device)

    def condition(self, goal: Target) -> None:
        """Returns None: a rule of one body is told nothing."""

    def terms(self, moments: Tensor, goal: Target, rule: Rule) -> dict[str, Tensor]:
        """Returns the weighted loss terms of recorded states (T, B, C, D, H, W), by name, (B,) each."""
        return evaluate_terms(self.weights, moments, goal, rule)

    def subset(self, goal: Target, ids: Tensor) -> Target:
        """Returns the goal as it is: all samples `ids` (n,) grow into one target."""
        return goal

    def inputs(self, rule: Rule, goal: Target) -> Inputs | None:
        """Returns None: a body grows without inputs."""
        return None

    def metrics(self, rule: Rule, states: Tensor, goal: Target) -> dict[str, float]:
        """Returns the mean intersection over union of states (B, C, D, H, W) with the target."""
        return {"iou": float(iou(states, goal).mean())}

    def pattern(self, rule: Rule, states: Tensor) -> dict[str, list[float]]:
        """Returns measures of pattern of the first bodies of states (B, C, D, H, W); nothing random is drawn."""
        states = states[:MEASURED]
        alive = rule.alive_mask(states)[:, 0]
        # An empty or non-finite body has no pattern, and would spoil the mean.
        measurable = alive.flatten(1).any(dim=1) & states.isfinite().flatten(1).all(dim=1)
        if not measurable.any():
            return {}
        visible = pools.pattern.cropped(states[measurable, : rule.visible + 1], alive[measurable]).cpu()
        summary = pools.pattern.summary(visible, rule.visible_kind)
        return {f"pattern_{name}": values.tolist() for name, values in summary.items()}

    @torch.no_grad()
    def fault(self, rule: Rule) -> str:
        """Returns why a trained rule has failed: none of some bodies is alive at the horizon, or one isn't finite; else ""."""
        config = self.config
        executor = "auto" if "approx" in config.executor else config.executor
        seeds = seed_state(rule, config.lattice, batch=MEASURED)
        states = rollout(rule, seeds, config.horizon, random_seed=evaluation_seed(config.random_seed, 0), executor=executor)
        if not states.isfinite().all():
            return BAD_AT_END
        return "" if rule.alive_mask(states).any() else EXTINCT_AT_END

    @torch.no_grad()
    def look(self, rule: Rule, iteration: int, least: float | None = None) -> Look:
        """Returns what a rule grows, holds and heals: a few bodies, on fire masks that training never draws.

        Args:
            rule: a trained rule.
            iteration: after which one.
            least: the IoU at the horizon below which there is nothing to hold or heal yet; None = that of a whole body.
        """
        config, target = self.config, self.goal
        executor = "auto" if "approx" in config.executor else config.executor

        def run(states: Tensor, steps: int, first: int) -> Tensor:
            with autocast(config, self.device):
                seed = evaluation_seed(config.random_seed, 1)
                return shared_rollout(rule, states, steps, random_seed=seed, first_step=first, executor=executor)

        horizon = config.horizon
        grown = run(seed_state(rule, config.lattice, batch=MEASURED, device=self.device), horizon, 0)
        first = float(iou(grown, target).mean())
        alive = float(rule.alive_mask(grown).flatten(1).any(dim=1).float().mean())
        # Most looks end here: there is nothing to hold yet.
        if first < (WHOLE if least is None else least):
            return Look(iteration, first, alive=alive)
        classes = target.kind == "classes"
        right = label_accuracy(grown, target) if classes else 1 - colour_error(grown, target)
        old = run(grown, HELD, horizon)
        healed = 1.0
        if self.damaging and config.damage_count:
            wound = self._halves(self.body(rule, old), iteration)
            after, before = pools.damage.apply(old, wound.to(self.device), rule.dead_value), iou(old, target).clamp_min(1e-6)
            # Two horizons, as an evaluation has it; most bodies need but one.
            for first_step in (horizon + HELD, 2 * horizon + HELD):
                after = run(after, horizon, first_step)
                if (healed := float((iou(after, target) / before).min())) >= RECOVERED:
                    break
        return Look(iteration, first, float(right.mean()), float(iou(old, target).mean()), healed, alive)

    def _halves(self, body: Tensor, iteration: int) -> Tensor:
        """Returns a half of each body (B, D, H, W), bool (B, 1, D, H, W), from sides that three looks go round."""
        # Drawn ones would miss some: a body may heal from all sides but one, such as from the loss of its roof.
        axes = [axis for axis, cells in zip("zyx", self.config.lattice, strict=True) if cells > 1]
        sides = [sign + axis for axis in axes for sign in "+-"]
        first = iteration // EVERY * len(body)
        cut = pools.damage.half_space
        halves = [
            cut(self.config.lattice, 1, severity=0.5, body=one[None], direction=sides[(first + k) % len(sides)])
            for k, one in enumerate(body)
        ]
        return torch.cat(halves)

    def note(self, rule: Rule) -> str:
        """Returns what to know of the body: cells that rollouts can't reach, a source that has changed; "" for nothing."""
        notes = (self.kept.changed(), reach_note(self.target, self.config.steps_range[1]))
        return "\n".join(note for note in notes if note)

    def keep(self, folder: Path) -> dict[str, Any]:
        """Saves the body as it was fitted; the config names the file where it names no other source."""
        path = self.kept.write(folder)
        # An absolute path, so that the run can be resumed from any folder; `moved_target` finds it after a move.
        return {"target": str(path.absolute()), "target_options": {}} if self.own else {}
