"""The table `[cube]` of a config: what a cube is asked, and by which teacher."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nca3d.config.schema import field

if TYPE_CHECKING:
    from nca3d.config import Config


@dataclass(frozen=True)
class CubeFields:
    """The fields of runs of regime answering, beside those that all runs share."""

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
    def of(cls, config: Config) -> CubeFields:
        """Those of a config, by their types."""
        return cls(**{entry.name: getattr(config, entry.name) for entry in dataclasses.fields(cls)})
