"""All that training carries from one iteration to the next, and how it is saved and restored, bit for bit (law 11)."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pools
from nca3d import checkpoint
from nca3d.config import Config
from nca3d.errors import ErrorCollector, InputError
from nca3d.losses import LOSSES
from nca3d.rules import RULES
from nca3d.rules.cell import Rule
from nca3d.training.balance import Balance
from nca3d.training.build import check_same_shapes, choose_device, rule_record
from nca3d.training.memory import check_memory
from nca3d.training.optim import LR_MULTIPLIER, build_optimizer, learning_rate
from nca3d.training.optimizer_state import pack_optimizer, unpack_optimizer
from nca3d.training.step import Outcome, train_step
from nca3d.training.task import Task


@dataclass
class Trainer:
    """Task, rule, optimizer, pool and counters of one run. `average` is the running average of the weights, if asked for."""

    config: Config
    task: Task
    rule: Rule
    balance: Balance
    optimizer: torch.optim.Optimizer
    pool: pools.StatePool
    average: dict[str, Tensor] = field(default_factory=dict)
    iteration: int = 0
    seconds: float = 0.0
    bad_steps: int = 0
    skipped: int = 0

    @property
    def target(self) -> Any:
        """What is wanted where it is the same in every iteration: a body; else None."""
        return getattr(self.task, "target", None)

    @classmethod
    def begin(cls, config: Config, given: object = None, rule: Rule | None = None) -> "Trainer":
        """A trainer at iteration 0; everything that the config names is looked up and checked here.

        Args:
            config: the experiment.
            given: what the task would read by the config's names, where it has been read already.
            rule: is trained in place of a fresh one; a copy of it.

        Raises:
            InputError: a name that nobody registered, a target that can't be used, a device that is not there.
        """
        with ErrorCollector() as errors:
            for name, known in (("rule", RULES), ("losses", LOSSES), ("damages", pools.damage.DAMAGES)):
                errors.of(config.require_known, name, known)
        device = choose_device(config)
        check_memory(config)
        task: Task = config.kind.task.load()(config, given)

        if rule is None:
            rule = task.build_rule()
        else:
            task.check_rule(rule)
            rule = copy.deepcopy(rule).requires_grad_(True).train()
        rule = rule.to(device)
        rule.card = task.card()
        balance = Balance(config.balance, list(task.weights)).to(device)
        seeds = task.seed(rule).expand(config.pool_size if task.pooled else 1, -1, -1, -1, -1)
        generator = torch.Generator().manual_seed(config.random_seed)
        pool = pools.StatePool(seeds, generator=generator, dead_value=rule.dead_value)
        trained = [*rule.parameters(), *balance.parameters()]
        trainer = cls(config, task, rule, balance, build_optimizer(config, trained, task.lr_multipliers(rule)), pool)
        if config.average:
            trainer.average = {name: tensor.detach().clone() for name, tensor in rule.state_dict().items()}
        return trainer

    def step(self) -> Outcome:
        """One iteration; a faulty one leaves weights, optimizer and average as they were, and is counted."""
        self.iteration += 1
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.iteration) * group.get(LR_MULTIPLIER, 1.0)
        outcome = train_step(self.config, self.iteration, self.task, self.rule, self.balance, self.optimizer, self.pool)
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
        optimizer_tensors, optimizer_scalars = pack_optimizer(self.optimizer)
        groups = {
            "rule": self.average or self.rule.state_dict(),
            "optimizer": optimizer_tensors,
            "pool": self.pool.state_dict(),
        }
        if self.average:
            groups["weights"] = self.rule.state_dict()
        if balance := self.balance.state_dict():
            groups["balance"] = balance
        scalars = {
            "iteration": self.iteration,
            "iterations": self.config.iterations,
            "seconds": self.seconds,
            "bad_steps": self.bad_steps,
            "skipped": self.skipped,
            "optimizer": optimizer_scalars,
            "rule": rule_record(self.rule, self.config.rule),
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
        for name, found in self.rule.card.items():
            before = saved.scalars["card"].get(name, found)
            if name in self.task.fixed and before != found:
                raise InputError(saved.path, name, found, f"{before}: {self.task.fixed[name]}")
        weights, average = saved.groups.get("weights", saved.groups["rule"]), saved.groups["rule"] if self.average else {}
        balance = saved.groups.get("balance", {})
        for name, found, wanted in (
            ("weights", weights, self.rule.state_dict()),
            ("average", average, self.average),
            ("balance", balance, self.balance.state_dict()),
        ):
            check_same_shapes(saved.path, name, found, wanted)
        self.rule.load_state_dict(weights)
        self.balance.load_state_dict(balance)
        for name, tensor in self.average.items():
            tensor.copy_(average[name])
        unpack_optimizer(self.optimizer, saved.groups["optimizer"], saved.scalars["optimizer"])
        try:
            self.pool.load_state_dict(saved.groups["pool"])
        except ValueError as error:
            raise InputError(saved.path, "pool", error, "the pool of this config (pool_size, size, channels)") from error
        self.iteration, self.seconds = saved.scalars["iteration"], saved.scalars["seconds"]
        self.bad_steps, self.skipped = saved.scalars["bad_steps"], saved.scalars["skipped"]
