"""The regime `answering`, in which a cube learns to answer questions: its table `[cube]`, and what it requires of a config.

It imports no torch, which takes seconds: a mistake in a config is reported at once.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.config.regimes import Regime
from nca3d.registry import LazyImport
from nca3d.schema.spec import field

if TYPE_CHECKING:
    from nca3d.config import Config

# The channels of a gMLP cell by default: 32 features and 16 of memory.
CHANNELS = 48


@dataclass(frozen=True)
class CubeFields:
    """The table `[cube]` of a config: which questions a cube learns, and by which teacher.

    Each field's help text, which stands in configs and in `--help`, says what it means.
    """

    questions: str = field(
        "lattice", "a shipped set or a JSONL file of question, answer, split", path="file", group="what a cube is asked"
    )
    teacher: str = field("tfidf", "whose embeddings: tfidf, minilm, or the folder of a Hugging Face model", path="folder")
    teacher_layer: int = field(-1, "the hidden layer of a model; -1 = the last", low=-1000, high=1000)
    teacher_pool: str = field("mean", "what stands for a text: the mean over its tokens or the last", choices=("mean", "last"))
    # 225 = 15 × 15: one component for each pixel of the default face.
    teacher_width: int = field(225, "width of tfidf embeddings", low=2, high=4096)
    # Noise keeps a small set from being learned by heart; validation and test questions have none.
    question_noise: float = field(
        0.0, "noise on the embeddings of training questions, in their standard deviations", low=0, high=10
    )
    adapters: str = field(
        "together", "embedding to surface: trained with the cube, or alone before it", choices=("together", "alone")
    )
    surface_learning_rate: float = field(
        1.0, "of the matrices over whole faces (option mixed), as a multiple of learning_rate", above=0, high=1000
    )

    @classmethod
    def of(cls, config: "Config") -> "CubeFields":
        """Returns the fields of this table that a config holds.

        Args:
            config: The experiment, of regime answering.
        """
        return cls(**{entry.name: getattr(config, entry.name) for entry in fields(cls)})


@dataclass(frozen=True)
class Answering(Regime):
    """The regime of cubes; see `Regime` for its methods."""

    def steps(self, config: "Config") -> tuple[int, int]:
        """Returns the range of steps of a training rollout where the config says "auto"."""
        # A question crosses the cube in depth − 1 steps, if all cells fire; the rest is time to settle.
        return config.lattice[0] + 1, config.lattice[0] + 5

    def splits(self, config: "Config") -> str:
        """Returns what several processes share out: cells where each has weights of its own, unless samples are asked for."""
        own = config.rule_options.get("weights", "per_cell") in ("per_cell", "low_rank")
        # 8 bits share a scale among numbers that follow one another, whose cells may be another's.
        cells = own and config.rule == "gmlp" and config.optimizer in ("adam", "adamw")
        return ("lattice" if cells else "samples") if config.split == "auto" else config.split

    def subject(self, config: "Config") -> str:
        """Returns what a run's folder is named after: the set of questions."""
        return CubeFields.of(config).questions

    def channels(self, config: "Config") -> int:
        """Returns about how many channels a cell will have: those of a gMLP cell."""
        return CHANNELS

    def contradictions(self, values: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """Returns combinations of fields that this regime can't use: see `Regime.contradictions`."""
        answering = values["regime"] == self.name
        if answering and values["rule"] == "conv":
            yield ("rule", "regime"), "gmlp, or a rule of your own that takes questions and answers, where regime = answering"
        # `event` and `slabs` skip dead cells; here they would be `dense` at a higher cost.
        if answering and values["executor"] in ("event", "slabs"):
            yield (
                ("executor", "regime"),
                "auto, dense, compiled or graph, where regime = answering: the cells of a cube are never dead",
            )
        weights = values["rule_options"].get("weights", "per_cell")
        if answering and values["optimizer_in_backward"] and weights != "per_cell":
            yield (
                ("optimizer_in_backward", "rule_options"),
                f"false, where weights = {weights}: the gradient of weights that cells share is known at the end alone",
            )
        if answering and values["compile"] and values["rule"] == "gmlp":
            yield ("compile", "rule"), "false, where rule = gmlp: its step has a backward pass of its own: nothing is left"
        # A gMLP cell has no body to grow: it would train for hours towards nothing.
        if values["rule"] == "gmlp" and not answering:
            yield ("regime", "rule"), "answering, where rule = gmlp"

    def read(self, config: "Config", folder: str | os.PathLike[str] | None = None) -> object:
        """Reads and returns the questions, and checks that the teacher can be had.

        Args:
            config: The experiment, of regime answering.
            folder: The folder of the run to resume; its questions are those of the config too, its teacher is the one that it
                keeps.

        Raises:
            InputError: The questions or the teacher can't be used.
        """
        # Imported here, so that a config without a cube loads none of it.
        from nca3d.cube.questions import QuestionsOfRun, read_questions
        from nca3d.cube.teacher.teacher_ref import find_teacher

        table = CubeFields.of(config)
        find_teacher(table.teacher, table.teacher_layer, table.teacher_pool, table.teacher_width)
        questions = read_questions(table.questions)
        return questions if folder is None else QuestionsOfRun(questions, Path(folder))


ANSWERING = Answering(
    "answering",
    damaging=True,
    table="cube",
    task=LazyImport("nca3d.cube.task:Answering"),
    finish=LazyImport("nca3d.cube.finish:finish_cube"),
    per_cell=True,
)
