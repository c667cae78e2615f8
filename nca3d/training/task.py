"""What a run trains for, as the loop sees it: where states begin, what is asked of them, and how well they did."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from nca3d.config import Config
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs


class Task(Protocol):
    """A body to grow (`growth.py`), or what another wing asks for.

    Made of a config, and of what it names where that has been read already (a `Target`, questions): `Growth(config, given)`.

    weights: of the loss terms, by name. headline: the metric that the progress bar shows. subject: what
    the run folder is called after; "" = what the config names. pooled: whether evolved states come
    back (else each iteration begins with the seed). damaging: whether some are damaged on the way. curriculum: the share of the
    iterations over which the range of steps grows to its full length. ageing: how many steps pooled states may run on without
    gradient, now and then. fixed: the entries of the card that a resumed run must find as they were, with
    what they stand for.
    """

    config: Config
    weights: dict[str, float]
    headline: str
    subject: str
    pooled: bool
    damaging: bool
    curriculum: float
    ageing: int
    fixed: Mapping[str, str]

    def check_rule(self, rule: Rule) -> None:
        """Refuse a rule that can't be trained for this.

        Raises:
            InputError: it shows something else than is wanted.
        """

    def build_rule(self) -> Rule:
        """A fresh rule; its weights follow from the config's random_seed."""

    def lr_multipliers(self, rule: Rule) -> dict[nn.Parameter, float]:
        """Of parameters with a learning rate of their own, that in multiples of the config's."""

    def card(self) -> dict[str, Any]:
        """What a loaded rule should know of its training."""

    def seed(self, rule: Rule) -> Tensor:
        """(1, C, D, H, W), the state that everything begins with."""

    def pool_loss(self, rule: Rule, states: Tensor) -> Tensor:
        """How bad pooled states (B, C, D, H, W) are, (B,): the worst goes back to the seed."""

    def body(self, rule: Rule, states: Tensor) -> Tensor:
        """bool (B, D, H, W), the cells that damage may destroy."""

    def draw(self, iteration: int) -> Any:
        """What is wanted in this iteration: handed to the methods below and to loss terms."""

    def part(self, wanted: Any, ids: Tensor) -> Any:
        """Of a batch, these samples alone."""

    def inputs(self, rule: Rule, wanted: Any) -> Inputs | None:
        """What is said to the cells in every step."""

    def figures(self, rule: Rule, states: Tensor, wanted: Any) -> dict[str, float]:
        """Metrics of an iteration's last states."""

    def pattern(self, rule: Rule, states: Tensor) -> dict[str, list[float]]:
        """Metrics that are asked now and then; the log has their means."""

    def note(self, rule: Rule) -> str:
        """What to tell before training; "" for nothing."""

    def keep(self, folder: Path) -> dict[str, Any]:
        """Write into the run folder what the trained rule needs besides its weights; fields of the config that this changes."""
