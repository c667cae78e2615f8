"""One iteration of training: draw states, damage some, run the rule, ask how well it did, learn, write back.

Read `train_step` first; the functions above it are its parts, in the order in which it calls them.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import pools
from nca3d.config import Config
from nca3d.config.fields import AGEING_EVERY
from nca3d.errors import ArgumentError, InputError
from nca3d.executors.offload import Kept
from nca3d.fire import training_seed
from nca3d.losses import LOSSES
from nca3d.rollout import rollout
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs
from nca3d.training.balance import Balance
from nca3d.training.learner import OVERFLOW, Learner
from nca3d.training.monitor import Work, living, work_of
from nca3d.training.optim import RARER, healing
from nca3d.training.phases import phase
from nca3d.training.precision import autocast
from nca3d.training.recovery import BAD_LOSS, EXTINCT
from nca3d.training.task import Task

# Steps between two recorded states of a loss that compares several, such as `rest`.
REST_STEPS = 8

# Ageing counts its steps from here, so that its fire masks are not those of the training rollout.
AGEING_STEP = 1 << 30


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
    pool: pools.StatePool,
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
    # 1. Where to start: states of the pool, and what they should become.
    phase("draw")
    batch, prepared, labels = draw_batch(config, iteration, pool, rule, task)
    phase("ageing")
    states, ages = age_states(config, iteration, task, rule, prepared, labels)
    phase("draw")
    living_cells = living(rule, states)
    steps = draw_steps(config, iteration, task.curriculum)
    goal = task.draw(iteration, labels)
    device = next(rule.parameters()).device

    # 2. Run the rule and collect gradients, `config.accumulate` parts of the batch one after the other.
    learner.begin()
    count = LOSSES.moments(task.weights)
    final_states, losses, term_sums = [], [], dict.fromkeys(task.weights, torch.zeros((), device=device, dtype=torch.float64))
    for ids in torch.arange(config.batch, device=device).chunk(config.accumulate):
        phase("forward")
        subset = task.subset(goal, ids)
        with kept.keeping() if kept else contextlib.nullcontext():
            with autocast(config, device):
                inputs = task.inputs(rule, subset)
                moments = run_moments(config, iteration, rule, states[ids], ids, steps, count, inputs, task.condition(subset))
            phase("losses")
            terms = task.terms(moments, subset, rule)
            loss = balance.total(terms)
        phase("backward")
        # Divided by the whole batch, so that accumulated gradients equal those of one large batch (law 8).
        learner.backward(loss.sum() / config.batch)
        phase("losses")
        final_states.append(moments[-1].detach())
        losses.append(loss.detach())
        for name, term in terms.items():
            term_sums[name] = term_sums[name] + term.detach().sum().double()
    states, loss = torch.cat(final_states), torch.cat(losses)
    # Read once for all terms and parts: a device must come to rest for each number that is read from it.
    means = (torch.stack(list(term_sums.values())) / config.batch).tolist()
    term_means = dict(zip(term_sums, means, strict=True))

    # 3. Learn, unless something went wrong: one NaN in a step of the optimizer spoils all weights for good.
    phase("checks")
    fault = _fault(rule, states, loss, learner)
    change()
    if not fault:
        phase("optimizer")
        learner.step(config, rule.parameters())
        balance.note(term_means)
    learner.end(overflowed=fault == OVERFLOW)

    # 4. Write back, faulty or not: the pool itself starts dead and non-finite states again from the seed.
    phase("write")
    reseeded = {}
    if batch is not None:
        reseeded = pool.replace(batch.index, states, steps=ages + steps, fresh=prepared.fresh, labels=labels)
    metrics = {"loss": float(loss.mean()), **task.metrics(rule, states, goal), "steps": float(steps)}
    metrics |= {f"loss_{name}": value for name, value in term_means.items()} | balance.metrics()
    metrics |= {f"reseeded_{reason}": float(count) for reason, count in reseeded.items()}
    if config.precision == "fp16":
        metrics |= {"loss_scale": learner.scale.value, "overflowed": float(fault == OVERFLOW)}
    # A scale that was too large is no fault of the rule: the weights stayed, and the next scale is half of it.
    fault = "" if fault == OVERFLOW else fault
    fresh = batch is None or bool(prepared.fresh.any())
    like = "aged" if bool(ages.any()) else "seeded" if fresh else "losses"
    return Outcome(metrics, fault, states, work_of(rule, living_cells, states, steps, ages), like)


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


def _fault(rule: Rule, states: Tensor, loss: Tensor, learner: Learner) -> str:
    """Returns why this iteration must not move the weights, or ""; gradients are not normalised yet."""
    if not torch.isfinite(loss).all():
        return BAD_LOSS
    if wrong := learner.look(rule.parameters()):
        return wrong
    # Without a living cell no gradient says how to come back to life.
    if not rule.alive_mask(states).any():
        return EXTINCT
    return ""
