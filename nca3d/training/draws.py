"""Where an iteration begins: states of the pool, some of them damaged, some aged, and for how many steps they run.

Its random numbers follow from (config.random_seed, iteration) and the pool's generator alone (law 11).
"""

from typing import Any

import torch
from torch import Tensor

import pools
from nca3d.config import Config
from nca3d.config.fields import AGEING_EVERY
from nca3d.fire import training_seed
from nca3d.rollout import rollout
from nca3d.rules.cell import Rule
from nca3d.training.optim import RARER, healing
from nca3d.training.phases import phase
from nca3d.training.ranked_pool import RankedPool
from nca3d.training.shares import Share, deal, move, split
from nca3d.training.task import Task

# Ageing counts its steps from here, so that its fire masks are not those of the training rollout.
AGEING_STEP = 1 << 30
# What a step with its gradient costs, in steps without one.
BACKWARD = 3


def counted_generator(config: Config, iteration: int, purpose: int) -> torch.Generator:
    """Returns a generator for one purpose in one iteration.

    It is a pure function of its arguments, like fire masks, so a checkpoint need not save its state.
    """
    return torch.Generator().manual_seed(training_seed(training_seed(config.random_seed, purpose), iteration))


def draw_batch(
    config: Config, iteration: int, pool: pools.StatePool | RankedPool, rule: Rule, task: Task[Any]
) -> tuple[pools.Batch | None, pools.Prepared, Tensor, Share]:
    """Returns the states to start from.

    The regime "growing" starts from the seed alone. The others sample evolved states from the pool; the worst of them is
    replaced by the seed, and the best ones are damaged if the regime damages (Mordvintsev et al. 2020). Of several bodies each
    has its own worst, best and seed. Where several processes share out a batch, all this is drawn and ranked over the whole.

    Returns:
        The sample of the pool (None without a pool), whose slots the new states go back to; the states that this process is to
        run, which are on the rule's device wherever the pool lies; which body each of the whole batch is to become, int64 (B,)
        on the CPU; and which samples of the batch these states are.
    """
    device = next(rule.parameters()).device
    if not task.pooled:
        # In turns: of more bodies than a batch has, others each time.
        labels = (torch.arange(config.batch) + iteration * config.batch) % len(pool.seeds)
        share = split(config.batch)
        states = pool.seeds[labels[share.index].to(pool.seeds.device)].to(device)
        return None, pools.Prepared(states, *torch.zeros(2, len(share), dtype=torch.bool, device=device)), labels, share
    if isinstance(pool, RankedPool):
        batch, share = pool.sample(config.batch)
    else:
        batch, share = pool.sample(config.batch), Share.of([0] * config.batch)
    states, labels = batch.states.to(device), batch.label.cpu()
    # One generator for all: bodies are damaged each in its own way.
    generator = counted_generator(config, iteration, purpose=2)
    alike = [(labels == label).nonzero().squeeze(1).tolist() for label in labels.unique().tolist()]
    # Ranked where the rule runs: the same states are the worst and the best ones wherever the pool lies.
    losses = share.whole(_losses(task, rule, states, labels, share, alike))
    if not pool.labelled:
        everyone = list(range(config.batch))
        prepared = _prepare(config, iteration, pool.seeds[0], rule, task, 0, states, losses, share, everyone, generator)
        return batch, *_dealt(config, iteration, task, rule, prepared, labels, share)
    prepared = pools.Prepared(states.clone(), *torch.zeros(2, len(states), dtype=torch.bool, device=device))
    for places in alike:
        own = _rows(share, places)
        label = int(labels[places[0]])
        part = _prepare(config, iteration, pool.seeds[label], rule, task, label, states[own], losses, share, places, generator)
        for name in ("states", "fresh", "damaged"):
            getattr(prepared, name)[own] = getattr(part, name)
    fresh = share.whole(prepared.fresh.to(torch.uint8)).bool().cpu()
    return batch, *_dealt(config, iteration, task, rule, prepared, switched(config, iteration, labels, fresh), share)


