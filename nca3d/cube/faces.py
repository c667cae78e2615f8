"""The two faces of a cube: what is said to the front cells, what is read off the back ones, both learned."""

from typing import Any

import torch
from torch import Tensor, nn

from nca3d.cube.adapters import ADAPTERS, Adapter
from nca3d.errors import ArgumentError


class Surface(nn.Module):
    """A pixel of the front face becomes features of its cell; the features of a back cell become a pixel.

    With a teacher's embeddings, an adapter brings a question's to the front face and another an answer's to the back face:
    what the cube should say there. Both are parts of the rule: trained, saved and loaded with it.

    Args:
        pixels: of a face, H·W.
        features: F of a cell.
        embedding: width of the teacher's embeddings; None = the rule is told surfaces.
        adapter: which one, a name in `nca3d.cube.adapters.ADAPTERS`.
        mixed: learned matrices over all pixels of a face, before a question enters and after the read-out (at first they
            change nothing).
        carried: read out what a front cell was told, so that a cube that carries it across answers with the question.
        generator: draws the initial weights.
    """

    def __init__(
        self,
        pixels: int,
        features: int,
        embedding: int | None = None,
        adapter: str = "linear",
        mixed: bool = False,
        carried: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.randn(pixels, features, generator=generator))
        out = torch.randn(pixels, features, generator=generator) / features**0.5
        self.out = nn.Parameter(self.into.detach() / self.into.detach().square().sum(1, keepdim=True) if carried else out)
        self.out_bias = nn.Parameter(torch.zeros(pixels))
        self.mix_in = nn.Parameter(torch.eye(pixels)) if mixed else None
        self.mix = nn.Parameter(torch.eye(pixels)) if mixed else None
        self.mix_bias = nn.Parameter(torch.zeros(pixels)) if mixed else None
        self.asked: Adapter | None = None
        self.wanted: Adapter | None = None
        if embedding is not None:
            make = ADAPTERS.find(adapter)
            self.asked, self.wanted = make(embedding, pixels, generator), make(embedding, pixels, generator)

    def enter(self, question: Tensor) -> Tensor:
        """(B, pixels), or (B, embedding) where there are adapters -> (B, pixels, F).

        Raises:
            ValueError: a question of another width.
        """
        width = self.asked.embedding if self.asked is not None else len(self.into)
        if question.ndim != 2 or question.shape[1] != width:
            raise ArgumentError("question", f"shape {tuple(question.shape)}", f"(B, {width})")
        surface: Tensor = question if self.asked is None else self.asked(question)
        if self.mix_in is not None:
            surface = surface @ self.mix_in
        return surface[..., None] * self.into

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Weights from before there was `mix_in`: it changed nothing."""
        if self.mix_in is not None:
            state_dict.setdefault(f"{prefix}mix_in", torch.eye(len(self.mix_in)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def mixers(self) -> list[nn.Parameter]:
        """The matrices over whole faces."""
        return [p for p in (self.mix_in, self.mix, self.mix_bias) if p is not None]

    def leave(self, face: Tensor) -> Tensor:
        """(B, pixels, F) -> (B, pixels)."""
        read = (face * self.out).sum(dim=-1) + self.out_bias
        return read if self.mix is None or self.mix_bias is None else read @ self.mix + self.mix_bias
