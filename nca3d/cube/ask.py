"""Ask a trained cube in words: the teacher reads the question, the cube answers, the nearest answers are looked up."""

import hashlib
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
from nca3d.cube.lesson import saved_teacher
from nca3d.cube.teacher.teacher import Teacher
from nca3d.errors import InputError
from nca3d.load import RuleRef

__all__ = ["Askable", "Cube", "Reply"]


@dataclass(frozen=True, eq=False)
class Cube(Askable):
    """A cube that can be asked.

    Args:
        rule: trained, with its card.
        teacher: reads questions.
        answers: A texts to choose from.
        goals: (A, H·W), their surfaces.
    """

    rule: GMLPRule
    teacher: Teacher
    answers: tuple[str, ...]
    goals: Tensor

    @classmethod
    def load(cls, run: str | Path) -> "Cube | SurfaceCube":
        """The cube of a run folder or a checkpoint, or of a folder that `nca3d export --surface` wrote.

        Raises:
            InputError: no run of a cube, or something in it that can't be trusted; the line says what.
        """
        return SurfaceCube.load(run) if is_surface_folder(run) else cls.of_run(run)

    @classmethod
    def of_run(cls, run: str | Path) -> "Cube":
        """The cube of a run folder or a checkpoint, with its rule.

        Raises:
            InputError: as `load`.
        """
        ref = RuleRef(run)
        rule = ref.rule()
        if not isinstance(rule, GMLPRule):
            raise InputError(run, "rule", type(rule).__name__, "a cube: a run of regime answering")
        teacher, answers = saved_teacher(ref.folder or Path(run))
        goals = rule.goal(teacher.embed(answers)).detach()
        return cls(rule, teacher, tuple(answers), goals)

    def say(self, asked: Tensor, steps: int | None = None, random_seed: int = 0) -> Tensor:
        """See `nca3d.cube.answers.Askable`."""
        alike = torch.zeros(len(asked), dtype=torch.int64)  # one question, one answer, whatever is asked beside it
        thinking = self.rule.card["horizon"] if steps is None else steps
        return say(self.rule, asked, thinking, random_seed=random_seed, sample_ids=alike)[0]

    @cached_property
    def model(self) -> str:
        """The name of its weights, by their content: 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.rule.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def about(self) -> dict[str, object]:
        """See `nca3d.cube.answers.Askable`."""
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
        }