def _dealt(
    config: Config, iteration: int, task: Task[Any], rule: Rule, prepared: pools.Prepared, labels: Tensor, share: Share
) -> tuple[pools.Prepared, Tensor, Share]:
    """Deals a batch out by what it will cost to run: a seed or a wounded body costs less than an old one that is aged first.

    Returns:
        The states that this process is to run; `labels`; and which samples these are.
    """
    if share.ranks.size == 1:
        return prepared, labels, share
    cells = rule.alive_mask(prepared.states).flatten(1).sum(dim=1)
    about = share.whole(torch.stack([cells, prepared.fresh, prepared.damaged], dim=1).cpu())
    cells, ageable = about[:, 0], ~about[:, 1:].any(dim=1)
    # What is smaller than others of its kind grows to their size.
    grown = torch.stack([cells[labels == label].max() for label in labels.tolist()])
    costs = BACKWARD * draw_steps(config, iteration, task.curriculum) * (cells + grown) / 2
    costs += ageable * cells * ageing_steps(config, iteration, task)
    dealt = deal(share.runner, costs.tolist())
    states = move(prepared.states, share, dealt)
    fresh, damaged = about[dealt.index, 1:].bool().to(states.device).unbind(dim=1)
    return pools.Prepared(states, fresh, damaged), labels, dealt


@torch.no_grad()
def _losses(task: Task[Any], rule: Rule, states: Tensor, labels: Tensor, share: Share, alike: list[list[int]]) -> Tensor:
    """Returns how bad each of this process's states (n, C, D, H, W) is as the body that it is to become, (n,)."""
    if len(alike) == 1 and len(states):
        return task.pool_loss(rule, states, int(labels[0]))
    losses = torch.zeros(len(states), device=states.device)
    for places in alike:
        if own := _rows(share, places):
            losses[own] = task.pool_loss(rule, states[own], int(labels[places[0]]))
    return losses


def _rows(share: Share, places: list[int]) -> list[int]:
    """Returns the rows, among the states of this process, of those of some places of the batch that it has."""
    rows = {place: row for row, place in enumerate(share.places)}
    return [rows[place] for place in places if place in rows] if share.ranks.size > 1 else places


def _prepare(
    config: Config,
    iteration: int,
    seed: Tensor,
    rule: Rule,
    task: Task[Any],
    label: int,
    states: Tensor,
    losses: Tensor,
    share: Share,
    places: list[int],
    generator: torch.Generator,
) -> pools.Prepared:
    """Returns sampled states of one body with its worst replaced by its seed and its best ones damaged.

    Args:
        config: The experiment.
        iteration: 1, 2, …
        seed: The seed (C, D, H, W) of the body.
        rule: The rule that is trained.
        task: What is trained for.
        label: Which body it is.
        states: Its states that this process has, (n, C, D, H, W).
        losses: How bad each sample of the whole batch is, (B,).
        share: Which samples of the batch this process has.
        places: The places in the batch of all states of this body.
        generator: Draws the damage; equal in all processes.
    """
    losses = losses if len(places) == len(losses) else losses[places]
    with torch.no_grad():
        # Else the worst state has a second chance, as long as it is better than none.
        every = config.seed_every * (RARER if healing(config, iteration) else 1)
        due = iteration % every == 0
        fresh = due or not losses.max() < task.pool_loss(rule, seed[None].to(states.device), label)
    count = min(damage_count(config, iteration, task), len(places) - 1)
    # A config may name no kind of damage as long as it asks for none (damage_count = 0).
    kinds = list(config.damages) if count else []
    damage = pools.damage.mixture(kinds, severity=config.damage_severity) if kinds else None
    phase("damage")

    def gather(bodies: Tensor, best: list[int]) -> Tensor:
        return share.whole(bodies.to(torch.uint8), [places[number] for number in best]).bool()

    return pools.prepare(
        states,
        losses,
        seed=seed if fresh else None,
        damage=damage,
        damage_count=count,
        body=lambda states: task.body(rule, states),
        dead_value=rule.dead_value,
        generator=generator,
        own=share.among(places),
        gather=gather if share.ranks.size > 1 else None,
    )


