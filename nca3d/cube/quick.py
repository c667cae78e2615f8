"""A cube that is asked often, as a server's is: it computes only what an answer depends on, from weights that no longer change.

What a rollout of the whole cube says, it says to the bit (`executor/asking.py`). With weights in bfloat16 it says nearly that,
in half the memory; so it is first tried on questions that are known, and stays in float32 if an answer would be another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nca3d.cube.answers import AT_ONCE, Askable
from nca3d.cube.ask import Cube
from nca3d.cube.executor.asking import Cone, cone_of
from nca3d.errors import InputError

# Answers to each question that must be the same, in their order.
BEST = 5


@dataclass(frozen=True, eq=False)
class QuickCube(Cube):
    """A cube whose rule does not change any more.

    Args:
        cone: What asks it, for the horizon of its training and random seed 0; other questions go to the whole cube.
    """

    cone: Cone | None = None

    def say(self, questions: Tensor, steps: int | None = None, random_seed: int = 0) -> Tensor:
        """Returns the surface of the back face, (N, H·W), for questions (N, E); see `nca3d.cube.answers.Askable`.

        Raises:
            InputError: Weights are kept in bfloat16, and other steps or another seed are asked for.
        """
        if self.cone is None or steps not in (None, self.cone.steps) or random_seed:
            if self.cone is not None and self.cone.narrow:
                raise InputError("ask", "steps, random_seed", f"{steps}, {random_seed}", f"{self.cone.steps}, 0: in bfloat16")
            return super().say(questions, steps, random_seed)
        return torch.cat([self.cone.say(part) for part in questions.split(AT_ONCE)])


def quick(cube: Askable, precision: str = "fp32") -> tuple[Askable, str]:
    """Returns a cube that is asked quickly, where it can be, and a line about what could not be had, or "".

    Args:
        cube: Any cube; its rule must not be used for anything else afterwards.
        precision: "fp32", or "bf16" for weights in half the memory, where answers stay the same.
    """
    narrow, why = precision == "bf16", "float32: found {}, so weights are not kept in bfloat16"
    if not isinstance(cube, Cube):
        return cube, why.format("a cube that ONNX Runtime computes") if narrow else ""
    fields = cube.rule, cube.teacher, cube.answers, cube.goals, cube.folder
    full = QuickCube(*fields, cone_of(cube.rule, cube.rule.card["horizon"]))
    if not narrow:
        return full, ""
    cone = cone_of(cube.rule, cube.rule.card["horizon"], narrow=True)
    if cone is None:
        return full, why.format("a cube that only a rollout of the whole can ask")
    half = replace(full, cone=cone)
    questions = known_questions(cube)
    different = sum(
        [reply.answer for reply in one.replies] != [reply.answer for reply in other.replies] or one.sure != other.sure
        for one, other in zip(full.verdicts(questions, best=BEST), half.verdicts(questions, best=BEST), strict=True)
    )
    if different:
        return full, why.format(f"other answers to {different} of {len(questions)} known questions")
    _ = half.model, half.threshold  # both are of the weights as they were trained
    for name, weight in cube.rule.cells.own.items():
        weight.data = cone.weights[name]
    return half, ""


def known_questions(cube: Askable) -> Sequence[str]:
    """Returns a batch of questions to try a cube with: its samples, and its own answers, which are texts of the same kind."""
    texts = [sample.question for sample in cube.samples] + list(cube.answers)
    return [text for text in texts if text.strip()][:AT_ONCE]
