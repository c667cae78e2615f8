"""All that training carries from one iteration to the next, and how it is saved and restored, bit for bit (law 11)."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pools
from nca3d.config import Config
from nca3d.errors import InputError, InputErrors
from nca3d.losses import LOSSES, terms_of
from nca3d.rollout import seed_state
from nca3d.rules import RULES
from nca3d.rules.cell import Rule
from nca3d.targets import Target, load
from nca3d.training import checkpoint
from nca3d.training.memory import check_memory
from nca3d.training.optim import build_optimizer, learning_rate
from nca3d.training.step import Outcome, train_step


@dataclass
class Trainer:
    """Rule, optimizer, pool and counters of one run. `average` is the running average of the weights, if asked for."""

    config: Config
    target: Target
    rule: Rule
    optimizer: torch.optim.Optimizer
    pool: pools.StatePool
    weights: dict[str, float]
    average: dict[str, Tensor] = field(default_factory=dict)
    iteration: int = 0
    seconds: float = 0.0
    bad_steps: int = 0
    skipped: int = 0

    @classmethod
    def begin(cls, config: Config) -> Trainer:
        """A trainer at iteration 0; everything that the config names is looked up and checked here.

        Raises:
            InputError: a name that nobody registered, a target that can't be used, a device that is not there.
        """
        _require_known(config, rule=RULES, losses=LOSSES, damages=pools.damage.DAMAGES)
        device = choose_device(config)
        check_memory(config)
        target = load(config.target, size=config.size, **config.target_options)
        weights = terms_of(config.losses, target.kind)

        rule = build_rule(config, target).to(device)
        rule.card = card_of(config)
        slots = 1 if config.regime == "growing" else config.pool_size
        seeds = seed_state(rule, config.size, batch=1, device="cpu").expand(slots, -1, -1, -1, -1)
        generator = torch.Generator().manual_seed(config.random_seed)
        pool = pools.StatePool(seeds, generator=generator, dead_value=rule.dead_value)
        trainer = cls(config, target, rule, build_optimizer(config, rule), pool, weights)
        if config.average:
            trainer.average = {name: tensor.detach().clone() for name, tensor in rule.state_dict().items()}
        return trainer

    def step(self) -> Outcome:
        """One iteration; a faulty one leaves weights, optimizer and average as they were, and is counted."""
        self.iteration += 1
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.iteration)
        outcome = train_step(
            self.config, self.iteration, self.rule, self.optimizer, self.pool, self.target, self.weights
        )
        self.bad_steps = self.bad_steps + 1 if outcome.fault else 0
        self.skipped += bool(outcome.fault)
        if self.average and not outcome.fault:
            # A young average leans on the newest weights, else the first random ones would linger in it.
            decay = min(self.config.average, self.iteration / (self.iteration + 10))
            for name, tensor in self.rule.state_dict().items():
                self.average[name].lerp_(tensor, 1 - decay)
        return outcome

    def trained_rule(self) -> Rule:
        """A copy of the rule as it is evaluated: with the averaged weights where the config asks for an average."""
        rule = copy.deepcopy(self.rule)
        if self.average:
            rule.load_state_dict(self.average)
        return rule.requires_grad_(True).eval()

    def save(self, folder: Path) -> Path:
        """Write a checkpoint folder; see `checkpoint.save` for what it survives."""
        optimizer_tensors, optimizer_scalars = checkpoint.pack_optimizer(self.optimizer)
        groups = {
            "rule": self.trained_rule().state_dict(),
            "weights": self.rule.state_dict(),
            "optimizer": optimizer_tensors,
            "pool": self.pool.state_dict(),
        }
        if self.average:
            groups["average"] = self.average
        scalars = {
            "iteration": self.iteration,
            "iterations": self.config.iterations,
            "seconds": self.seconds,
            "bad_steps": self.bad_steps,
            "skipped": self.skipped,
            "optimizer": optimizer_scalars,
            "rule": {"name": self.config.rule, "options": self.rule.spec()},
            "card": self.rule.card,
        }
        return checkpoint.save(folder, self.iteration, groups, scalars, keep=self.config.keep_checkpoints)

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on where a checkpoint was taken.

        Raises:
            InputError: the checkpoint belongs to another rule, pool or optimizer; the line names the field.
        """
        if saved.scalars["iteration"] > self.config.iterations:
            raise InputError(
                saved.path,
                "iterations",
                self.config.iterations,
                f"at least the {saved.scalars['iteration']} already done",
            )
        for name, module_state in (("weights", saved.groups["weights"]), ("average", saved.groups.get("average", {}))):
            wanted = self.rule.state_dict() if name == "weights" else self.average
            checked_shapes(saved.path, name, module_state, wanted)
        self.rule.load_state_dict(saved.groups["weights"])
        for name, tensor in self.average.items():
            tensor.copy_(saved.groups["average"][name])
        checkpoint.unpack_optimizer(self.optimizer, saved.groups["optimizer"], saved.scalars["optimizer"])
        try:
            self.pool.load_state_dict(saved.groups["pool"])
        except ValueError as error:
            raise InputError(
                saved.path, "pool", error, "the pool of this config (pool_size, size, channels)"
            ) from error
        self.iteration, self.seconds = saved.scalars["iteration"], saved.scalars["seconds"]
        self.bad_steps, self.skipped = saved.scalars["bad_steps"], saved.scalars["skipped"]


