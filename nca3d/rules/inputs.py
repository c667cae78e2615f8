"""What comes from outside in every step, and a rule with it: to executors a rule like any other."""

from typing import NamedTuple

from torch import Tensor

from nca3d.rules.cell import Rule


class Inputs(NamedTuple):
    """What a cube gets from outside in every step of a rollout.

    face: (B, F, H, W), added to the features that the front face shows.
    external: (B, E, D, H, W), one vector for each cell.
    """

    face: Tensor | None = None
    external: Tensor | None = None

    @classmethod
    def of(cls, inputs: "Tensor | Inputs | None") -> "Inputs":
        """External channels alone, or all of it, or nothing."""
        return inputs if isinstance(inputs, Inputs) else cls(external=inputs)

    def to(self, like: Tensor) -> "Inputs":
        """The same on the device and in the numbers of a state."""
        return Inputs(*(None if part is None else part.to(like) for part in self))


class RuleWithInputs(Rule):
    """A rule with its inputs."""

    def __init__(self, rule: Rule, inputs: Inputs) -> None:
        given = (rule.channels, rule.visible, rule.visible_kind, rule.fire_rate, rule.alive_threshold, rule.step_size)
        super().__init__(*given, rule.padding)
        self.rule, self.inputs, self.stepper = rule, inputs, rule.stepper
        self.train(rule.training)

    def forward(self, state: Tensor, fire: Tensor, step: int = 0) -> Tensor:
        """One step of the rule with the inputs."""
        return self.rule(state, fire, self.inputs, step)

    def kernels(self) -> list[Tensor | None]:
        """The rule's."""
        return self.rule.kernels()

    def update(self, perception: Tensor) -> Tensor:
        """The rule's."""
        return self.rule.update(perception)

    def spec(self) -> dict[str, object]:
        """The rule's."""
        return self.rule.spec()
