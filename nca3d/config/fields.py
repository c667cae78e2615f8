"""The fields of an experiment: what all runs share, and the table `[body]`. Another wing brings a table of its own.

Each field carries its doc, range and choices, so that validation, `--help` and the comments of a written file come from one
place. Python fields <-> TOML keys <-> command-line flags.
"""

from dataclasses import dataclass
from typing import Any

from nca3d.config.schema import field
from nca3d.registry import wing_entries


@dataclass(frozen=True)
class Shared:
    """What all runs share: the keys that stand at the top of a file."""

    size: tuple[int, int, int] = field((10, 18, 14), "the lattice: D H W cells", low=3, high=512, group="the lattice")
    rule: str = field("conv", "the kind of rule", group="what one cell does")
    fire_rate: float = field(0.5, "probability that a cell updates in a step", above=0, high=1)
    step_size: float = field(1.0, "factor on each update", above=0, high=10)
    rule_options: dict[str, Any] = field({}, "options of a rule of one's own")  # noqa: RUF009
    init: str = field("", "start from this rule: a run folder, a checkpoint or zoo:NAME", may_be_empty=True, path="folder")
    regime: str = field(
        "regenerating",
        "what the body must do: grow, also stay, also heal; or what another wing asks for",
        choices=("growing", "persistent", "regenerating", *wing_entries("regime")),
        group="what we ask for",
    )
    iterations: int = field(1600, "training iterations", low=1, high=10_000_000)
    batch: int = field(4, "bodies in one iteration", low=1, high=4096)
    pool_size: int = field(64, "evolved bodies that training returns to (growing keeps none)", low=1, high=65536)
    steps: tuple[int, int] | str = field(
        "auto",
        "steps of one training rollout, drawn in this range; "
        "auto = as the regime has it, of bodies longest side + 5 to twice it + 10",
        low=1,
        high=100_000,
        order="not falling",
        words=("auto",),
    )
    detach_every: int = field(
        0, "cut the graph every so many steps (truncated backpropagation); 0 = never", low=0, high=100_000
    )
    damages: tuple[str, ...] = field(("sphere", "half_space"), "kinds of damage, drawn from these")
    damage_count: int = field(1, "how many of the batch (the best) are damaged", low=0, high=4095)
    damage_severity: tuple[float, float] = field(
        (0.05, 0.6), "range of the fraction of the body destroyed", above=0, below=1, order="not falling"
    )
    damage_from: float = field(0.1, "share of the iterations before damage begins", low=0, high=1)
    losses: dict[str, float] = field(  # noqa: RUF009
        {}, "named terms with weights; none = the default terms of the target's kind", low=0
    )
    balance: str = field(
        "fixed",
        "of the terms: their weights as given, learned (log-variances), or by how fast each falls",
        choices=("fixed", "learned", "softadapt"),
    )
    optimizer: str = field("adam", "adamw8bit needs the gpu extra", choices=("adam", "adamw", "adamw8bit"), group="how")
    learning_rate: float = field(6e-3, "at the height of the schedule", above=0, high=1)
    betas: tuple[float, float] = field((0.9, 0.95), "decay of the optimizer's running mean and square", low=0, below=1)
    weight_decay: float = field(0.0, "decoupled for adamw", low=0, high=1)
    schedule: str = field("cosine", "course of the learning rate", choices=("constant", "step", "cosine"))
    warmup: int = field(50, "iterations over which the learning rate rises from zero", low=0, high=1_000_000)
    final_learning_rate: float = field(
        0.05, "fraction of learning_rate at the end (step: factor at each milestone)", low=0, high=1
    )
    milestones: tuple[float, ...] = field(
        (0.6, 0.85), "shares of the iterations at which schedule step falls", low=0, high=1, order="rising"
    )
    gradient: str = field(
        "normalise", "each variable to L2 norm 1, or all clipped to norm 1", choices=("normalise", "clip", "none")
    )
    max_bad_steps: int = field(20, "stop after so many non-finite iterations in a row", low=1, high=10_000)
    precision: str = field("fp32", "of the arithmetic; the state stays float32", choices=("fp32", "bf16"))
    accumulate: int = field(1, "split the batch into so many parts, one after the other", low=1, high=1024)
    average: float = field(
        0.99, "decay of the running average of the weights that is evaluated and saved; 0 = off", low=0, below=1
    )
    device: str = field("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    threads: int = field(0, "CPU threads; 0 = one for small lattices, else as many as torch has", low=0, high=1024)
    memory: int | str = field(
        "auto",
        "what a rollout keeps for its backward pass; a number = steps in a segment",
        low=1,
        high=100_000,
        words=("auto", "keep", "recompute"),
    )
    memory_budget: int = field(2048, "MiB that memory = auto keeps before it recomputes", low=1, high=1 << 30)
    executor: str = field(
        "auto",
        "how steps are run; event = living cells only, graph needs the graph extra, "
        "event-approx (no gradient) = cells whose input changed",
        choices=("auto", "dense", "compiled", "event", "graph", *wing_entries("executor")),
    )
    activity_threshold: float = field(
        1e-3, "executor event-approx: cells whose input changed by no more than this rest", low=0, high=1e6
    )
    random_seed: int = field(0, "every draw follows from it", low=0, high=2**31 - 1, group="house-keeping")
    out: str = field("", "run folder; empty = runs/<target>-<n>, the first n that is free", may_be_empty=True)
    save_every: int = field(250, "iterations between checkpoints", low=1, high=10_000_000)
    keep_checkpoints: int = field(3, "how many of the last ones stay", low=2, high=1000)
    log_every: int = field(10, "iterations between lines of metrics.jsonl", low=1, high=10_000_000)
    pattern_every: int = field(
        100,
        "iterations between measures of pattern and of the pool's diversity in metrics.jsonl; 0 = never",
        low=0,
        high=1 << 30,
    )
    tensorboard: bool = field(False, "write TensorBoard events too (needs the tensorboard extra)")
    report: bool = field(True, "end with pictures, films and report.html")
    plugins: tuple[str, ...] = field(
        (), "Python files imported first: they register rules, targets, losses, damages", path="file"
    )


@dataclass(frozen=True)
class Body:
    """The table `[body]`: what is grown, and by which cells."""

    target: str = field(
        "axolotl",
        "a shipped name (see: nca3d targets) or a path to a mesh, array or volume",
        path="file",
        group="what to grow",
    )
    target_options: dict[str, Any] = field({}, "options of that target: margin, orientation, colormap ...")  # noqa: RUF009
    channels: int | str = field(
        "auto",
        "channels of a cell: visible, alpha, hidden; auto = 16, more for many classes",
        low=2,
        high=512,
        words=("auto",),
        group="what one cell does",
    )
    hidden: tuple[int, ...] = field((128,), "widths of the update network's hidden layers", low=1, high=4096, length=(1, 8))
    perception: str = field(
        "gradient", "what a cell sees of its neighbours", choices=("gradient", "gradient+laplacian", "isotropic", "learned")
    )
    alive_threshold: float = field(0.1, "alpha above which a cell is alive", low=0, below=1)
    padding: str = field("zeros", "what lies beyond the lattice", choices=("zeros", "replicate", "circular"))
    curriculum: float = field(
        0.3,
        "share of the iterations over which that range grows to its full length",
        low=0,
        high=1,
        group="what we ask for",
    )
    ageing: int = field(
        300, "every fifth iteration pooled states first run on without gradient, at most so many steps", low=0, high=1_000_000
    )
