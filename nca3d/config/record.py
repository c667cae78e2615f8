"""One experiment in one flat, frozen record: Python fields <-> TOML keys <-> command-line flags.

Each field carries its doc, range and choices, so that validation, `--help` and the comments of a written file come
from one place. All errors are shown together, one line each. No torch here: a bad config is refused before anything
heavy loads.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from nca3d.config import shipped as configs
from nca3d.config.schema import Spec, converted, field, shown, toml
from nca3d.errors import InputError, InputErrors, nearest
from nca3d.files import write_whole


@dataclass(frozen=True)
class Config:
    """Everything that decides a run. Lists become tuples; every value is checked when the record is made.

    Raises:
        InputErrors: all the fields that are wrong, one line each.
    """

    target: str = field(
        "axolotl", "a shipped name (see: nca3d targets) or a path to a mesh, array or volume", group="what to grow"
    )
    size: tuple[int, int, int] = field((10, 18, 14), "the lattice: D H W cells", low=3, high=512)
    target_options: dict[str, Any] = field({}, "options of that target: margin, orientation, colormap ...")  # noqa: RUF009

    rule: str = field("conv", "the kind of rule", group="what one cell does")
    channels: int | str = field(
        "auto", "channels of a cell: visible, alpha, hidden; auto = 16, more for many classes", low=2, high=512, words=("auto",)
    )
    hidden: tuple[int, ...] = field((128,), "widths of the update network's hidden layers", low=1, high=4096, length=(1, 8))
    perception: str = field(
        "gradient", "what a cell sees of its neighbours", choices=("gradient", "gradient+laplacian", "isotropic", "learned")
    )
    fire_rate: float = field(0.5, "probability that a cell updates in a step", above=0, high=1)
    alive_threshold: float = field(0.1, "alpha above which a cell is alive", low=0, below=1)
    step_size: float = field(1.0, "factor on each update", above=0, high=10)
    padding: str = field("zeros", "what lies beyond the lattice", choices=("zeros", "replicate", "circular"))
    rule_options: dict[str, Any] = field({}, "options of a rule of one's own")  # noqa: RUF009
    init: str = field("", "start from this rule: a run folder, a checkpoint or zoo:NAME", may_be_empty=True)

    regime: str = field(
        "regenerating",
        "what the body must do: grow, also stay, also heal; or what a cube does: answer",
        choices=("growing", "persistent", "regenerating", "answering"),
        group="what we ask for",
    )
    iterations: int = field(1600, "training iterations", low=1, high=10_000_000)
    batch: int = field(4, "bodies in one iteration", low=1, high=4096)
    pool_size: int = field(64, "evolved bodies that training returns to (growing keeps none)", low=1, high=65536)
    steps: tuple[int, int] | str = field(
        "auto",
        "steps of one training rollout, drawn in this range; "
        "auto = longest side + 5 to twice it + 10; answering: depth + 1 to depth + 5",
        low=1,
        high=100_000,
        order="not falling",
        words=("auto",),
    )
    curriculum: float = field(0.3, "share of the iterations over which that range grows to its full length", low=0, high=1)
    detach_every: int = field(
        0, "cut the graph every so many steps (truncated backpropagation); 0 = never", low=0, high=100_000
    )
    ageing: int = field(
        300, "every fifth iteration pooled states first run on without gradient, at most so many steps", low=0, high=1_000_000
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

    questions: str = field(
        "lattice", "a shipped set or a JSONL file of question, answer, split", group="what a cube is asked (regime answering)"
    )
    teacher: str = field("tfidf", "whose embeddings: tfidf, minilm, or the folder of a Hugging Face model")
    teacher_layer: int = field(-1, "the hidden layer of a model; -1 = the last", low=-1000, high=1000)
    teacher_pool: str = field("mean", "what stands for a text: the mean over its tokens or the last", choices=("mean", "last"))
    teacher_width: int = field(225, "width of tfidf embeddings", low=2, high=4096)
    question_noise: float = field(
        0.0, "noise on the embeddings of training questions, in their standard deviations", low=0, high=10
    )
    adapters: str = field(
        "together", "embedding to surface: trained with the cube, or alone before it", choices=("together", "alone")
    )

    optimizer: str = field("adam", "adamw8bit needs the gpu extra", choices=("adam", "adamw", "adamw8bit"), group="how")
    learning_rate: float = field(6e-3, "at the height of the schedule", above=0, high=1)
    surface_learning_rate: float = field(
        1.0, "answering: of the matrices over whole faces (option mixed), in multiples of it", above=0, high=1000
    )
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
        choices=("auto", "dense", "event", "graph", "event-approx"),
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
    plugins: tuple[str, ...] = field((), "Python files imported first: they register rules, targets, losses, damages")

    def __new__(cls, *_: Any, **values: Any) -> Config:
        """Tells an unknown name with the nearest one, where a plain dataclass has a bare TypeError."""
        if not values.keys() <= FIELDS.keys():
            _checked(values, "Config", {})
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, value in _checked(self._values(), "Config", {}).items():
            object.__setattr__(self, name, value)

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in FIELDS}

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> Config:
        """The config in a TOML file, or a shipped one by its name (`nca3d.config.shipped.names()`).

        Raises:
            InputError: whatever is wrong with the file, or with any of its fields.
        """
        return cls.from_dict(*configs.read(source))

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], where: str = "config", places: Mapping[str, str] | None = None) -> Config:
        """A config from plain values; `where` names their source in errors, `places` that of single fields.

        Raises:
            InputErrors: all unknown, mistyped, out-of-range and contradictory fields.
        """
        return cls(**_checked(raw, where, places or {}))

    def replace(self, **changes: Any) -> Config:
        """A copy with some fields changed, checked again."""
        return self.from_dict({**self._values(), **changes}, "Config.replace")

    def to_toml(self) -> str:
        """The whole config as TOML with a comment a field; reading it back gives an equal config."""
        lines: list[str] = []
        group = ""
        for name, spec in FIELDS.items():
            if spec.group != group:
                group = spec.group
                lines += ["", f"# {group}"]
            choices = f" [{', '.join(spec.choices)}]" if spec.choices else ""
            lines.append(f"{f'{name} = {toml(getattr(self, name))}':<40}  # {spec.doc}{choices}")
        return "\n".join(lines[1:]) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_toml()` to a file."""
        write_whole(Path(path), self.to_toml().encode())

    def require_known(self, name: str, known: Iterable[str], where: str = "config") -> None:
        """Check the names in field `name` (damages, losses, rule) against a registry, once plugins have added theirs.

        Raises:
            InputErrors: a line for each name that is not in `known`, with the nearest one.
        """
        value, known = getattr(self, name), sorted(known)
        asked = [value] if isinstance(value, str) else list(value)
        unknown = [word for word in asked if word not in known]
        if unknown:
            allowed = ", ".join(known)
            raise InputErrors(InputError(where, name, repr(word), allowed + nearest(word, known)) for word in unknown)

    def anchored(self) -> Config:
        """A copy whose relative paths are absolute, so that a run can be gone on with and evaluated from any folder."""

        def absolute(name: str) -> str:
            return str(Path(name).absolute()) if Path(name).suffix and Path(name).is_file() else name

        def folder(name: str) -> str:
            return str(Path(name).absolute()) if name and Path(name).is_dir() else name

        return self.replace(
            target=absolute(self.target),
            init=folder(self.init),
            plugins=tuple(map(absolute, self.plugins)),
            questions=absolute(self.questions),
            teacher=folder(self.teacher),
        )

    @property
    def steps_range(self) -> tuple[int, int]:
        """The full range of steps of a training rollout, "auto" resolved from the lattice size."""
        if not isinstance(self.steps, str):
            return self.steps
        if self.regime == "answering":  # what is said at one face is at the other after depth - 1 steps, if all cells fire
            return self.size[0] + 1, self.size[0] + 5
        return max(self.size) + 5, 2 * max(self.size) + 10

    def channels_for(self, visible: int) -> int:
        """The channels of a rule with so many visible ones: "auto" leaves at least eight hidden ones."""
        return max(16, visible + 1 + 8) if isinstance(self.channels, str) else self.channels

    @property
    def horizon(self) -> int:
        """The upper end of the range of training steps: the age at which a body is judged grown."""
        return self.steps_range[1]


