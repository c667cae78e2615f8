"""All that training carries from one iteration to the next, and how it is saved and restored, bit for bit (law 11)."""

import copy
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pools
from nca3d import checkpoint
from nca3d.config import Config
from nca3d.errors import ErrorCollector, InputError
from nca3d.executors.arithmetic import full_float32
from nca3d.executors.offload import Kept
from nca3d.losses import LOSSES
from nca3d.ranks import by_first, current
from nca3d.rules import RULES
from nca3d.rules.cell import Rule
from nca3d.rules.rebuild import check_same_tensors
from nca3d.targets import Target
from nca3d.training.balance import Balance
from nca3d.training.build import (
    SHAPED_BY,
    check_rule_record,
    choose_device,
    choose_pool_device,
    compile_rule,
    rule_record,
)
from nca3d.training.course import Course, Look
from nca3d.training.learner import Learner
from nca3d.training.ledger import memory_figures
from nca3d.training.memory import check_memory
from nca3d.training.optim import LR_MULTIPLIER, build_optimizer, learning_rate
from nca3d.training.optimizer_state import check_optimizer, unpack_optimizer
from nca3d.training.phases import phase
from nca3d.training.ran import ran
from nca3d.training.ranked_pool import RankedPool, build_pool
from nca3d.training.recovery import Recovery
from nca3d.training.sharding import Shards
from nca3d.training.step import Outcome, train_step
from nca3d.training.task import Task
from nca3d.training.watch import AT_WORK, STILL, Watch

# A rule grows bodies of at least this IoU before its pool is weeded: of those that have lived so many horizons, the ones are
# lost that have less than this share of it. The worst of a batch is replaced anyway, but a batch is a small part of a pool.
GROWN, OLD, LOST = 0.8, 4, 0.5
# What a run asks of its bodies: where a resumed one asks for something else, it has not been whole yet.
ASKED = ("regime", "losses", "damages", "damage_count", "damage_severity", "steps")


