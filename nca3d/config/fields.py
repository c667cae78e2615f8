"""The fields of an experiment: those that all runs share, and the table `[body]`. Another wing brings a table of its own.

Each field carries its description, range and choices, so that validation, `--help` and the comments of a written file come
from one place. A field `pool_size` is the TOML key `pool_size` and the flag `--pool-size`.
"""

from dataclasses import dataclass
from typing import Any, Literal

from nca3d.registry import wing_entries
from nca3d.schema.spec import auto, field

# The lattice where size = "auto" and the body has a name, and of what has no body.
NAMED_SIZE = (10, 18, 14)
# The same of those that are made for a larger one.
HOMES = {
    "oak": (28, 24, 25),
    "coral": (32, 32, 32),
    "island": (34, 52, 50),
    "castle": (20, 18, 18),
    "cathedral": (31, 20, 34),
}


@dataclass(frozen=True)
class Shared:
    """The fields that all runs share: the keys at the top of a file. Each field's description says what it means."""

    # One cell along an axis: a flat body, such as an image.
    size: tuple[int, int, int] | Literal["auto"] = field(
        "auto",
        "the lattice: D H W cells; auto = 10 18 14 (of a large one its own), of a body of your own its cells and the margin "
        "(of a mesh or scan 24 cells along the longest side, of a large image 40)",
        low=1,
        high=512,
        words=("auto",),
        group="the lattice",
    )
    rule: str = field("conv", "the kind of rule", group="what one cell does")
    # Cells have no common clock: each updates by chance (Mordvintsev et al. 2020). 1 = all at once, as in Conway's Life.
    fire_rate: float = field(0.5, "probability that a cell updates in a step", above=0, high=1)
    step_size: float = field(1.0, "factor on each update", above=0, high=10)
    rule_options: dict[str, Any] = field({}, "options of a rule of your own")
    init: str = field(
        "",
        "start from this rule: a run folder, a checkpoint or zoo:NAME; with a wider hidden than its own it is widened",
        may_be_empty=True,
        path="folder",
        changes_run=False,
    )
    regime: str = field(
        "regenerating",
        "what to train: a body that grows, also persists, also regenerates; or what another wing trains",
        choices=("growing", "persistent", "regenerating", *wing_entries("regime")),
        group="what we ask for",
    )
    iterations: int = auto(1600, "training iterations", low=1, high=10_000_000)
    # A run that was begun before there was such a thing goes on without it.
    stop_when_whole: bool = auto(False, "end early when the body has been whole for a while")
    batch: int = auto(4, "bodies in one iteration", low=1, high=4096)
    # Many times the batch, so that states of many ages are in it; each takes the memory of one state.
    pool_size: int = auto(
        64,
        "evolved bodies that training returns to (growing keeps none)",
        "the batch, which it is not below",
        low=1,
        high=65536,
    )
    # Growing is learnt from seeds, healing from states that had time to heal: where a batch is small, they take turns.
    seed_every: int = auto(1, "iterations from one batch with a fresh seed to the next", low=1, high=1000)
    steps: tuple[int, int] | str = field(
        "auto",
        "steps of one training rollout, drawn from this range; "
        "auto = the regime's own (of a body: 1.2 * the steps to its farthest cell + 8, to 3.5 * those + 14)",
        low=1,
        high=100_000,
        order="not falling",
        words=("auto",),
    )
    # For rollouts that are too long to be remembered whole; auto memory is the better choice where it is fast enough.
    detach_every: int = field(
        0, "cut the gradient graph every this many steps (truncated backpropagation); 0 = never", low=0, high=100_000
    )
    damages: tuple[str, ...] = field(("sphere", "half_space"), "kinds of damage to draw from")
    damage_count: int = auto(
        1, "how many of the best states of a batch are damaged", "the batch, less than it", low=0, high=4095
    )
    # Below 1: one cell always survives, for nothing can regenerate from nothing.
    damage_severity: tuple[float, float] = field(
        (0.05, 0.6), "range of the fraction of the body destroyed", above=0, below=1, order="not falling"
    )
    # A body has to grow before there is anything to damage.
    damage_from: float = auto(0.1, "share of the iterations before damage begins", low=0, high=1)
    # Off: a body that was not whole before it was worse after it (docs/experiments.md).
    healing_phase: float = field(
        0.0,
        "share of the iterations at the end in which the learning rate begins anew, half as high, with a third of the seeds",
        low=0,
        high=0.9,
    )
    losses: dict[str, float] = field({}, "loss terms with their weights; none = the default terms of the target's kind", low=0)
    balance: str = field(
        "fixed",
        "how much each loss term counts: as given, learned (log-variances), or by how fast it falls",
        choices=("fixed", "learned", "softadapt"),
    )
    optimizer: str = field(
        "adam",
        "the optimizer; adamw8bit and paged_adamw8bit (its state in host memory when the device is full) need the gpu extra",
        choices=("adam", "adamw", "adamw8bit", "paged_adamw8bit"),
        group="how",
    )
    # Gradients of a rule with weights for each cell are as large as the rule: here they are never all there at once.
    optimizer_in_backward: bool = field(
        False, "move each cell's own weights as soon as their gradient is known (rules with weights per cell)"
    )
    learning_rate: float = auto(6e-3, "the highest learning rate of the schedule", above=0, high=1)
    betas: tuple[float, float] = auto((0.9, 0.95), "decay of the optimizer's running mean and square", low=0, below=1)
    weight_decay: float = field(0.0, "weight decay; decoupled for adamw", low=0, high=1)
    schedule: str = field("cosine", "course of the learning rate", choices=("constant", "step", "cosine"))
    warmup: int = field(50, "iterations over which the learning rate rises from zero", low=0, high=1_000_000)
    final_learning_rate: float = field(
        0.05, "fraction of learning_rate at the end (step: factor at each milestone)", low=0, high=1
    )
    milestones: tuple[float, ...] = field(
        (0.6, 0.85), "shares of the iterations at which schedule step falls", low=0, high=1, order="rising"
    )
    gradient: str = field(
        "normalise",
        "each parameter's gradient scaled to L2 norm 1, or all together clipped to norm 1",
        choices=("normalise", "clip", "none"),
    )
    # A single bad iteration is skipped; several in a row mean that the weights are lost.
    max_bad_steps: int = field(
        20, "go back to the last good state after this many faulty iterations in a row; 5 is the most", low=1, high=10_000
    )
    spike: str = field(
        "log",
        "a loss of five times the median of the last 51 is marked in the log; or the run goes back, while it has retries",
        choices=("log", "rollback"),
    )
    retries: int = field(3, "how often to go back and on with half the learning rate; then the run fails", low=0, high=100)
    precision: str = auto(
        "fp32",
        "precision of the update network's arithmetic; the state stays float32; fp16 scales the loss (GradScaler)",
        choices=("fp32", "bf16", "fp16"),
    )
    accumulate: int = field(1, "split the batch into this many parts, run one after the other", low=1, high=1024)
    # An average over about the last 100 iterations is steadier than the newest weights, which the last batch has pulled at.
    average: float = field(
        0.99, "decay of the running average of the weights, which is evaluated and saved; 0 = off", low=0, below=1
    )
    device: str = field("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    threads: int = field(0, "CPU threads; 0 = one for small lattices, else as many as torch has", low=0, high=1024)
    memory: int | str = field(
        "auto",
        "what a rollout keeps for its backward pass; a number = steps in a segment",
        low=1,
        high=100_000,
        words=("auto", "keep", "recompute"),
        changes_run=False,
    )
    # Beyond it, steps are computed twice instead of being remembered: slower, and the same numbers.
    memory_budget: int = field(
        2048, "MiB that memory = auto keeps before it recomputes", low=1, high=1 << 30, changes_run=False
    )
    # What a rollout keeps lies on the device until then; it comes back before the backward pass asks for it.
    offload: str = field(
        "none",
        "where what a rollout keeps waits for its backward pass: on the device, or in host memory",
        choices=("none", "host"),
        changes_run=False,
    )
    block_cells: int | str = field(
        "auto",
        "cells that are computed again at once in the backward pass of a rule with weights per cell; sqrt = the root of all; "
        "auto = as fit the processor's cache",
        low=1,
        high=1 << 24,
        words=("auto", "sqrt"),
        changes_run=False,
    )
    pool_device: str = field(
        "auto",
        "where the pool lies: on the device, or in host memory; auto = on the device up to a quarter of its free memory",
        choices=("auto", "device", "host"),
        changes_run=False,
    )
    # Its first iterations take seconds longer.
    compile: bool = field(False, "torch.compile a rule of your own (executor dense)")
    executor: str = field(
        "auto",
        "how steps are run; event = living cells only, slabs = these shared out by processes, graph needs the graph extra, "
        "event-approx (no gradient) = cells whose input changed",
        choices=("auto", "dense", "compiled", "event", "slabs", "graph", *wing_entries("executor")),
    )
    # 0 is exact; the larger it is, the more cells rest and the larger is the error.
    activity_threshold: float = field(
        1e-3, "for event-approx: cells whose input changed by no more than this are skipped", low=0, high=1e6
    )
    # A rank owns the states, or the cells, that it runs; bodies run on any, a cube with weights per cell best by its cells.
    split: str = field(
        "auto",
        "what several processes (torchrun) share out: the samples of a batch, or the cells of the lattice; auto = samples for "
        "bodies, cells for cubes with weights of their own",
        choices=("auto", "samples", "lattice"),
        changes_run=False,
    )
    timeout: int = field(
        300,
        "seconds that one of several processes waits for another before that counts as lost",
        low=1,
        high=86_400,
        changes_run=False,
    )
    # Fire masks hash 32-bit numbers.
    random_seed: int = field(0, "every random draw follows from it", low=0, high=2**31 - 1, group="house-keeping")
    out: str = field(
        "", "run folder; empty = runs/<target>-<n>, the first n that is free", may_be_empty=True, changes_run=False
    )
    save_every: int = field(250, "iterations between checkpoints", low=1, high=10_000_000, changes_run=False)
    # At least 2: the newest may turn out damaged.
    keep_checkpoints: int = field(3, "how many of the newest checkpoints are kept", low=2, high=1000, changes_run=False)
    log_every: int = field(10, "iterations between lines of metrics.jsonl", low=1, high=10_000_000, changes_run=False)
    pattern_every: int = field(
        100,
        "iterations between measurements of pattern and of the pool's diversity in metrics.jsonl; 0 = never",
        low=0,
        high=1 << 30,
        changes_run=False,
    )
    tensorboard: bool = field(False, "write TensorBoard events too (needs the tensorboard extra)", changes_run=False)
    tracker: str = field(
        "none",
        "send metrics to trackio or wandb too (needs the package of that name)",
        choices=("none", "trackio", "wandb"),
        changes_run=False,
    )
    profile: bool = field(
        False, "profile a few iterations: profile/trace.json (torch.profiler) and profile.html", changes_run=False
    )
    report: bool = field(True, "end with pictures, films and report.html", changes_run=False)
    plugins: tuple[str, ...] = field(
        (), "Python files to run first: they register rules, targets, losses, damages", path="file"
    )


# Iterations between two ageings: long ageings now and then cost less than short ones each time, and reach as far.
AGEING_EVERY = 5


@dataclass(frozen=True)
class Body:
    """The fields of the table `[body]`: what to grow, and by which cells."""

    target: str | tuple[str, ...] = field(
        "axolotl",
        "a shipped name (see: nca3d targets) or a path to a mesh, array, volume or image; several (in a file a list, the flag "
        "again and again) = one rule that grows each of them, by a condition",
        path="file",
        length=(1, 64),
        alone=True,
        group="what to grow",
    )
    target_options: dict[str, Any] = field({}, "options of the target: margin, orientation, colormap ...")
    # A bias of the first layer costs nothing, may change in mid-life and may lie between two bodies; a genome does neither.
    condition: str = field(
        "input",
        "how cells of several targets know which body they belong to: each is told in every step, or the first cell carries it",
        choices=("input", "seed"),
    )
    condition_codes: str = field(
        "one_hot",
        "the code of each of several targets: one_hot, learned (condition = input alone), or a file of vectors: .npy "
        "(bodies, K) in the order of the targets or .json {name: [numbers]}",
        path="file",
    )
    switch_rate: float = field(
        0.0,
        "probability that a pooled body changes, in mid-life, into another of the targets (condition = input)",
        low=0,
        high=1,
    )
    channels: int | str = field(
        "auto",
        "channels of a cell: visible, alpha, hidden; auto = 16, more for many classes",
        low=2,
        high=512,
        words=("auto",),
        group="what one cell does",
    )
    hidden: tuple[int, ...] = auto((128,), "widths of the update network's hidden layers", low=1, high=4096, length=(1, 8))
    code: int = auto(
        0, "numbers of a code that classes are read from, for bodies of many kinds; 0 = cells carry the classes", low=0, high=64
    )
    perception: str = auto(
        "gradient",
        "what a cell sees of its neighbours",
        choices=("gradient", "gradient+laplacian", "gradient+laplacian/4", "isotropic", "learned"),
    )
    alive_threshold: float = field(0.1, "alpha above which a cell is alive", low=0, below=1)
    padding: str = field("zeros", "what lies beyond the lattice", choices=("zeros", "replicate", "circular"))
    # Short rollouts first: through many steps of an untrained rule gradients say little.
    curriculum: float = field(
        0.3,
        "share of the iterations over which the range of steps grows to its full length",
        low=0,
        high=1,
        group="what we ask for",
    )
    # Old bodies are what persistence is learned from, see `training/step.py`.
    ageing: int = field(
        300,
        "every fifth iteration pooled states first run on without gradient, for at most this many steps",
        low=0,
        high=1_000_000,
    )
