"""A rule of many bodies: one set of weights, and a condition that says which of the bodies is to grow (law 16).

The condition is a vector, the code of a body. There are two ways to bring it to the cells:

- "input": every cell is told. The code becomes a bias of the first layer, learned with the rule; so a rule that is bound to one
  body is a plain rule with another bias, runs on any executor at no cost, and the condition may change in mid-life or lie
  between two bodies.
- "seed": the first cell carries the code in its hidden channels, as a genome does; no cell is told anything later.

`bound(condition)` returns the plain rule that grows one body: what runs a lattice, evaluates, films or exports sees no other.
"""

import copy
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from nca3d.errors import ArgumentError, nearest
from nca3d.rules.by_sample import collecting
from nca3d.rules.cell import Rule
from nca3d.rules.coded import SHARED, CodedRule
from nca3d.rules.conv import ConvRule

if TYPE_CHECKING:
    from nca3d.targets import Target

Module = TypeVar("Module", bound=nn.Module)
# What names a body: its name, its place among the bodies, or a code (K,), which may lie between those of two.
Condition = str | int | Tensor


class ConditionalRule(Rule):
    """A `ConvRule`, or a `CodedRule`, that grows the body which a condition names.

    Args:
        conditions: The names of the bodies.
        condition: How the cells learn which body they belong to: "input" = each is told in every step; "seed" = the first cell
            carries it.
        codes: The codes of the bodies: "one_hot", "learned" (numbers trained with the rule; for "input" alone, since a pool
            keeps its first cells as they are) or "given" (the caller fills them in).
        code_size: The length K of the codes; 0 = as many as there are bodies. For "seed" at most the hidden channels.
        code: The length of the code that classes are read from, see `CodedRule`; 0 = cells carry the classes.
        channels, hidden, perception, visible, visible_kind, fire_rate, alive_threshold, step_size, padding: See `ConvRule`.
        generator: Draws the initial weights; None = torch's global one.

    Attributes:
        codes: The codes of the bodies, float32 (n, K).

    Raises:
        ValueError: An argument is out of its range; the line names it.
    """

    def __init__(
        self,
        conditions: Sequence[str] = ("first", "second"),
        condition: Literal["input", "seed"] = "input",
        codes: Literal["one_hot", "learned", "given"] = "one_hot",
        code_size: int = 0,
        channels: int = 16,
        hidden: Sequence[int] = (128,),
        perception: Literal["gradient", "gradient+laplacian", "gradient+laplacian/4", "isotropic", "learned"] = "gradient",
        visible: int = 3,
        visible_kind: Literal["rgb", "classes"] = "rgb",
        code: int = 0,
        fire_rate: float = 0.5,
        alive_threshold: float | None = 0.1,
        step_size: float = 1.0,
        padding: Literal["zeros", "replicate", "circular"] = "zeros",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(channels, visible, visible_kind, fire_rate, alive_threshold, step_size, padding)
        self.conditions = () if isinstance(conditions, str) else tuple(conditions)
        if not self.conditions or len(set(self.conditions)) < len(self.conditions):
            raise ArgumentError("conditions", conditions, "a list of names, at least one, each once")
        if condition not in ("input", "seed"):
            raise ArgumentError("condition", repr(condition), "'input', 'seed'")
        allowed = ("one_hot", "learned", "given") if condition == "input" else ("one_hot", "given")
        if codes not in allowed:
            raise ArgumentError("codes", repr(codes), f"{', '.join(map(repr, allowed))} where condition = {condition!r}")
        self.condition, self.code_kind, self.code = condition, codes, code
        self.told = condition == "input"
        self.code_size = code_size or len(self.conditions)
        if codes == "one_hot" and self.code_size != len(self.conditions):
            raise ArgumentError("code_size", code_size, f"{len(self.conditions)} for one-hot codes, or 0")
        shared = (fire_rate, alive_threshold, step_size, padding)
        self.cell: ConvRule
        if code:
            self.cell = CodedRule(channels, hidden, perception, visible, "classes", code, *shared, generator)
        else:
            self.cell = ConvRule(channels, hidden, perception, visible, visible_kind, *shared, generator)
        # What no body's code may overwrite: visible channels, alpha, and the code of classes, which are 0 in a first cell.
        hidden_channels = channels - visible - 1 - code
        if condition == "seed" and self.code_size > hidden_channels:
            raise ArgumentError(
                "code_size", self.code_size, f"at most the {hidden_channels} hidden channels where condition = 'seed'"
            )
        self.hidden, self.perception = self.cell.hidden, self.cell.perception
        self.learns_kernels = self.cell.learns_kernels
        if codes == "learned":
            self.codes = nn.Parameter(torch.randn(len(self.conditions), self.code_size, generator=generator))
        else:
            self.register_buffer("codes", torch.eye(len(self.conditions), self.code_size))
        if condition == "input":
            self.shift = nn.Linear(self.code_size, self.hidden[0], bias=False)
            # As the bias that it is added to: bodies differ from the first iteration on.
            bound = self._first().in_features ** -0.5
            nn.init.uniform_(self.shift.weight, -bound, bound, generator=generator)

    # Which body -------------------------------------------------------------------------------------------------

    def index(self, name: object) -> int:
        """Returns the place of a body among the conditions, by its name or its place.

        Raises:
            ValueError: There is no such body; the line lists those there are.
        """
        if isinstance(name, str) and name in self.conditions:
            return self.conditions.index(name)
        if isinstance(name, Integral) and not isinstance(name, bool) and 0 <= int(name) < len(self.conditions):
            return int(name)
        hint = nearest(name, self.conditions) if isinstance(name, str) else ""
        raise ArgumentError("condition", repr(name), f"{', '.join(self.conditions)}, or 0..{len(self.conditions) - 1}{hint}")

    def code_of(self, condition: Condition) -> Tensor:
        """Returns the code (K,) of a body, or the code itself where it is one.

        Raises:
            ValueError: There is no such body, or the code has another length or is not finite.
        """
        condition = _given(condition)
        if not isinstance(condition, Tensor) or (condition.ndim == 0 and not condition.is_floating_point()):
            return self.codes[self.index(_plain(condition))]
        if condition.shape != (self.code_size,) or not condition.is_floating_point() or not condition.isfinite().all():
            found = f"{condition.dtype} {tuple(condition.shape)}".replace("torch.", "")
            found += " with numbers that are not finite" if not condition.isfinite().all() else ""
            raise ArgumentError("condition", found, f"a name, or a finite code of {self.code_size} floats")
        return condition.to(self.codes)

    def nearest(self, code: Tensor) -> str:
        """Returns the name of the body whose code is most like another one, by the cosine of the two.

        Where codes are embeddings of names, it is the body that a sentence means: `rule.nearest(embedding)`.

        Args:
            code: The code (K,), such as the embedding of a sentence.

        Raises:
            ValueError: The code has another length, is not finite, or is zero.
        """
        found = self.code_of(code)
        if not found.any():
            raise ArgumentError("code", "zeros", f"a code of {self.code_size} floats that are not all 0: it points nowhere")
        like = torch.cosine_similarity(self.codes.detach(), found[None], dim=1)
        return self.conditions[int(like.argmax())]

    @torch.no_grad()
    def bound(self, condition: Condition) -> ConvRule:
        """Returns the plain rule that grows one body, with weights of its own, and that body's card.

        Args:
            condition: The body's name, its place among `conditions`, or a code (K,), which may lie between those of two.

        Raises:
            ValueError: There is no such body.
        """
        learns = next(self.cell.parameters()).requires_grad
        return copy.deepcopy(self.tied(condition)).requires_grad_(learns)

    def tied(self, condition: Condition) -> ConvRule:
        """Returns the rule that grows one body with the very weights of this one, which gradients reach: for a rollout alone.

        Args:
            condition: As in `bound`.

        Raises:
            ValueError: There is no such body.
        """
        condition = _given(condition)
        code = self.code_of(condition)
        rule = _twin(self.cell)
        for name in SHARED:
            setattr(rule, name, getattr(self, name))
        rule.card, rule.exempt = self._card_of(condition), dict(self.exempt)
        rule.train(self.training)
        if self.condition == "seed":
            rule.genome = code
            return rule
        first = self._first()
        bias = self._bias(code)
        if (collector := collecting()) is not None and bias.requires_grad and torch.is_grad_enabled():
            named = _plain(condition)
            if isinstance(named, str | int):
                bias = collector.tie(self.index(named), bias)
        layer = _twin(first)
        # Not a parameter where a gradient has to pass through it, yet it stands in its place, as in `torch.func`.
        layer._parameters["bias"] = bias if bias.requires_grad else nn.Parameter(bias, requires_grad=False)  # type: ignore[assignment]
        owner = rule.cell if isinstance(rule, CodedRule) else rule
        if owner is not rule:
            rule.cell = owner = _twin(owner)
        owner.network = nn.Sequential(layer, *list(owner.network)[1:])
        return rule

    def _bias(self, code: Tensor) -> Tensor:
        """Returns the bias of the first layer for cells that are told a code (K,)."""
        # In full: autocast is for the network.
        with torch.autocast(code.device.type, enabled=False):
            return self._first().bias + self.shift.weight @ code

    def pass_on(self, gradients: Mapping[int, Tensor]) -> None:
        """Passes gradients of the tied biases of bodies, each summed over its samples, on to the parameters behind them.

        Args:
            gradients: By the places of the bodies; each of the shape of the first bias.
        """
        for condition in sorted(gradients):
            bias = self._bias(self.code_of(condition))
            if bias.requires_grad:
                bias.backward(gradients[condition])

    def _first(self) -> nn.Linear:
        """Returns the first layer of the network."""
        first = self.cell.network[0]
        assert isinstance(first, nn.Linear)
        return first

    def _card_of(self, condition: Condition) -> dict[str, object]:
        """Returns the card of one body; of a code that is no body's, the card without one."""
        card = {name: value for name, value in self.card.items() if name != "targets"}
        if (isinstance(condition, Tensor) and condition.is_floating_point()) or "targets" not in self.card:
            return card
        place = self.index(_plain(condition))
        # Of a body that no run keeps, kinds and place follow from those that it was read with.
        return card | self.card["targets"][place] | {"among": self.card["targets"]}

    def target(self, condition: Condition | None = None) -> "Target":
        """Returns the body that a condition names, as its run keeps it or as its card names it.

        Raises:
            ValueError: No condition is given, or there is no such body.
            InputError: The card names no bodies, or this one can't be read.
        """
        if condition is None:
            raise ArgumentError("condition", None, f"the body that is meant: {', '.join(self.conditions)}")
        if isinstance(condition := _given(condition), Tensor) and condition.is_floating_point():
            raise ArgumentError("condition", "a code", f"a body, which has a target: {', '.join(self.conditions)}")
        return self.tied(condition).target()

    # What every rule says ---------------------------------------------------------------------------------------

    @property
    def network(self) -> nn.Sequential:
        """The update network that all bodies share; its first bias is that of no body."""
        return self.cell.network

    @property
    def core(self) -> ConvRule:
        """The rule that all bodies share, which executors run; cells that are told need `bound` besides."""
        for name in SHARED:
            setattr(self.cell, name, getattr(self, name))
        return self.cell.core if isinstance(self.cell, CodedRule) else self.cell

    def to_core(self, values: Tensor) -> Tensor:
        """Returns states (B, C, D, H, W), or the channels of cells (N, C), as executors run them."""
        return self.cell.to_core(values)

    def from_core(self, values: Tensor) -> Tensor:
        """Returns what executors made of such states with all channels of this rule, (B, C, D, H, W) or (N, C)."""
        return self.cell.from_core(values)

    def kernels(self) -> list[Tensor | None]:
        """Returns the kernels that all bodies share, (1 or C, 3, 3, 3) each; None = the cell itself."""
        return self.cell.kernels()

    def update(self, perception: Tensor) -> Tensor:
        """Returns the change (…, C) that cells propose which belong to no body: their code is zero."""
        return self.cell.update(perception)

    def forward(self, state: Tensor, fire: Tensor) -> Tensor:
        """Runs one step of bodies whose first cell carried the condition.

        Args:
            state: The states before the step, float (B, C, D, H, W).
            fire: Which cells update, bool (B, 1, D, H, W).

        Returns:
            The states after the step, (B, C, D, H, W).

        Raises:
            ValueError: Cells must be told which body they belong to: `bound(NAME)` is the rule to call.
        """
        if self.told:
            raise ArgumentError("condition", None, f"rule.bound(NAME)(state, fire), NAME one of {', '.join(self.conditions)}")
        return self.from_core(self.core(self.to_core(state), fire))

    def multiply_adds(self) -> int | None:
        """Returns the multiply-adds of the network's layers for one cell: a bias costs none."""
        return self.cell.multiply_adds()

    def plant(self, state: Tensor, cells: Tensor) -> None:
        """Puts the first cell of each sample into empty states, in place, for cells that are told; see `Rule.plant`.

        Raises:
            ValueError: The first cell carries the condition: `bound(NAME)` is the rule to plant.
        """
        if not self.told:
            raise ArgumentError("condition", None, f"the body to grow: {', '.join(self.conditions)}")
        self.cell.plant(state, cells)

    def spec(self) -> dict[str, object]:
        """Returns the keyword arguments that build this rule anew, without its weights."""
        names = ("channels", "visible", "visible_kind", "code", "condition", "code_size", "perception", *SHARED)
        own = {name: getattr(self, name) for name in names}
        return {"conditions": list(self.conditions), "codes": self.code_kind, "hidden": list(self.hidden), **own}


def _given(condition: Any) -> Any:
    """Returns a condition that came as an array of numbers as a tensor, any other as it is."""
    numbers = isinstance(condition, np.ndarray) and condition.dtype.kind in "biuf"
    return torch.from_numpy(condition) if numbers else condition


def _plain(condition: object) -> object:
    """Returns a condition that came as a tensor of one whole number as that number."""
    whole = isinstance(condition, Tensor) and condition.dtype != torch.bool
    return int(condition) if whole else condition  # type: ignore[call-overload]  # a tensor


def _twin(module: Module) -> Module:
    """Returns a module that shares all tensors with another one, and may get others in their place."""
    twin = copy.copy(module)
    for name in ("_parameters", "_buffers", "_modules"):
        setattr(twin, name, dict(getattr(module, name)))
    return twin
