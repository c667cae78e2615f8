"""One iteration of training: draw states, damage some, run the rule, ask how well it did, learn, write back."""

from dataclasses import dataclass

import torch
from torch import Tensor

import pools
from nca3d.config import Config
from nca3d.errors import ArgumentError, InputError
from nca3d.fire import training_seed
from nca3d.losses import LOSSES, evaluate_terms
from nca3d.rollout import rollout
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs
from nca3d.training.balance import Balance
from nca3d.training.optim import gradients_finite, treat_gradients
from nca3d.training.task import Task

# Steps from one state that a loss of several looks at to the next.
REST_STEPS = 8


# Iterations from one ageing to the next: long ageings now and then cost less than short ones each time, and reach as far.
AGEING_EVERY = 5

# Ageing counts its steps from here, so that its fire masks are not those of the training rollout.
AGEING_STEP = 1 << 30


@dataclass(frozen=True)
class Outcome:
    """What one iteration did: `metrics` for the log, whether anything went wrong ("" or why the step was skipped), and the
    states (B, C, D, H, W) that it ended with."""

    metrics: dict[str, float]
    fault: str = ""
    states: Tensor | None = None


def counted_generator(config: Config, iteration: int, purpose: int) -> torch.Generator:
    """A generator for one purpose in one iteration: by counting, like fire masks, so that no state needs saving."""
    return torch.Generator().manual_seed(training_seed(training_seed(config.random_seed, purpose), iteration))