def switched(config: Config, iteration: int, labels: Tensor, fresh: Tensor) -> Tensor:
    """Returns which body each state is to become when some of them change it in mid-life: they pass it on in a ring.

    So there are as many states of each body as before.

    Args:
        config: `switch_rate`.
        iteration: 1, 2, …
        labels: which body each was to become, int64 (n,).
        fresh: which of them are seeds, bool (n,); these stay.
    """
    if not config.switch_rate:
        return labels
    generator = counted_generator(config, iteration, purpose=4)
    chosen = ((torch.rand(len(labels), generator=generator) < config.switch_rate) & ~fresh).nonzero().squeeze(1)
    chosen = chosen[torch.randperm(len(chosen), generator=generator)]
    after = labels.clone()
    after[chosen] = labels[chosen.roll(1)]
    return after


def damage_count(config: Config, iteration: int, task: Task[Any]) -> int:
    """Returns how many of an iteration's pooled states are damaged."""
    # A body has to grow before there is anything worth damaging.
    if not task.damaging or iteration <= config.damage_from * config.iterations:
        return 0
    # Where all but the fresh seed are damaged, there would never be an old state: these take turns with the damaged ones.
    crowded = config.damage_count >= config.batch - 1 and task.ageing and config.batch > 1
    return 0 if crowded and iteration % AGEING_EVERY == 0 else config.damage_count


@torch.no_grad()
def age_states(
    config: Config, iteration: int, task: Task[Any], rule: Rule, prepared: pools.Prepared, labels: Tensor, ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Runs pooled states on without gradient, except those that are fresh or just damaged.

    Old bodies are what persistence is learned from. A body drifts slowly, and the pool alone can't show it: a state that has
    drifted is the worst of its batch, and goes back to the seed before training has seen it. Ageing reaches beyond that.

    Args:
        config: The experiment.
        iteration: 1, 2, …
        task: What is trained for.
        rule: The rule that is trained.
        prepared: The states that this process runs.
        labels: Which body each of these is to become, int64 (n,) on the CPU.
        ids: Their places in the whole batch, int64 (n,).

    Returns:
        The states (n, C, D, H, W), and the number of steps by which each was aged, int64 (n,).
    """
    ageable = ~(prepared.fresh | prepared.damaged)
    steps = ageing_steps(config, iteration, task) if ageable.any() else 0
    states = prepared.states.clone()
    if steps:
        states[ageable] = rollout(
            rule,
            states[ageable],
            steps,
            random_seed=training_seed(config.random_seed, iteration),
            first_step=AGEING_STEP,
            # A state draws its fire masks by its place in the batch, whoever else is aged beside it (law 6).
            sample_ids=ids[ageable],
            condition=labels[ageable.cpu()] if rule.told else None,
            executor=config.executor,
            activity_threshold=config.activity_threshold,
        )
    return states, steps * ageable


def ageing_steps(config: Config, iteration: int, task: Task[Any]) -> int:
    """Returns for how many steps an iteration ages pooled states: 0 in most, else drawn from 0..task.ageing."""
    # During the curriculum bodies are half grown: their old age would teach nothing.
    if not task.ageing or iteration <= task.curriculum * config.iterations or iteration % AGEING_EVERY:
        return 0
    generator = counted_generator(config, iteration, purpose=3)
    return int(torch.randint(0, task.ageing + 1, (1,), generator=generator))


def draw_steps(config: Config, iteration: int, curriculum: float) -> int:
    """Returns how many steps this iteration runs, drawn evenly from a range.

    Args:
        config: the experiment; `steps_range` is the full range.
        iteration: 1, 2, …
        curriculum: share of the iterations, 0..1, over which the range grows from half its length to its full length.
    """
    low, high = config.steps_range
    progress = min(1.0, iteration / (curriculum * config.iterations)) if curriculum else 1.0
    short = max(1, low // 2)
    low, high = round(short + (low - short) * progress), round(short + (high - short) * progress)
    generator = counted_generator(config, iteration, purpose=1)
    return int(torch.randint(low, high + 1, (1,), generator=generator))