def _specs() -> dict[str, Spec]:
    specs, group, hints = {}, "", get_type_hints(Config)
    for entry in dataclasses.fields(Config):
        spec: Spec = entry.metadata["spec"]
        group = spec.group or group
        specs[entry.name] = dataclasses.replace(spec, group=group, hint=hints[entry.name])
    return specs


FIELDS: dict[str, Spec] = _specs()


def _checked(raw: Mapping[str, Any], where: str, places: Mapping[str, str]) -> dict[str, Any]:
    """The values converted to their declared types; every error is collected before any is raised."""
    if not isinstance(raw, Mapping):
        raise InputErrors([InputError(where, "config", f"a {type(raw).__name__}", "a table of fields")])
    errors: list[InputError] = []
    values: dict[str, Any] = {}
    for name, value in raw.items():
        place = places.get(name, where)
        spec = FIELDS.get(name) if isinstance(name, str) else None
        if spec is None:
            hint = nearest(str(name), FIELDS) or "; nca3d train --help lists them"
            errors.append(InputError(place, configs.one_line(str(name)), "an unknown field", f"a field of Config{hint}"))
            continue
        try:
            values[name] = converted(value, spec)
        except (ValueError, TypeError, OverflowError):
            hint = nearest(value, (*spec.choices, *spec.words)) if isinstance(value, str) else ""
            errors.append(InputError(place, name, shown(value), spec.allowed + hint))
    wrong = raw.keys() - values.keys()
    for names, allowed in _contradictions({name: values.get(name, spec.default) for name, spec in FIELDS.items()}):
        if not wrong & set(names):  # a field that is wrong already is not spoken of twice
            place = next((places[name] for name in names if name in places), where)
            errors.append(InputError(place, names[0], shown(values.get(names[0], FIELDS[names[0]].default)), allowed))
    if errors:
        raise InputErrors(errors)
    return values


