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
from nca3d.training.task import Task

# Ageing counts its steps from here, so that its fire masks are not those of the training rollout.
AGEING_STEP = 1 << 30


def counted_generator(config: Config, iteration: int, purpose: int) -> torch.Generator:
    """Returns a generator for one purpose in one iteration.

    It is a pure function of its arguments, like fire masks, so a checkpoint need not save its state.
    """
    return torch.Generator().manual_seed(training_seed(training_seed(config.random_seed, purpose), iteration))


def draw_batch(
    config: Config, iteration: int, pool: pools.StatePool, rule: Rule, task: Task[Any]
) -> tuple[pools.Batch | None, pools.Prepared, Tensor]:
    """Returns the states to start from.

    The regime "growing" starts from the seed alone. The others sample evolved states from the pool; the worst of them is
    replaced by the seed, and the best ones are damaged if the regime damages (Mordvintsev et al. 2020). Of several bodies each
    has its own worst, best and seed.

    Returns:
        The sample of the pool (None without a pool), whose slots the new states go back to; the states to run, which are on the
        rule's device wherever the pool lies; and which body each is to become, int64 (n,) on the CPU.
    """
    device = next(rule.parameters()).device
    if not task.pooled:
        # In turns: of more bodies than a batch has, others each time.
        labels = (torch.arange(config.batch) + iteration * config.batch) % len(pool.seeds)
        states = pool.seeds[labels.to(pool.seeds.device)].to(device)
        return None, pools.Prepared(states, *torch.zeros(2, config.batch, dtype=torch.bool, device=device)), labels
    batch = pool.sample(config.batch)
    states, labels = batch.states.to(device), batch.label.cpu()
    # One generator for all: bodies are damaged each in its own way.
    generator = counted_generator(config, iteration, purpose=2)
    if not pool.labelled:
        return batch, _prepare(config, iteration, pool, rule, task, states, 0, generator), labels
    alike = [(labels == label).nonzero().squeeze(1) for label in labels.unique().tolist()]
    prepared = [
        _prepare(config, iteration, pool, rule, task, states[ids.to(device)], int(labels[ids[0]]), generator) for ids in alike
    ]
    order = torch.cat(alike).argsort().to(device)
    parts = ([getattr(one, name) for one in prepared] for name in ("states", "fresh", "damaged"))
    whole = pools.Prepared(*(torch.cat(part)[order] for part in parts))
    return batch, whole, switched(config, iteration, labels, whole.fresh.cpu())


def _prepare(
    config: Config,
    iteration: int,
    pool: pools.StatePool,
    rule: Rule,
    task: Task[Any],
    states: Tensor,
    label: int,
    generator: torch.Generator,
) -> pools.Prepared:
    """Returns sampled states (n, C, D, H, W) of one body with its worst replaced by its seed and its best ones damaged."""
    seed = pool.seeds[label]
    # Ranked where the rule runs: the same states are the worst and the best ones wherever the pool lies.
    with torch.no_grad():
        losses = task.pool_loss(rule, states, label)
        # Else the worst state has a second chance, as long as it is better than none.
        every = config.seed_every * (RARER if healing(config, iteration) else 1)
        due = iteration % every == 0
        fresh = due or not losses.max() < task.pool_loss(rule, seed[None].to(states.device), label)
    count = min(damage_count(config, iteration, task), len(states) - 1)
    # A config may name no kind of damage as long as it asks for none (damage_count = 0).
    kinds = list(config.damages) if count else []
    damage = pools.damage.mixture(kinds, severity=config.damage_severity) if kinds else None
    phase("damage")
    return pools.prepare(
        states,
        losses,
        seed=seed if fresh else None,
        damage=damage,
        damage_count=count,
        body=lambda states: task.body(rule, states),
        dead_value=rule.dead_value,
        generator=generator,
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
    config: Config, iteration: int, task: Task[Any], rule: Rule, prepared: pools.Prepared, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Runs pooled states on without gradient, except those that are fresh or just damaged.

    Old bodies are what persistence is learned from. A body drifts slowly, and the pool alone can't show it: a state that has
    drifted is the worst of its batch, and goes back to the seed before training has seen it. Ageing reaches beyond that.

    Returns:
        The states (n, C, D, H, W), and the number of steps by which each was aged, int64 (n,).
    """
    ageable = ~(prepared.fresh | prepared.damaged) & bool(task.ageing)
    # During the curriculum bodies are half grown: their old age would teach nothing.
    mature = iteration > task.curriculum * config.iterations
    steps = 0
    if mature and iteration % AGEING_EVERY == 0 and ageable.any():
        steps = draw_ageing(config, iteration, task.ageing)
    states = prepared.states.clone()
    if steps:
        states[ageable] = rollout(
            rule,
            states[ageable],
            steps,
            random_seed=training_seed(config.random_seed, iteration),
            first_step=AGEING_STEP,
            # A state draws its fire masks by its place in the batch, whoever else is aged beside it (law 6).
            sample_ids=ageable.nonzero().squeeze(1),
            condition=labels[ageable.cpu()] if rule.told else None,
            executor=config.executor,
            activity_threshold=config.activity_threshold,
        )
    return states, steps * ageable


def draw_ageing(config: Config, iteration: int, ageing: int) -> int:
    """Returns for how many steps an iteration ages pooled states, 0..ageing."""
    generator = counted_generator(config, iteration, purpose=3)
    return int(torch.randint(0, ageing + 1, (1,), generator=generator))


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
