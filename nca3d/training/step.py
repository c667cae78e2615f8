"""One iteration of training: draw states, damage some, run the rule, ask how well it did, learn, write back.

Read `train_step` first; the functions above it are its parts, and `draws.py` has those with which it begins.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import pools
from nca3d.config import Config
from nca3d.errors import ArgumentError, InputError
from nca3d.executors.offload import Kept
from nca3d.fire import training_seed
from nca3d.losses import LOSSES
from nca3d.rollout import rollout
from nca3d.rules.by_sample import BySample
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs
from nca3d.training.adding import add_up
from nca3d.training.balance import Balance
from nca3d.training.draws import age_states, draw_batch, draw_steps
from nca3d.training.learner import OVERFLOW, Learner
from nca3d.training.monitor import Work, living, work_of
from nca3d.training.phases import phase
from nca3d.training.precision import autocast
from nca3d.training.ranked_pool import RankedPool
from nca3d.training.recovery import BAD_LOSS, EXTINCT
from nca3d.training.shares import Share
from nca3d.training.task import Task

# Steps between two recorded states of a loss that compares several, such as `rest`.
REST_STEPS = 8


@dataclass(frozen=True)
class Outcome:
    """The result of one iteration.

    Attributes:
        metrics: numbers for the log, by name.
        fault: why the weights were not moved; "" if all went well.
        states: (B, C, D, H, W), with which the rollout ended.
        work: what it took.
        like: what its loss is compared with: "aged" if states were aged, else "seeded" if one was a fresh seed, else "losses".
    """

    metrics: dict[str, float]
    fault: str = ""
    states: Tensor | None = None
    work: Work | None = None
    like: str = "losses"


def run_moments(
    config: Config,
    iteration: int,
    rule: Rule,
    states: Tensor,
    ids: Tensor,
    steps: int,
    count: int = 1,
    inputs: Inputs | None = None,
    condition: Tensor | None = None,
) -> Tensor:
    """Runs the rule and returns the states that the losses look at.

    The graph is cut every `detach_every` steps (truncated backpropagation), so that gradients of long rollouts stay tame.

    Args:
        config: the experiment.
        iteration: 1, 2, …; the fire masks follow from it.
        rule: what one cell does.
        states: (B, C, D, H, W), where the rollout begins.
        ids: int64 (B,), each sample's place in the whole batch: its fire masks follow from it.
        steps: length of the rollout.
        count: how many states to record.
        inputs: what the cells are fed in every step, if anything.
        condition: the body that the cells of each are told to grow, int64 (B,); None = none is told anything.

    Returns:
        (T, B, C, D, H, W): the last `count` recorded states, `REST_STEPS` apart, in order of time.
    """
    # A set, because in a short rollout several moments fall on step 0.
    recorded = {max(0, steps - REST_STEPS * back) for back in range(count)}
    cuts = set(range(config.detach_every, steps, config.detach_every)) if config.detach_every else set()
    seed, done, moments = training_seed(config.random_seed, iteration), 0, []
    # An approximate executor has no gradient; it serves ageing alone.
    executor = "auto" if "approx" in config.executor else config.executor
    for stop in sorted(recorded | cuts):
        states = rollout(
            rule,
            states,
            stop - done,
            random_seed=seed,
            first_step=done,
            sample_ids=ids,
            inputs=inputs,
            condition=condition,
            executor=executor,
            memory=config.memory,
            memory_budget=config.memory_budget << 20,
        )
        if stop in recorded:
            moments.append(states)
        # Recorded first, cut second: the loss at this moment still reaches back.
        if stop in cuts:
            states = states.detach()
        done = stop
    return torch.stack(moments)


def train_step(
    config: Config,
    iteration: int,
    task: Task[Any],
    rule: Rule,
    balance: Balance,
    learner: Learner,
    pool: pools.StatePool | RankedPool,
    kept: Kept | None = None,
    change: Callable[[], None] = lambda: None,
) -> Outcome:
    """Runs one iteration and moves the weights once.

    Its random numbers follow from (config.random_seed, iteration) and the pool's generator alone (law 11).

    Args:
        config: the experiment.
        iteration: 1, 2, …
        task: what is trained for.
        rule: its weights are changed in place.
        balance: how much each loss term counts.
        learner: moves the weights of the rule and of the balance.
        pool: evolved states; the sampled slots are overwritten.
        kept: keeps what the backward pass needs, or counts it; None = autograd does, and nobody counts.
        change: is called before anything changes but the generator of the pool: up to there an iteration can be undone.
    """
    # 1. Where to start: states of the pool, and what they should become. Of several processes each has a share of the batch.
    phase("draw")
    batch, prepared, labels, share = draw_batch(config, iteration, pool, rule, task)
    device = next(rule.parameters()).device
    places = share.index.to(device)
    phase("ageing")
    states, ages = age_states(config, iteration, task, rule, prepared, labels[share.index], places)
    phase("draw")
    living_cells = living(rule, states)
    steps = draw_steps(config, iteration, task.curriculum)
    goal = task.draw(iteration, labels)

    # 2. Run the rule and collect gradients, `config.accumulate` parts of the batch one after the other.
    learner.begin()
    count, found = LOSSES.moments(task.weights), BySample()
    final_states, losses, term_parts = [states[:0]], [torch.zeros(0, device=device)], []
    for rows in torch.arange(len(share), device=device).chunk(config.accumulate) if len(share) else []:
        phase("forward")
        ids = places[rows]
        subset = task.subset(goal, ids)
        with found.over(ids.tolist()):
            with kept.keeping() if kept else contextlib.nullcontext():
                with autocast(config, device):
                    inputs = task.inputs(rule, subset)
                    condition = task.condition(subset)
                    moments = run_moments(config, iteration, rule, states[rows], ids, steps, count, inputs, condition)
                phase("losses")
                terms = task.terms(moments, subset, rule)
                loss = balance.total(terms)
            phase("backward")
            # Divided by the whole batch, so that accumulated gradients equal those of one large batch (law 8).
            learner.backward(loss.sum() / config.batch)
        phase("losses")
        final_states.append(moments[-1].detach())
        losses.append(loss.detach())
        term_parts.append(torch.stack([terms[name].detach() for name in task.weights]))
    states = torch.cat(final_states)
    # Of the whole batch from here on.
    loss = share.whole(torch.cat(losses))
    each = share.whole(torch.cat([*term_parts, loss.new_zeros(len(task.weights), 0)], dim=1).t()).t()
    add_up(rule, found, share, labels)
    if (own := balance.own_loss(each)) is not None:
        learner.backward(own)
    # Read once for all terms and parts: a device must come to rest for each number that is read from it.
    term_means = dict(zip(task.weights, (each.double().sum(dim=1) / config.batch).tolist(), strict=True))

    # 3. Learn, unless something went wrong: one NaN in a step of the optimizer spoils all weights for good.
    phase("checks")
    fault = _fault(rule, states, loss, learner, share)
    change()
    if not fault:
        phase("optimizer")
        learner.step(config, rule.parameters())
        balance.note(term_means)
    learner.end(overflowed=fault == OVERFLOW)

    # 4. Write back, faulty or not: the pool itself starts dead and non-finite states again from the seed.
    phase("write")
    reseeded = {}
    own_ages, aged, fresh = ages, bool(ages.any()), batch is None or bool(prepared.fresh.any())
    if batch is not None and isinstance(pool, RankedPool):
        ages, fresh_of = share.whole(torch.stack([ages, prepared.fresh.long()], dim=1)).cpu().unbind(dim=1)
        before = batch.age.masked_fill(fresh_of.bool(), 0)
        reseeded = pool.replace(batch.index, states, share, ages=before + ages + steps, labels=labels)
        aged, fresh = bool(ages.any()), bool(fresh_of.any())
    elif batch is not None and isinstance(pool, pools.StatePool):
        reseeded = pool.replace(batch.index, states, steps=ages + steps, fresh=prepared.fresh, labels=labels)
    metrics = {"loss": float(loss.mean()), **_metrics(task, rule, states, goal, places, share), "steps": float(steps)}
    metrics |= {f"loss_{name}": value for name, value in term_means.items()} | balance.metrics()
    metrics |= {f"reseeded_{reason}": float(count) for reason, count in reseeded.items()}
    if config.precision == "fp16":
        metrics |= {"loss_scale": learner.scale.value, "overflowed": float(fault == OVERFLOW)}
    # A scale that was too large is no fault of the rule: the weights stayed, and the next scale is half of it.
    fault = "" if fault == OVERFLOW else fault
    like = "aged" if aged else "seeded" if fresh else "losses"
    return Outcome(metrics, fault, states, work_of(rule, living_cells, states, steps, own_ages), like)


def _metrics(task: Task[Any], rule: Rule, states: Tensor, goal: Any, places: Tensor, share: Share) -> dict[str, float]:
    """Returns the metrics of the whole batch, of which this process has some states (n, C, D, H, W) at places int64 (n,)."""
    if share.ranks.size == 1:
        return task.metrics(rule, states, task.subset(goal, places))
    each = [
        task.metrics(rule, state[None], task.subset(goal, place[None])) for state, place in zip(states, places, strict=True)
    ]
    return share.mean(each)


def note_executor(config: Config, task: Task[Any], rule: Rule) -> str:
    """Returns what an approximate executor means for training, to be shown before it begins; "" for an exact one.

    Raises:
        InputError: the executor can't run this rule.
    """
    if "approx" not in config.executor:
        return ""
    try:
        # One step shows whether it can run the rule at all, before the run folder exists.
        with torch.no_grad():
            rollout(rule, task.seed(rule), 1, condition=0 if rule.told else None, executor=config.executor)
    except ArgumentError as error:
        raise InputError("config", "executor", error.found, error.allowed) from None
    with_gradient = "executor auto runs training's rollouts; the one that was asked for runs those without gradient"
    return f"executor {config.executor} has no gradient: {with_gradient}"


def _fault(rule: Rule, states: Tensor, loss: Tensor, learner: Learner, share: Share) -> str:
    """Returns why this iteration must not move the weights, or ""; gradients are not normalised yet.

    All processes find the same: the loss (B,) and the gradients are those of the whole batch.
    """
    if not torch.isfinite(loss).all():
        return BAD_LOSS
    if wrong := learner.look(rule.parameters()):
        return wrong
    # Without a living cell no gradient says how to come back to life.
    if not share.ranks.any(bool(rule.alive_mask(states).any())):
        return EXTINCT
    return ""
