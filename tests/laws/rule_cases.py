"""Every kind of rule and executor that the laws speak of: a rule enters all law tests by one line of `RULE_CASES`, an executor
by its line in `nca3d.executors.EXECUTORS`, unless it has "approx" in its name. Cubes have a file of their own."""

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import nn

from nca3d.executors import compiled, event, exact, native_code, native_part
from nca3d.rules import CodedRule, ConditionalRule, ConvRule, Rule
from nca3d.rules.kernels import laplacian

SIZE = (7, 6, 8)
# Executors that leave matrix products to torch.
IN_TORCH = {"dense", "event, in torch", "event, step by step"} | (
    {"event", "slabs"} if not native_code.available(torch.zeros(1)) else set()
)


class OwnNetwork(ConvRule):
    """An update network that no executor knows: smooth, with a layer of its own and a mixing of what is seen."""

    def __init__(self):
        super().__init__(channels=8, hidden=(24,))
        self.mix = nn.Linear(32, 32)
        self.network = nn.Sequential(*list(self.network))

    def update(self, perception):
        return self.network(torch.tanh(self.mix(perception)) + perception)


class SixNeighbours(ConvRule):
    """Sees the cells that share a face, and itself twice."""

    neighbourhood = "von_neumann"

    across = (laplacian() == 6 / 26).float()[None] / 6
    slope = torch.tensor([-0.5, 0.0, 0.5]).expand(3, 3, 3)[None] * (laplacian() >= 6 / 26 - 1e-6)

    def kernels(self):
        like = next(self.parameters(), self.across)
        return [self.across.to(like), None, self.slope.to(like), None]


@torch.no_grad()
def bound(**options) -> Rule:
    """The plain rule that grows the second body of a rule of two, with weights of its own: as it would be exported."""
    return ConditionalRule(("first", "second"), **options).bound("second").requires_grad_(True)


RULE_CASES: dict[str, Callable[[], Rule]] = {
    "gradient": lambda: ConvRule(channels=8, hidden=(24,)),
    "gradient+laplacian": lambda: ConvRule(channels=8, hidden=(24,), perception="gradient+laplacian"),
    "gradient+laplacian/4": lambda: ConvRule(channels=8, hidden=(24,), perception="gradient+laplacian/4"),
    "isotropic": lambda: ConvRule(channels=8, hidden=(24,), perception="isotropic"),
    "learned": lambda: ConvRule(channels=8, hidden=(24,), perception="learned"),
    "replicate": lambda: ConvRule(channels=8, hidden=(24,), padding="replicate"),
    "circular": lambda: ConvRule(channels=8, hidden=(24,), padding="circular"),
    "learned circular": lambda: ConvRule(channels=8, hidden=(24,), perception="learned", padding="circular"),
    "classes": lambda: ConvRule(channels=8, hidden=(24,), visible=5, visible_kind="classes"),
    "coded": lambda: CodedRule(channels=14, hidden=(24,), visible=6, code=3),
    "coded, learned": lambda: CodedRule(channels=14, hidden=(24,), perception="learned", visible=6, code=3),
    "deep": lambda: ConvRule(channels=8, hidden=(24, 16, 24)),
    "half steps": lambda: ConvRule(channels=8, hidden=(24,), step_size=0.5, fire_rate=0.8, alive_threshold=0.2),
    "odd sizes": lambda: ConvRule(21, (19, 3), "gradient+laplacian", visible=12, visible_kind="classes"),
    "own network": OwnNetwork,
    "six neighbours": lambda: SixNeighbours(channels=8, hidden=(24,)),
    "bound to a body": lambda: bound(channels=8, hidden=(24,)),
    "bound, of many kinds": lambda: bound(channels=14, hidden=(24,), visible=6, visible_kind="classes", code=3),
    "first cell carries the body": lambda: bound(condition="seed", channels=8, hidden=(24,)),
    "every cell fires": lambda: ConvRule(channels=8, hidden=(24,), fire_rate=1.0),
}


def fresh(name: str, random_seed: int = 0, device: torch.device | str = "cpu") -> Rule:
    """A new rule, as training would start with it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_seed)
        return RULE_CASES[name]().to(device)


def lively(name: str, random_seed: int = 0, strength: float = 0.15, device: torch.device | str = "cpu") -> Rule:
    """A rule with random weights that grows: its last layer is not zero any more, and alpha tends to rise."""
    rule = fresh(name, random_seed)
    generator = torch.Generator().manual_seed(random_seed)
    # Where classes are read from a code, the core has the network.
    cell = rule.core or rule
    last = cell.network[-1].weight
    with torch.no_grad():
        last.copy_(strength * torch.randn(last.shape, generator=generator))
        last[cell.alpha].abs_()
    return rule.to(device)


def body(
    rule: Rule, batch: int = 2, size: tuple[int, int, int] = SIZE, share: float = 0.3, random_seed: int = 0
) -> torch.Tensor:
    """Random states where the rule is: about `share` of the cells are filled, the others dead."""
    generator = torch.Generator().manual_seed(random_seed)
    state = torch.rand(batch, rule.channels, *size, generator=generator)
    filled = torch.rand(batch, 1, *size, generator=generator) < share
    state = torch.where(filled, state, 0.0).to(next(rule.parameters()).device)
    # What follows from other channels follows from them here, too.
    return rule.from_core(rule.to_core(state)).detach()


def assert_same_bits(name: str, executor: str, found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Equal to the bit, but for layers in torch whose inputs are no whole vectors: there the bits of a product depend on where
    in memory its rows begin (MKL), so that what can be asked for is rounding."""
    slack = 1e-6 if name == "odd sizes" and executor in IN_TORCH else 0.0
    torch.testing.assert_close(found, wanted, rtol=slack, atol=slack * float(wanted.abs().max()))


def event_in_torch(*arguments):
    """The event-driven executor as it is without a C compiler."""
    with patch.object(native_code, "library", return_value=None):
        return event.run(*arguments)


def event_step_by_step(*arguments):
    """The same with compiled rows and the network in torch, as rules with a network of their own have it."""
    with patch.object(native_part, "unsupported", return_value="is run step by step"):
        return event.run(*arguments)


# What that executor is where something is missing: the fixture `event_variants` registers them.
EVENT_VARIANTS = {"event, in torch": event_in_torch, "event, step by step": event_step_by_step}
NAMES = [*exact(), *EVENT_VARIANTS]


def runs(name: str, executor: str) -> bool:
    """Whether the executor runs the rule on this machine: compiled code does not know every network."""
    rule = RULE_CASES[name]()
    return executor != "compiled" or not compiled.unsupported(rule, torch.zeros(1, rule.channels, *SIZE))


# Rules that differ the most in how they are run: these are in the fast tests, all others in `make test`.
CORE = {"gradient", "own network"}


def over(names: str | tuple[str, ...], cases: list) -> Callable:
    """Decorator: the test runs over the cases, with all their executors at hand."""
    return lambda test: pytest.mark.usefixtures("event_variants")(pytest.mark.parametrize(names, cases)(test))


executors = over("executor", [name for name in NAMES if runs("gradient", name)])
events = over("executor", [name for name in NAMES if name.startswith("event")])
rules_and_executors = over(
    ("name", "executor"),
    [
        pytest.param(name, executor, marks=() if name in CORE else pytest.mark.slow)
        for name in RULE_CASES
        for executor in NAMES
        if runs(name, executor)
    ],
)
