"""The regime `answering`: a cube is told a question and answers. What it asks of a config, and its table `[cube]`. No torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from nca3d.config.regimes import Regime
from nca3d.config.schema import field
from nca3d.registry import LazyImport

if TYPE_CHECKING:
    from nca3d.config import Config

# Of a gMLP cell, by default.
CHANNELS = 48


@dataclass(frozen=True)
class CubeFields:
    """The table `[cube]` of a config: what a cube is asked, and by which teacher."""

    questions: str = field(
        "lattice", "a shipped set or a JSONL file of question, answer, split", path="file", group="what a cube is asked"
    )
    teacher: str = field("tfidf", "whose embeddings: tfidf, minilm, or the folder of a Hugging Face model", path="folder")
    teacher_layer: int = field(-1, "the hidden layer of a model; -1 = the last", low=-1000, high=1000)
    teacher_pool: str = field("mean", "what stands for a text: the mean over its tokens or the last", choices=("mean", "last"))
    teacher_width: int = field(225, "width of tfidf embeddings", low=2, high=4096)
    question_noise: float = field(
        0.0, "noise on the embeddings of training questions, in their standard deviations", low=0, high=10
    )
    adapters: str = field(
        "together", "embedding to surface: trained with the cube, or alone before it", choices=("together", "alone")
    )
    surface_learning_rate: float = field(
        1.0, "of the matrices over whole faces (option mixed), in multiples of it", above=0, high=1000
    )

    @classmethod
    def of(cls, config: "Config") -> "CubeFields":
        """Those of a config, by their types."""
        return cls(**{entry.name: getattr(config, entry.name) for entry in fields(cls)})


@dataclass(frozen=True)
class Answering(Regime):
    """See `Regime`."""

    def steps(self, config: "Config") -> tuple[int, int]:
        """What is said at one face is at the other after depth − 1 steps, if all cells fire."""
        return config.size[0] + 1, config.size[0] + 5

    def subject(self, config: "Config") -> str:
        """The questions."""
        return CubeFields.of(config).questions

    def channels(self, config: "Config") -> int:
        """Those of a gMLP cell."""
        return CHANNELS

    def contradictions(self, values: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """A cube's rule and its regime need each other; its cells are never dead."""
        answering = values["regime"] == self.name
        if answering and values["rule"] == "conv":
            yield ("rule", "regime"), "gmlp, or a rule of one's own that is told and answers, where regime = answering"
        if answering and values["executor"] == "event":
            yield (
                ("executor", "regime"),
                "auto, dense, compiled or graph, where regime = answering: the cells of a cube are never dead",
            )
        if values["rule"] == "gmlp" and not answering:
            yield ("regime", "rule"), "answering, where rule = gmlp"

    def read(self, config: "Config") -> object:
        """The questions.

        Raises:
            InputError: questions or a teacher that can't be used.
        """
        from nca3d.cube.questions import read_questions
        from nca3d.cube.teacher.named import find_teacher

        asked = CubeFields.of(config)
        find_teacher(asked.teacher, asked.teacher_layer, asked.teacher_pool, asked.teacher_width)
        return read_questions(asked.questions)


ANSWERING = Answering(
    "answering",
    damaging=True,
    table="cube",
    task=LazyImport("nca3d.cube.task:Answering"),
    finish=LazyImport("nca3d.cube.finish:finish_cube"),
)