def _require_known(config: Config, **registries: Iterable[str]) -> None:
    """All names that nobody registered, at once."""
    errors: list[InputError] = []
    for name, known in registries.items():
        try:
            config.require_known(name, known)
        except InputErrors as found:
            errors += found.errors
    if errors:
        raise InputErrors(errors)


def card_of(config: Config) -> dict[str, Any]:
    """What a loaded rule knows of its training: enough to grow and judge its body."""
    return {
        "size": list(config.size),
        "regime": config.regime,
        "target": config.target,
        "target_options": dict(config.target_options),
        "horizon": config.horizon,
        "figures": {},
    }


def build_rule(config: Config, target: Target) -> Rule:
    """A fresh rule for this target, or the one that `init` names; its weights follow from `random_seed`.

    Raises:
        InputError: options that the rule does not take, or an `init` rule with other channels.
    """
    options = {
        "channels": config.channels_for(target.visible),
        "hidden": config.hidden,
        "perception": config.perception,
        "visible": target.visible,
        "visible_kind": target.kind,
        "fire_rate": config.fire_rate,
        "alive_threshold": config.alive_threshold,
        "step_size": config.step_size,
        "padding": config.padding,
        "generator": torch.Generator().manual_seed(config.random_seed),
        **config.rule_options,
    }
    try:
        rule: Rule = RULES.find(config.rule)(**options)
    except (TypeError, ValueError) as error:
        raise InputError("config", "rule", error, f"the arguments of rule {config.rule!r}") from error
    if config.init:
        from nca3d.load import load as load_rule

        started = load_rule(config.init)
        checked_shapes(config.init, "init", started.state_dict(), rule.state_dict())
        rule.load_state_dict(started.state_dict())
    return rule


def checked_shapes(where: object, field_name: str, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Raises InputError, naming the tensor, unless both have the same names and shapes."""
    for name in sorted(set(found) | set(wanted)):
        shapes = [
            str(tuple(tensors[name].shape)) if name in tensors else "no such tensor" for tensors in (found, wanted)
        ]
        if shapes[0] != shapes[1]:
            raise InputError(
                where,
                f"{field_name}: {name}",
                shapes[0],
                f"{shapes[1]}, as this config asks (channels, hidden, perception)",
            )


def choose_device(config: Config) -> torch.device:
    """The device that the config names; "auto" takes CUDA where there is one.

    Raises:
        InputError: "cuda" without a CUDA device.
    """
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("config", "device", "'cuda', and torch sees no CUDA device", "cpu, auto")
    return torch.device(config.device)