def draw_steps(config: Config, iteration: int, curriculum: float) -> int:
    """How many steps this iteration runs: uniform in a range that grows from half its length to the whole (curriculum)."""
    low, high = config.steps_range
    grown = min(1.0, iteration / (curriculum * config.iterations)) if curriculum else 1.0
    short = max(1, low // 2)
    low, high = round(short + (low - short) * grown), round(short + (high - short) * grown)
    generator = counted_generator(config, iteration, purpose=1)
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def draw_batch(
    config: Config, iteration: int, pool: pools.StatePool, rule: Rule, task: Task
) -> tuple[pools.Batch | None, pools.Prepared]:
    """States to start from: the seed alone (growing), or evolved ones, the worst back to the seed and the best damaged."""
    if not task.pooled:
        states = pool.seed.expand(config.batch, *pool.seed.shape).clone()
        return None, pools.Prepared(states, *(torch.zeros(config.batch, dtype=torch.bool) for _ in range(2)))
    batch = pool.sample(config.batch)
    with torch.no_grad():
        losses = task.pool_loss(rule, batch.states)
    damaging = task.damaging and iteration > config.damage_from * config.iterations
    damage = pools.damage.mixture(list(config.damages), severity=config.damage_severity) if damaging else None
    return batch, pools.prepare(
        batch.states,
        losses,
        seed=pool.seed,
        damage=damage,
        damage_count=config.damage_count if damaging else 0,
        body=lambda states: task.body(rule, states),
        dead_value=rule.dead_value,
        generator=counted_generator(config, iteration, purpose=2),
    )


@torch.no_grad()
def age_states(config: Config, iteration: int, task: Task, rule: Rule, ready: pools.Prepared) -> tuple[Tensor, Tensor]:
    """Pooled states, neither fresh nor just damaged, run on without gradient: old bodies are what persistence is learned from.

    A body drifts slowly, and the pool alone can't show it: a state that has drifted is the worst of its batch, and goes back to
    the seed before training has seen it. Ages drawn here reach beyond that.

    Returns:
        The states (n, C, D, H, W), and by how many steps each was aged, (n,).
    """
    older = ~(ready.fresh | ready.damaged) & bool(task.ageing)
    begun = iteration > task.curriculum * config.iterations  # before, bodies are not worth keeping for long
    steps = 0
    if begun and iteration % AGEING_EVERY == 0 and older.any():
        generator = counted_generator(config, iteration, purpose=3)
        steps = int(torch.randint(0, task.ageing + 1, (1,), generator=generator))
    states = ready.states.clone()
    if steps:
        device = next(rule.parameters()).device
        states[older] = rollout(
            rule,
            states[older].to(device),
            steps,
            random_seed=training_seed(config.random_seed, iteration),
            first_step=AGEING_STEP,
            sample_ids=older.nonzero().squeeze(1),
            executor=config.executor,
            activity_threshold=config.activity_threshold,
        ).to(states)
    return states, steps * older


def note_executor(config: Config, task: Task, rule: Rule) -> str:
    """What it means for training that an executor is approximate; "" where it is exact.

    Raises:
        InputError: one that can't run this rule.
    """
    if "approx" not in config.executor:
        return ""
    try:
        with torch.no_grad():
            rollout(rule, task.seed(rule), 1, executor=config.executor)
    except ArgumentError as error:
        raise InputError("config", "executor", error.found, error.allowed) from None
    with_gradient = "executor auto runs training's rollouts; the one that was asked for runs those without gradient"
    return f"executor {config.executor} has no gradient: {with_gradient}"


def train_step(
    config: Config,
    iteration: int,
    task: Task,
    rule: Rule,
    balance: Balance,
    optimizer: torch.optim.Optimizer,
    pool: pools.StatePool,
) -> Outcome:
    """One iteration, 1, 2, …; its random numbers follow from (config.random_seed, iteration) and the pool's generator."""
    batch, ready = draw_batch(config, iteration, pool, rule, task)
    states, ages = age_states(config, iteration, task, rule, ready)
    steps = draw_steps(config, iteration, task.curriculum)
    device = next(rule.parameters()).device
    wanted = task.draw(iteration)

    optimizer.zero_grad(set_to_none=True)
    looks = LOSSES.moments(task.weights)
    ends, totals, named = [], [], dict.fromkeys(task.weights, 0.0)
    for ids in torch.arange(config.batch).chunk(config.accumulate):
        part = task.part(wanted, ids)
        # bf16 is for the update network alone: the state stays float32 (the executor sees to that).
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
            inputs = task.inputs(rule, part)
            moments = run_moments(config, iteration, rule, states[ids].to(device), ids, steps, looks, inputs)
        terms = evaluate_terms(task.weights, moments, part, rule)
        loss = balance.total(terms)
        # Divided by the whole batch, so that accumulated gradients equal those of one large batch (law 8).
        (loss.sum() / config.batch).backward()
        ends.append(moments[-1].detach())
        totals.append(loss.detach())
        for name, term in terms.items():
            named[name] += float(term.detach().sum()) / config.batch

    states, loss = torch.cat(ends), torch.cat(totals)
    fault = _fault(rule, states, loss)
    if not fault:
        treat_gradients(config, rule.parameters())
        optimizer.step()
        balance.note(named)
    reseeded = {}
    if batch is not None:
        reseeded = pool.replace(batch.index, states.cpu(), steps=ages + steps, fresh=ready.fresh)
    metrics = {"loss": float(loss.mean()), **task.figures(rule, states, wanted), "steps": float(steps)}
    metrics |= {f"loss_{name}": value for name, value in named.items()} | balance.figures()
    metrics |= {f"reseeded_{why}": float(count) for why, count in reseeded.items()}
    return Outcome(metrics, fault, states)


def run_moments(
    config: Config,
    iteration: int,
    rule: Rule,
    states: Tensor,
    ids: Tensor,
    steps: int,
    count: int = 1,
    inputs: Inputs | None = None,
) -> Tensor:
    """The states that the losses look at, (T, B, C, D, H, W): the last `count`, each `REST_STEPS` after the one before it.

    The graph is cut every `detach_every` steps (truncated backpropagation).
    """
    looks = {max(0, steps - REST_STEPS * back) for back in range(count)}
    cuts = set(range(config.detach_every, steps, config.detach_every)) if config.detach_every else set()
    seed, done, moments = training_seed(config.random_seed, iteration), 0, []
    executor = "auto" if "approx" in config.executor else config.executor  # what is approximate has no gradient
    for stop in sorted(looks | cuts):
        states = rollout(
            rule,
            states,
            stop - done,
            random_seed=seed,
            first_step=done,
            sample_ids=ids,
            inputs=inputs,
            executor=executor,
            memory=config.memory,
            memory_budget=config.memory_budget << 20,
        )
        if stop in looks:
            moments.append(states)
        if stop in cuts:
            states = states.detach()
        done = stop
    return torch.stack(moments)


def _fault(rule: Rule, states: Tensor, loss: Tensor) -> str:
    """Why this iteration must not move the weights, or ""; asked before gradients are normalised."""
    if not torch.isfinite(loss).all():
        return "non-finite loss"
    if not gradients_finite(rule.parameters()):
        return "non-finite gradient"
    if not rule.alive_mask(states).any():
        return "no living cell in the whole batch"
    return ""
