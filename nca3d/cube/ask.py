"""Ask a trained cube in words: the teacher embeds the question, the cube computes, the nearest answers are looked up."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from nca3d.cube.answers import Askable, Reply, say
from nca3d.cube.cell import GMLPRule
from nca3d.cube.export.folder import SurfaceCube
from nca3d.cube.export.record import is_surface_folder
from nca3d.cube.lesson import load_teacher_and_answers
from nca3d.cube.samples import Sample, samples_of_run
from nca3d.cube.teacher.teacher import Teacher
from nca3d.cube.threshold import Threshold, threshold_of_run
from nca3d.cube.weights import digest_of
from nca3d.errors import InputError
from nca3d.load import RuleRef

__all__ = ["Askable", "Cube", "Reply"]


@dataclass(frozen=True, eq=False)
class Cube(Askable):
    """A cube that can be asked, by PyTorch.

    Args:
        rule: The trained rule, with its card.
        teacher: The teacher that embeds questions.
        answers: The A texts to choose from.
        goals: The surfaces of these answers, (A, H·W).
        folder: The run folder, which knows the threshold and the samples; None = there is none.
    """

    rule: GMLPRule
    teacher: Teacher
    answers: tuple[str, ...]
    goals: Tensor
    folder: Path | None = None

    @classmethod
    def load(cls, run: str | Path, *, plugins: Sequence[str] | None = None) -> "Cube | SurfaceCube":
        """Loads the cube of a run folder or a checkpoint, or of a folder that `nca3d export --surface` wrote.

        Args:
            run: The folder.
            plugins: Python files to run first, instead of those that the run's config names; see `nca3d.load`.

        Raises:
            InputError: It is not the run of a cube, or a file in it is damaged; the message says which.
        """
        return SurfaceCube.load(run) if is_surface_folder(run) else cls.of_run(run, plugins=plugins)

    @classmethod
    def of_run(cls, run: str | Path, *, plugins: Sequence[str] | None = None) -> "Cube":
        """Loads the cube of a run folder or a checkpoint, with its rule.

        Args:
            run: The folder.
            plugins: See `load`.

        Raises:
            InputError: See `load`.
        """
        ref = RuleRef(run, plugins=plugins)
        # A body has no answers: the error says so, rather than a missing file of answers.
        rule = ref.rule()
        if not isinstance(rule, GMLPRule):
            raise InputError(run, "rule", type(rule).__name__, "a cube: a run of regime answering")
        folder = ref.folder or Path(run)
        teacher, answers = load_teacher_and_answers(folder)
        # Computed once: all answers are compared with each output, whatever is asked.
        goals = rule.goal(teacher.embed(answers)).detach()
        return cls(rule, teacher, tuple(answers), goals, folder)

    def say(self, questions: Tensor, steps: int | None = None, random_seed: int = 0) -> Tensor:
        """Returns the surface of the back face, (N, H·W), for questions (N, E); see `nca3d.cube.answers.Askable`."""
        # The same id for all: which cells fire, and so the answer, must not depend on a question's place in the batch.
        sample_ids = torch.zeros(len(questions), dtype=torch.int64)
        steps = self.rule.card["horizon"] if steps is None else steps
        return say(self.rule, questions, steps, random_seed=random_seed, sample_ids=sample_ids)[0]

    @cached_property
    def model(self) -> str:
        """The digest of the weights; see `digest_of`."""
        return digest_of(self.rule)

    # Cached, and looked up when it is first needed: `ask` reads no report.
    @cached_property
    def threshold(self) -> Threshold | None:
        """Below what the cube is not sure; None where the run has no report on these weights."""
        return None if self.folder is None else threshold_of_run(self.folder, self.model, self.rule.card["horizon"])

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """A few questions of the set that it was trained on; none where that set is gone or another one."""
        return () if self.folder is None else samples_of_run(self.folder, self.rule.card.get("questions_digest"))

    def about(self) -> dict[str, object]:
        """Describes the cube; see `nca3d.cube.answers.Askable`."""
        rule = self.rule
        return {
            "model": self.model,
            "size": list(rule.size),
            "cells": prod(rule.size),
            "weights": sum(weight.numel() for weight in rule.parameters()),
            "horizon": rule.card["horizon"],
            "teacher": self.teacher.id,
            "answers": len(self.answers),
            "runtime": "PyTorch",
            "threshold": self.threshold and self.threshold.record(),
        }
