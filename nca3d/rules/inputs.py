"""External inputs of a rule, and a rule together with them, which executors run like any other."""

from typing import NamedTuple

from torch import Tensor

from nca3d.rules.cell import Rule


class Inputs(NamedTuple):
    """What a rule gets from outside in every step of a rollout.

    Attributes:
        face: (B, F, H, W), added to the features that the front face shows.
        external: (B, E, D, H, W), one vector for each cell.
    """

    face: Tensor | None = None
    external: Tensor | None = None

    @classmethod
    def of(cls, inputs: "Tensor | Inputs | None") -> "Inputs":
        """Takes external channels (B, E, D, H, W) alone, or all inputs, or None."""
        return inputs if isinstance(inputs, Inputs) else cls(external=inputs)

    def to(self, like: Tensor) -> "Inputs":
        """Returns the same inputs on the device and in the dtype of a state (B, C, D, H, W)."""
        return Inputs(*(None if part is None else part.to(like) for part in self))


class RuleWithInputs(Rule):
    """A rule with its inputs, which are the same in every step.

    Args:
        rule: what one cell does.
        inputs: what its cells get from outside.
    """

    def __init__(self, rule: Rule, inputs: Inputs) -> None:
        given = (rule.channels, rule.visible, rule.visible_kind, rule.fire_rate, rule.alive_threshold, rule.step_size)
        super().__init__(*given, rule.padding)
        self.rule, self.inputs, self.stepper = rule, inputs, rule.stepper
        self.train(rule.training)

    def forward(self, state: Tensor, fire: Tensor, step: int = 0) -> Tensor:
        """Runs one step of the rule with the inputs: a state (B, C, D, H, W), and fire bool (B, 1, D, H, W)."""
        return self.rule(state, fire, self.inputs, step)

    def kernels(self) -> list[Tensor | None]:
        """Returns the kernels of the rule, (1 or C, 3, 3, 3) each."""
        return self.rule.kernels()

    def update(self, perception: Tensor) -> Tensor:
        """Returns the change (…, C) that the rule proposes for (…, K·C)."""
        return self.rule.update(perception)

    def spec(self) -> dict[str, object]:
        """Returns the keyword arguments of the rule."""
        return self.rule.spec()
