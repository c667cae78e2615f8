"""How a cube is asked and answers: a question goes in at the front face, d = 0, and the back face shows the answer."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.cube.faces import Surface
from nca3d.cube.gmlp import GMLPCell
from nca3d.lattice import Size
from nca3d.rules.inputs import Inputs


class AskedCube(GMLPCell):
    """The two faces of a cube; a rule of cells makes it whole (`GMLPRule`).

    Attributes:
        size: The lattice (D, H, W).
        features: F, the number of channels that neighbours see.
        memory: M, the number of channels that they don't see.
        surface: Writes questions to the front face and reads answers off the back face.
    """

    size: Size
    features: int
    memory: int
    surface: Surface

    def rest(self, batch: int = 1, device: torch.device | str | None = None) -> Tensor:
        """Returns the state of cubes before any question, (B, F + M, D, H, W): zeros.

        Args:
            batch: B, the number of cubes.
            device: Where the state shall be.
        """
        # Channels last in memory: executors work on rows of channels, and need no copy of such a state.
        return torch.zeros(batch, *self.size, self.channels, device=device).movedim(-1, 1)

    def plant(self, state: Tensor, cells: Tensor) -> None:
        """Does nothing to a state (B, C, D, H, W): a cube has no first cell, it is at rest until it is asked."""

    def ask(self, question: Tensor) -> Inputs:
        """Returns a question as `inputs` of a rollout: held at the front face, d = 0, in every step.

        Args:
            question: A surface (B, H·W), or an embedding (B, embedding) where the rule has adapters.

        Raises:
            ArgumentError: The question has another width.
        """
        return Inputs(self.surface.write_question(question).movedim(-1, 1).unflatten(-1, self.size[1:]))

    def tell(self, state: Tensor, question: Tensor) -> Tensor:
        """Returns a state with a question added to the features of the front face, once: it is not held there.

        Args:
            state: The state of B cubes, (B, F + M, D, H, W).
            question: See `ask`.

        Raises:
            ArgumentError: The question has another width.
        """
        face = self.surface.write_question(question).movedim(-1, 1).unflatten(-1, self.size[1:])
        padded = F.pad(face, (0, 0, 0, 0, 0, self.memory))
        return torch.cat([state[:, :, :1] + padded[:, :, None], state[:, :, 1:]], dim=2)

    def answer(self, state: Tensor) -> Tensor:
        """Returns the surface (B, H·W) that the back face, d = D − 1, of a state (B, F + M, D, H, W) shows."""
        return self.surface.read_answer(state[:, : self.features, -1].flatten(2).movedim(1, -1))

    def goal(self, answers: Tensor) -> Tensor:
        """Returns the surfaces (N, H·W) that a cube should show for answers, (N, embedding).

        Where there are no adapters, an answer is its surface. No gradient passes back to the adapter: a cube could lower its
        loss by making all goals alike.
        """
        return answers if self.surface.wanted is None else self.surface.wanted(answers).detach()