@dataclass
class Trainer:
    """Task, rule, optimizer, pool and counters of one run.

    Attributes:
        config: the experiment.
        task: what is trained for.
        rule: the rule whose weights learn.
        balance: how much each loss term counts.
        learner: moves the weights.
        shards: which weights are split among ranks.
        pool: evolved states; one seed where the task keeps none.
        average: running average of the rule's weights, by name; empty where the config asks for none.
        iteration: how many iterations are done.
        seconds: how long training has taken, over all resumed parts.
        bad_steps: faulty iterations in a row, up to the last one.
        skipped: faulty iterations in all.
        recovery: what went wrong so far, and what the run does about it.
        course: what the rule was seen to grow, and when the run ends by it.
        watch: what was seen of its losses and of weights that don't move.
        phase: what `step` is about: "" = between two iterations; "run" = nothing has changed yet; "change" = weights and pool
            are being changed, and belong to no iteration.
        kept_bytes: the most that an iteration which was counted kept on the device for its backward pass.
        moved_bytes: the most that it kept in host memory instead.
    """

    config: Config
    task: Task[Any]
    rule: Rule
    balance: Balance
    learner: Learner
    shards: Shards
    pool: pools.StatePool | RankedPool
    average: dict[str, Tensor] = field(default_factory=dict)
    iteration: int = 0
    seconds: float = 0.0
    bad_steps: int = 0
    skipped: int = 0
    recovery: Recovery = field(default_factory=Recovery)
    course: Course = field(default_factory=Course)
    watch: Watch = field(default_factory=Watch)
    phase: str = ""
    kept_bytes: int = 0
    moved_bytes: int = 0

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the weights."""
        return self.learner.optimizer

    @property
    def end(self) -> int:
        """The last iteration of the run, as far as is known."""
        return self.course.end(self.config)

    @property
    def target(self) -> Target | None:
        """The body that is grown; None for a task of another kind."""
        return getattr(self.task, "target", None)

    @property
    def targets(self) -> list[Target]:
        """The bodies that are grown, one or several; none for a task of another kind."""
        return getattr(self.task, "targets", [self.target] if self.target else [])

    @classmethod
    def begin(cls, config: Config, given: object = None, rule: Rule | None = None) -> "Trainer":
        """Returns a trainer at iteration 0; everything that the config names is looked up and checked here.

        Args:
            config: the experiment.
            given: what the task would load by the config's names, if it is loaded already.
            rule: the rule to train instead of a fresh one; a copy of it is trained.

        Raises:
            InputError: a name is not registered, the target can't be used, or the device is missing.
        """
        # All unknown names at once: whoever mends a config wants the whole list.
        with ErrorCollector() as errors:
            for name, known in (("rule", RULES), ("losses", LOSSES), ("damages", pools.damage.DAMAGES)):
                errors.of(config.require_known, name, known)
        device = choose_device(config)
        check_memory(config)
        task: Task[Any] = config.kind.task.load()(config, given)

        if rule is None:
            rule = task.build_rule()
        else:
            task.check_rule(rule)
            # A copy, because the caller's rule must not change under his hands; loaded rules come without gradients.
            rule = copy.deepcopy(rule).requires_grad_(True).train()
        if current().splits == "lattice":
            rule.share_out(current())
        rule, task.device = rule.to(device), device
        # Before the seed is made: a card may say where growth begins.
        rule.card = task.card()
        balance = Balance(config.balance, list(task.weights)).to(device)
        # The pool starts as copies of the seed. Without a pool one slot remains, which holds the seed.
        seeds = task.seed(rule)
        slots = config.pool_size if task.pooled else len(seeds)
        # As many slots of each body, the first ones of those that come first.
        labels = torch.arange(slots) % len(seeds)
        seeds = seeds.to(choose_pool_device(config, device, slots * seeds[:1].nbytes))
        # The pool's generator is the only one with a state; all others follow from seed and iteration.
        generator = torch.Generator().manual_seed(config.random_seed)
        pool = build_pool(seeds, labels, generator, rule, shared=task.pooled)
        parameters = [*rule.parameters(), *balance.parameters()]
        optimizer = build_optimizer(config, parameters, task.lr_multipliers(rule), task.in_full(rule))
        shards = Shards(rule)
        shards.check(optimizer)
        in_backward = task.in_backward(rule, optimizer) if config.optimizer_in_backward else None
        learner = Learner(config, optimizer, device, in_backward, shards)
        trainer = cls(config, task, rule, balance, learner, shards, pool)
        if config.average:
            # Begins as the first weights; `step` lets them fade quickly.
            trainer.average = {name: tensor.detach().clone() for name, tensor in rule.state_dict().items()}
        # Last, because it takes seconds: whatever can be refused has been refused by now.
        compile_rule(config, task, rule)
        return trainer

    def step(self) -> Outcome:
        """Runs one iteration; a faulty one is counted and leaves weights, optimizer and average as they were.

        Whatever breaks it off before weights and pool change (a signal, an error in a loss) leaves the iteration before, whole:
        it can be saved, and goes on bit for bit.
        """
        draws = self.pool.generator.get_state()
        self.phase = "run"
        try:
            outcome = self._step()
        except BaseException:
            if self.phase == "run":
                self.pool.generator.set_state(draws)
                self.iteration -= 1
                self.phase = ""
            raise
        self.phase = ""
        return outcome

    def _step(self) -> Outcome:
        self.iteration += 1
        settings = self.recovery.settings(self.config)
        rate = learning_rate(settings, self.iteration) * self.course.factor(self.config, self.iteration)
        for group in self.optimizer.param_groups:
            # Set anew in each iteration, instead of a scheduler whose state would have to be saved.
            group["lr"] = rate * group.get(LR_MULTIPLIER, 1.0)
        kept = Kept(self.rule, host=self.config.offload == "host") if self._counts() else None
        state = (self.task, self.rule, self.balance, self.learner, self.pool, kept)
        with full_float32(self.task.device):
            outcome = train_step(settings, self.iteration, *state, change=self._change)
        if kept:
            self.kept_bytes, self.moved_bytes = max(self.kept_bytes, kept.kept), max(self.moved_bytes, kept.moved)
        self.bad_steps = self.bad_steps + 1 if outcome.fault else 0
        self.skipped += bool(outcome.fault)
        phase("average")
        if self.average and not (outcome.fault or outcome.metrics.get("overflowed")):
            # A young average leans on the newest weights, else the first random ones would linger in it.
            decay = min(self.config.average, self.iteration / (self.iteration + 10))
            for name, tensor in self.rule.state_dict().items():
                self.average[name].lerp_(tensor, 1 - decay)
        self._watch(outcome, rate)
        if self.course.due(self.config, self.iteration):
            phase("look")
            look = self.task.look(self.trained_rule(), self.iteration)
            if look:
                self.course = self.course.after(look)
                outcome.metrics.update(look.metrics(), reseeded_lost=float(self._reseed_lost(look)))
        return outcome

    def _watch(self, outcome: Outcome, rate: float) -> None:
        """Takes note of an iteration's loss and gradient, and now and then of weights that have not moved; for the log."""
        loss = outcome.metrics["loss"]
        if not outcome.fault:
            if times := self.watch.times(loss, outcome.like):
                outcome.metrics["spike"] = times
            self.watch = self.watch.after(loss, outcome.like)
            if not self.learner.in_backward:
                self.watch = self.watch.after_gradient(self.learner.norm)
                if self.watch.silent and self.watch.silent % STILL == 0:
                    outcome.metrics["no_gradient"] = float(self.watch.silent)
        else:
            self.watch = replace(self.watch, told=False)
        if self.iteration % STILL:
            return
        if rate < AT_WORK * self.recovery.settings(self.config).learning_rate:
            self.watch = replace(self.watch, digest=None, unmoved=0)
            return
        self.watch = self.watch.looked(self.rule.parameters(), self.shards.sum)
        if self.watch.unmoved:
            outcome.metrics["unmoved"] = float(self.watch.unmoved)

    def _reseed_lost(self, look: Look) -> int:
        """Starts those pooled bodies again from the seed that no longer recover, and returns how many."""
        if not self.task.pooled or look.grown < GROWN:
            return 0
        old = (self.pool.age > OLD * self.config.horizon).nonzero().squeeze(1).tolist()
        lost = [slot for slot in old if self._is_lost(slot, look)]
        if isinstance(self.pool, RankedPool):
            lost = [slot for found in current().gather_objects(lost) for slot in found]
        self.pool.reseed(lost)
        return len(lost)

    def _is_lost(self, slot: int, look: Look) -> bool:
        """Whether a pooled body no longer recovers; no body of another process is."""
        state = self.pool.state(slot)
        if state is None:
            return False
        # One at a time: a pool may be as large as memory allows.
        goal = self.task.draw(0, self.pool.label[slot : slot + 1])
        found = self.task.metrics(self.rule, state[None].to(self.task.device), goal)
        return bool(found[self.task.headline] < LOST * look.grown)

    def _counts(self) -> bool:
        """Whether this iteration counts what it keeps: each one that moves it, else the first of a process and a few more."""
        often = self.config.pattern_every or self.config.save_every
        return self.config.offload == "host" or not self.kept_bytes or self.iteration % often == 0

    def _change(self) -> None:
        self.phase = "change"

    def trained_rule(self) -> Rule:
        """Returns a copy of the rule to evaluate, with the averaged weights where the config asks for an average."""
        # A copy, so that training can go on with the newest weights.
        rule = copy.deepcopy(self.rule)
        if self.average:
            rule.load_state_dict(self.average)
        return rule.requires_grad_(True).eval()

    def save(self, folder: Path) -> Path:
        """Writes a checkpoint folder and returns its path; see `checkpoint.save` for what it survives.

        All processes call it. The first one writes it, with what the others have, and what befalls it there befalls all: any
        number of processes can take it up.

        Args:
            folder: the run folder.
        """
        optimizer_tensors, optimizer_scalars = self.shards.pack(self.optimizer)
        # "rule" holds what `nca3d.load` should return, the average if there is one; "weights" what training continues with.
        groups = {
            "rule": self.shards.whole(self.average or self.rule.state_dict()),
            "optimizer": optimizer_tensors,
            "pool": self.pool.state_dict(),
        }
        if self.average:
            groups["weights"] = self.shards.whole(self.rule.state_dict())
        if balance := self.balance.state_dict():
            groups["balance"] = balance
        scalars: dict[str, Any] = {
            "iteration": self.iteration,
            "iterations": self.config.iterations,
            "seconds": self.seconds,
            "bad_steps": self.bad_steps,
            "skipped": self.skipped,
            "recovery": self.recovery.plain(),
            "course": self.course.plain(),
            "watch": self.watch.plain(),
            "optimizer": optimizer_scalars,
            "rule": rule_record(self.rule, self.config.rule),
            "card": self.rule.card,
            "config": self.config.plain(),
        }
        # Beside what was asked for: what really ran, and what it held in memory.
        scalars["ran"] = ran(self) | {"memory": memory_figures(self)}
        if scale := self.learner.scale.plain():
            scalars |= {"scale": scale, "overflows": self.learner.overflows}
        kept = {"keep": self.config.keep_checkpoints, "every": self.config.save_every}
        return by_first(lambda: checkpoint.save(folder, self.iteration, groups, scalars, **kept))

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Continues where a checkpoint was taken.

        Args:
            saved: a verified checkpoint of this run.

        Raises:
            InputError: the checkpoint belongs to another rule, pool or optimizer; the message names the field.
        """
        checkpoint.check_training(saved)
        # A shorter run can't undo iterations that are done.
        if saved.scalars["iteration"] > self.config.iterations:
            raise InputError(
                saved.path,
                "iterations",
                self.config.iterations,
                f"at least the {saved.scalars['iteration']} already done",
            )
        bodies, asked = (card.get("conditions") or [] for card in (saved.scalars["card"], self.rule.card))
        if bool(bodies) != bool(asked):
            told = f"several: {', '.join(asked)}" if asked else "one body"
            raise InputError(saved.path, "target", told, f"{', '.join(bodies) or 'one body'}: a run keeps what it grows")
        for name, value in self.rule.card.items():
            before = saved.scalars["card"].get(name, value)
            if name in self.task.fixed and before != value:
                raise InputError(saved.path, name, value, f"{before}: {self.task.fixed[name]}")
        weights, average = saved.groups.get("weights", saved.groups["rule"]), saved.groups["rule"] if self.average else {}
        balance = saved.groups.get("balance", {})
        # Every shape is checked before anything is loaded: a refused checkpoint must not leave a half-restored trainer.
        for name, tensors, expected in (
            ("weights", weights, self.shards.planned(self.rule.state_dict())),
            ("average", average, self.shards.planned(self.average)),
            ("balance", balance, self.balance.state_dict()),
        ):
            who_asks = "this config asks (balance, losses)" if name == "balance" else SHAPED_BY
            check_same_tensors(saved.path, name, tensors, expected, who_asks)
        check_rule_record(saved.path, saved.scalars["rule"], rule_record(self.rule, self.config.rule))
        weights, average = self.shards.part(weights), self.shards.part(average)
        state = self.shards.part_of_optimizer(self.optimizer, saved.groups.get("optimizer", {}), saved.scalars["optimizer"])
        check_optimizer(self.optimizer, *state)
        # Last of all that may refuse: it looks at everything, too, before it changes anything.
        try:
            self.pool.load_state_dict(saved.groups.get("pool", {}))
        except ValueError as error:
            raise InputError(saved.path, "pool", error, "the pool of this config (pool_size, size, channels)") from error
        # Runs of version 0.1.0 began at the centre, and their cards say nothing of it: they go on so.
        self.rule.card.pop("start", None)
        self.rule.card |= {name: value for name, value in saved.scalars["card"].items() if name == "start"}
        self.rule.load_state_dict(weights)
        self.balance.load_state_dict(balance)
        # Copied in place, bit for bit: the average keeps its device.
        for name, tensor in self.average.items():
            tensor.copy_(average[name])
        unpack_optimizer(self.optimizer, *state)
        self.iteration, self.seconds = saved.scalars["iteration"], saved.scalars["seconds"]
        self.bad_steps, self.skipped = saved.scalars["bad_steps"], saved.scalars["skipped"]
        self.learner.scale.restore(saved.scalars.get("scale", {}))
        self.learner.overflows = saved.scalars.get("overflows", 0)
        self.recovery = Recovery.of(saved.scalars.get("recovery", []))
        self.watch = Watch.of(saved.scalars.get("watch", {}))
        # Whoever asks for more iterations, or for something else, wants them: the looks begin anew.
        before, now = saved.scalars.get("config", {}), json.loads(json.dumps(self.config.plain()))
        otherwise = any(before[name] != now.get(name) for name in ASKED if name in before)
        longer = saved.scalars["iterations"] != self.config.iterations
        self.course = Course() if longer or otherwise else Course.of(saved.scalars.get("course", {}))
        # A run of version 0.1.0 that bad steps have ended gets another chance, perhaps at a lower rate.
        if self.bad_steps >= self.config.max_bad_steps:
            self.bad_steps = 0
