"""A rule for bodies of many kinds: a cell carries a short code, and which class it shows is read from that.

A channel for each of 36 kinds of blocks makes a cell three times as large, and all its neighbours perceive every one of them. A
code of 8 numbers says as much: the logits of the classes are a linear read-out of it, learnt with the rule, and nobody
perceives them. In equal time a castle of 36 kinds grew from 0.64 to 0.93 by that alone (docs/experiments.md). It is what word
embeddings are to one-hot words.

A state looks as with any other rule: logits, alpha, then the code and the other hidden channels. What happens in a step is the
business of the `core`, a plain `ConvRule` without the logits, which executors run; classes are read when its states come back.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from nca3d.errors import ArgumentError
from nca3d.rules.by_sample import collecting, products
from nca3d.rules.cell import Rule
from nca3d.rules.conv import ConvRule

# What a core shares with its rule: it may be changed after both were made.
SHARED = ("fire_rate", "alive_threshold", "step_size", "padding")


class CodedRule(ConvRule):
    """A `ConvRule` whose classes are a linear read-out of a code, which is all that cells perceive of them.

    Its network and its kernels are those of its `core`.

    After a step, logits = readout(code) in every cell, whatever they were before. The first cell has a code of zeros, since it
    shows nothing yet.

    Args:
        channels: The number of channels of a cell: `visible` logits, alpha, `code` numbers, and hidden ones.
        hidden, perception, fire_rate, alive_threshold, step_size, padding: See `ConvRule`.
        visible: The number of classes; class 0 is empty.
        visible_kind: "classes".
        code: The length of the code.
        generator: Draws the initial weights; None = torch's global one.

    Raises:
        ValueError: An argument is out of its range; the line names it.
    """

    def __init__(
        self,
        channels: int = 40,
        hidden: Sequence[int] = (128,),
        perception: Literal["gradient", "gradient+laplacian", "gradient+laplacian/4", "isotropic", "learned"] = "gradient",
        visible: int = 16,
        visible_kind: Literal["classes"] = "classes",
        code: int = 8,
        fire_rate: float = 0.5,
        alive_threshold: float | None = 0.1,
        step_size: float = 1.0,
        padding: Literal["zeros", "replicate", "circular"] = "zeros",
        generator: torch.Generator | None = None,
    ) -> None:
        if visible_kind != "classes":
            raise ArgumentError("visible_kind", repr(visible_kind), "'classes': colours are not read from a code")
        # Not that of `ConvRule`: the core has the network.
        Rule.__init__(self, channels, visible, visible_kind, fire_rate, alive_threshold, step_size, padding)
        if channels < visible + 2:
            raise ArgumentError("channels", channels, f"{visible + 2} or more: visible ones, alpha, and a code of 1 or more")
        if type(code) is not int or not 1 <= code < channels - visible:
            raise ArgumentError("code", code, f"1 to {channels - visible - 1}: channels less the visible ones and alpha")
        self.hidden, self.perception, self.code = tuple(hidden), perception, code
        # The core shows its code: code, alpha, hidden channels.
        self.cell = ConvRule(
            channels - visible, hidden, perception, code, "classes", fire_rate, alive_threshold, step_size, padding, generator
        )
        self.learns_kernels = self.cell.learns_kernels
        self.readout = nn.Linear(code, visible, bias=False)
        nn.init.normal_(self.readout.weight, generator=generator)

    @property
    def network(self) -> nn.Sequential:  # type: ignore[override]
        """The update network of the core."""
        network: nn.Sequential = self.cell.network
        return network

    @property
    def learned(self) -> nn.Parameter | None:  # type: ignore[override]
        """The learned kernels of the core."""
        return self.cell.learned

    @property
    def core(self) -> ConvRule:
        """The rule without the logits, which does all that a step does."""
        for name in SHARED:
            setattr(self.cell, name, getattr(self, name))
        return self.cell

    def to_core(self, values: Tensor) -> Tensor:
        """Returns states (B, C, D, H, W), or the channels of cells (N, C), without their logits: code, alpha, hidden."""
        _, alpha, code, hidden = values.split([self.visible, 1, self.code, self.channels - self.visible - 1 - self.code], dim=1)
        return torch.cat([code, alpha, hidden], dim=1)

    def from_core(self, values: Tensor) -> Tensor:
        """Returns states of the core, (B, c, D, H, W) or (N, c), with the logits that their code says."""
        code, alpha, hidden = values.split([self.code, 1, values.shape[1] - self.code - 1], dim=1)
        return torch.cat([self._logits(code), alpha, code, hidden], dim=1)

    def _logits(self, code: Tensor) -> Tensor:
        """Returns the logits (B, K, …) of codes (B, n, …)."""
        # Autocast is for the network: a state keeps its precision.
        with torch.autocast(code.device.type, enabled=False):
            weight = self.readout.weight.to(code.dtype)
            if code.ndim > 2:
                collector = collecting() if weight.requires_grad and weight.is_leaf else None
                return products(weight, code.flatten(2), collector).unflatten(2, code.shape[2:])
            # Whole tiles, so that the bits of a cell don't depend on how many others there are (law 3).
            padded = torch.cat([code, code.new_zeros(-len(code) % 16, code.shape[1])])
            return (padded @ weight.t())[: len(code)]

    def kernels(self) -> list[Tensor | None]:
        """Returns the kernels of the core, (1 or c, 3, 3, 3) each; None = the cell itself."""
        return self.cell.kernels()

    def update(self, perception: Tensor) -> Tensor:
        """Returns the change (…, c) that the core proposes for cells that perceive (…, K·c), c = channels − visible."""
        return self.cell.update(perception)

    def forward(self, state: Tensor, fire: Tensor) -> Tensor:
        """Runs one step of every cell, as `Rule.forward` says: (B, C, D, H, W) and bool (B, 1, D, H, W) to (B, C, D, H, W)."""
        return self.from_core(self.core(self.to_core(state), fire))

    def multiply_adds(self) -> int | None:
        """Returns the multiply-adds of the network's layers for one cell; classes are read once, at the end of a rollout."""
        return self.cell.multiply_adds()

    def plant(self, state: Tensor, cells: Tensor) -> None:
        """Puts the first cell of each sample into empty states, in place: alpha and hidden channels 1, logits and code 0.

        Args:
            state: The empty states, float (B, C, D, H, W).
            cells: The places (d, h, w) of the first cells, int (B, 3).
        """
        super().plant(state, cells)
        for sample, (d, h, w) in enumerate(cells.tolist()):
            state[sample, self.visible + 1 : self.visible + 1 + self.code, d, h, w] = 0.0

    def spec(self) -> dict[str, object]:
        """Returns the keyword arguments that build this rule anew, without its weights."""
        own = {name: getattr(self, name) for name in ("channels", "visible", "visible_kind", "code", *SHARED)}
        return {"hidden": list(self.hidden), "perception": self.perception, **own}

    @torch.no_grad()
    def written_out(self) -> ConvRule:
        """Returns a `ConvRule` of the same behaviour that carries the logits like any other channel.

        It perceives and adds up what the core leaves out, at several times the cost: for whoever knows plain rules alone. Its
        first cell must have a code of zeros.
        """
        order = [*range(self.visible + 1, self.visible + 1 + self.code), self.visible]
        order += range(self.visible + 1 + self.code, self.channels)
        places, core = torch.tensor(order), self.core
        options = {name: getattr(self, name) for name in SHARED}
        rule = ConvRule(self.channels, self.hidden, self.perception, self.visible, "classes", **options)
        (first, *middle, last), layers = _layers(core), _layers(rule)
        seen = torch.zeros(self.hidden[0], len(core.kernels()), self.channels)
        seen[:, :, places] = first.weight.unflatten(1, (-1, core.channels))
        layers[0].weight.copy_(seen.flatten(1))
        layers[0].bias.copy_(first.bias)
        for ours, theirs in zip(middle, layers[1:-1], strict=True):
            theirs.load_state_dict(ours.state_dict())
        layers[-1].weight[places] = last.weight
        # A change of the code changes the logits by the same read-out.
        layers[-1].weight[: self.visible] = self.readout.weight @ last.weight[: self.code]
        if core.learned is not None and rule.learned is not None:
            rule.learned.zero_()
            rule.learned[:, places] = core.learned
        rule.card = self.card
        return rule


def _layers(rule: ConvRule) -> list[nn.Linear]:
    return [layer for layer in rule.network if isinstance(layer, nn.Linear)]
