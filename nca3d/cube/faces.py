"""The two faces of a cube: how a question is written to the front cells, and an answer read off the back ones.

Both maps are learned with the rule.
"""

from typing import Any

import torch
from torch import Tensor, nn

from nca3d.cube.adapters import ADAPTERS, Adapter
from nca3d.errors import ArgumentError


class Surface(nn.Module):
    """Turns a pixel of the front face into features of its cell, and the features of a back cell into a pixel.

    With a teacher's embeddings there are two adapters: one brings a question's embedding to the front face, the other brings an
    answer's to the surface that the back face should show. Both are parts of the rule: trained, saved and loaded with it.

    Args:
        pixels: The number of pixels of a face, H·W.
        features: F, the number of features of a cell.
        embedding: The width of the teacher's embeddings; None = questions and answers are surfaces.
        adapter: The kind of adapter, a name in `nca3d.cube.ADAPTERS`.
        mixed: Whether there are learned matrices over all pixels of a face, before a question is written and after an answer is
            read. At first they change nothing.
        pass_through: Whether the read-out begins as the inverse of the write-in, so that a cube that passes its input through
            unchanged answers with the question.
        generator: Draws the initial weights; None = torch's global one.
    """

    def __init__(
        self,
        pixels: int,
        features: int,
        embedding: int | None = None,
        adapter: str = "linear",
        mixed: bool = False,
        pass_through: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.randn(pixels, features, generator=generator))
        # Drawn even where it is not used, so that later draws don't depend on the option.
        out = torch.randn(pixels, features, generator=generator) / features**0.5
        if pass_through:
            # into / |into|²: its product with a pixel's features, pixel · into, is the pixel.
            out = self.into.detach() / self.into.detach().square().sum(1, keepdim=True)
        self.out = nn.Parameter(out)
        self.out_bias = nn.Parameter(torch.zeros(pixels))
        self.mix_in = nn.Parameter(torch.eye(pixels)) if mixed else None
        self.mix = nn.Parameter(torch.eye(pixels)) if mixed else None
        self.mix_bias = nn.Parameter(torch.zeros(pixels)) if mixed else None
        # The names of the two adapters, of the questions and of the answers, are those of saved weights.
        self.asked: Adapter | None = None
        self.wanted: Adapter | None = None
        if embedding is not None:
            make = ADAPTERS.find(adapter)
            self.asked, self.wanted = make(embedding, pixels, generator), make(embedding, pixels, generator)

    def write_question(self, question: Tensor) -> Tensor:
        """Returns the features that a question adds to the front cells, (B, pixels, F).

        Args:
            question: A surface (B, pixels), or an embedding (B, embedding) where there are adapters.

        Raises:
            ArgumentError: The question has another width.
        """
        width = self.asked.embedding if self.asked is not None else len(self.into)
        if question.ndim != 2 or question.shape[1] != width:
            raise ArgumentError("question", f"shape {tuple(question.shape)}", f"(B, {width})")
        surface: Tensor = question if self.asked is None else self.asked(question)
        if self.mix_in is not None:
            surface = surface @ self.mix_in
        return surface[..., None] * self.into

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Completes weights that were saved before there was `mix_in`: the identity is what they computed with."""
        if self.mix_in is not None:
            state_dict.setdefault(f"{prefix}mix_in", torch.eye(len(self.mix_in)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def mixers(self) -> list[nn.Parameter]:
        """Returns the parameters of the matrices over whole faces; none without `mixed`."""
        return [p for p in (self.mix_in, self.mix, self.mix_bias) if p is not None]

    def read_answer(self, face: Tensor) -> Tensor:
        """Returns the surface (B, pixels) that the features of the back cells show, given as (B, pixels, F)."""
        pixels = (face * self.out).sum(dim=-1) + self.out_bias
        return pixels if self.mix is None or self.mix_bias is None else pixels @ self.mix + self.mix_bias
