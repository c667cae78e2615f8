"""What a rule may get from outside, and a rule together with its inputs, which executors run like any other rule."""

from typing import NamedTuple

from torch import Tensor

from nca3d.rules.cell import Rule


class Inputs(NamedTuple):
    """What a rule gets from outside in every step of a rollout.

    Attributes:
        face: Numbers (B, F, H, W) added to the F features that the cells of the front face show; None = none.
        external: One vector of E numbers for each cell, (B, E, D, H, W); None = none.
    """

    face: Tensor | None = None
    external: Tensor | None = None

    @classmethod
    def of(cls, inputs: "Tensor | Inputs | None") -> "Inputs":
        """Returns inputs made of external channels alone, (B, E, D, H, W), or of nothing; inputs are returned as they are."""
        return inputs if isinstance(inputs, Inputs) else cls(external=inputs)

    def to(self, like: Tensor) -> "Inputs":
        """Returns the same inputs on the device and in the dtype of a state (B, C, D, H, W)."""
        # Here and not in the rule: a rollout then converts them once, not in every step.
        return Inputs(*(None if part is None else part.to(like) for part in self))


class RuleWithInputs(Rule):
    """A rule together with its inputs, which are the same in every step.

    Args:
        rule: What one cell does.
        inputs: What its cells get from outside.
    """

    def __init__(self, rule: Rule, inputs: Inputs) -> None:
        # Executors ask a rule for these, and get the answers of the rule inside.
        cell = (rule.channels, rule.visible, rule.visible_kind, rule.fire_rate, rule.alive_threshold, rule.step_size)
        super().__init__(*cell, rule.padding)
        self.rule, self.inputs, self.stepper = rule, inputs, rule.stepper
        # A module is made in training mode; the rule inside may be in another one (dropout would fire).
        self.train(rule.training)

    def forward(self, state: Tensor, fire: Tensor, step: int = 0) -> Tensor:
        """Runs one step of the rule with its inputs on a state (B, C, D, H, W); fire is bool (B, 1, D, H, W)."""
        return self.rule(state, fire, self.inputs, step)

    def kernels(self) -> list[Tensor | None]:
        """Returns the kernels of the rule, (1 or C, 3, 3, 3) each."""
        return self.rule.kernels()

    def update(self, perception: Tensor) -> Tensor:
        """Returns the change (…, C) that the rule proposes for a perception (…, K·C)."""
        return self.rule.update(perception)

    def spec(self) -> dict[str, object]:
        """Returns the keyword arguments that build the rule anew."""
        return self.rule.spec()