def _contradictions(values: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
    """Fields that are fine alone and not together: the one to change first, then those that it depends on."""
    batch, pool_size, regime = values["batch"], values["pool_size"], values["regime"]
    if regime != "growing" and batch > pool_size:
        yield ("batch", "pool_size", "regime"), f"at most pool_size = {pool_size}"
    damaging = regime in ("regenerating", "answering")
    if damaging and values["damage_count"] > batch - 1:
        yield ("damage_count", "batch", "regime"), f"at most batch - 1 = {batch - 1} (one is always a fresh seed)"
    if damaging and values["damage_count"] and not values["damages"]:
        yield ("damages", "damage_count", "regime"), "at least one kind, or damage_count = 0"
    if batch % values["accumulate"]:
        yield ("accumulate", "batch"), f"a divisor of batch = {batch}"
    if regime == "answering" and values["rule"] == "conv":
        yield ("rule", "regime"), "gmlp, or a rule of one's own that is told and answers, where regime = answering"
    if regime == "answering" and values["executor"] == "event":
        yield ("executor", "regime"), "auto, dense or graph, where regime = answering: the cells of a cube are never dead"
    if values["rule"] == "gmlp" and regime != "answering":
        yield ("regime", "rule"), "answering, where rule = gmlp"
    if values["schedule"] == "step" and not values["milestones"]:
        yield ("milestones", "schedule"), "at least one share for schedule = step"
