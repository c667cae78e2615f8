"""The regime `answering`: a cube is told a question and answers. What it asks of a config, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nca3d.config.regimes import Regime
from nca3d.registry import Late

if TYPE_CHECKING:
    from nca3d.config import Config

# Of a gMLP cell, by default.
CHANNELS = 48


@dataclass(frozen=True)
class Answering(Regime):
    """See `Regime`."""

    def steps(self, config: Config) -> tuple[int, int]:
        """What is said at one face is at the other after depth − 1 steps, if all cells fire."""
        return config.size[0] + 1, config.size[0] + 5

    def subject(self, config: Config) -> str:
        """The questions."""
        from nca3d.cube.fields import CubeFields

        return CubeFields.of(config).questions

    def channels(self, config: Config) -> int:
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

    def read(self, config: Config) -> object:
        """The questions.

        Raises:
            InputError: questions or a teacher that can't be used.
        """
        from nca3d.cube.fields import CubeFields
        from nca3d.cube.questions import read_questions
        from nca3d.cube.teacher.named import find_teacher

        asked = CubeFields.of(config)
        find_teacher(asked.teacher, asked.teacher_layer, asked.teacher_pool, asked.teacher_width)
        return read_questions(asked.questions)


ANSWERING = Answering(
    "answering",
    damaging=True,
    table="cube",
    task=Late("nca3d.cube.task:Answering"),
    finish=Late("nca3d.cube.finish:finish_cube"),
)
