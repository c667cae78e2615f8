"""What cubes are asked in one iteration, and what they should say: embeddings of questions and answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Lesson:
    """A batch of questions.

    Args:
        asked: (B, E), embeddings of the questions.
        wanted: (B, E), embeddings of their answers.
        right: int64 (B,), which of the rivals the right answer is.
        rivals: (N, E), embeddings of distinct answers, all of the batch's among them.
    """

    asked: Tensor
    wanted: Tensor
    right: Tensor
    rivals: Tensor

    def part(self, ids: Tensor) -> Lesson:
        """The questions with these numbers, with all rivals: so that parts of a batch add up to the whole (law 8)."""
        return Lesson(self.asked[ids], self.wanted[ids], self.right[ids], self.rivals)

    def to(self, device: torch.device) -> Lesson:
        """The same on another device."""
        return Lesson(*(tensor.to(device) for tensor in (self.asked, self.wanted, self.right, self.rivals)))
