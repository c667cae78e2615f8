"""The flags that `nca3d render` and `nca3d export` share: which rule, how long it lives, when it is damaged."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nca3d.cli.flags import SEEDS, add_rule, read_flags, rule_of, wrong_numbers
from nca3d.errors import ErrorCollector, InputError
from nca3d.load import RuleRef

if TYPE_CHECKING:
    from nca3d.evaluation.story import Story
    from nca3d.rules.cell import Rule
    from nca3d.targets import Target

# Steps in which a body is taken to be grown where no card says: enough for bodies of some thirty cells across.
HORIZON = 64


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose a rule, its body and its life."""
    add_rule(parser)
    parser.add_argument(
        "--then",
        metavar="NAME",
        action="append",
        default=[],
        help="of a rule of several bodies: another one that it is told to be, for three horizons; again and again",
    )
    parser.add_argument("--steps", metavar="N", type=int, help="how long it lives (default: as long as its story needs)")
    parser.add_argument("--every", metavar="N", type=int, help="steps between two frames (default: about 60 frames in all)")
    parser.add_argument(
        "--damage",
        metavar="CUT",
        nargs="*",
        help="STEP:NAME[:SEVERITY[:DIRECTION]], such as 46:half_space:0.5:+x; several are one script; none = no damage",
    )
    parser.add_argument("--random-seed", metavar="N", type=int, default=0, help="decides fire masks and wounds (default: 0)")


@dataclass(frozen=True)
class LifeRequest:
    """A rule, and which life of it is to be shown.

    Attributes:
        ref: the rule, by name.
        steps: how long it lives; None = as long as its story needs.
        every: steps between two frames; None = about 60 frames in all.
        damage: wounds as the flag --damage has them; None = half of the body at the horizon.
        random_seed: decides fire masks and wounds.
        executor: how the rule is run.
        then: the bodies that a rule of several is told to be, one after the other, after the first.
    """

    ref: RuleRef
    steps: int | None
    every: int | None
    damage: list[str] | None
    random_seed: int
    executor: str
    then: tuple[str, ...] = ()

    @classmethod
    def of(cls, args: argparse.Namespace) -> "LifeRequest":
        """Reads the request from flags.

        Raises:
            InputErrors: every flag that is wrong.
        """
        with ErrorCollector() as errors:
            fields = read_flags(args, errors)
            errors += wrong_numbers(args, steps=(1, SEEDS[1]), every=(1, None), random_seed=SEEDS)
        ref = rule_of(args, fields)
        then = tuple(args.then)
        if then and args.condition is None:
            raise InputError("--then", "condition", "none to begin with", "--condition NAME --then NAME")
        return cls(ref, args.steps, args.every, args.damage, args.random_seed, fields.get("executor", "auto"), then)

    def tell(self, rule: "Rule", target: "Target", *, damaged: bool, horizon: int | None = None) -> "Story":
        """Lives that life and returns its frames.

        Args:
            rule: what grows.
            target: what it should grow into.
            damaged: without --damage, whether half of the body is destroyed at the horizon, with two more horizons to heal.
            horizon: steps in which the body is grown; None = as the rule's card says.
        """
        from nca3d.evaluation.story import Cut, changed, tell

        horizon = horizon or horizon_of(rule)
        # A change is what such a life is about: it is cut only where that is asked for.
        damaged = damaged and not self.then
        options: dict[str, Any] = {"every": self.every, "random_seed": self.random_seed, "executor": self.executor}
        if self.damage is None:
            cuts = [Cut(horizon, "half_space", 0.5)] if damaged and (self.steps is None or self.steps > horizon) else []
        else:
            cuts = [] if self.damage == ["none"] else [Cut.read(text) for text in self.damage]
        last = max((cut.step for cut in cuts), default=None)
        steps = self.steps or (horizon if last is None else last + 2 * horizon)
        # All of them before the first step: a name that is wrong is told at once.
        others = [(name, self.ref.another(name)) for name in self.then]
        story = tell(rule, target, steps, cuts, **options, progress=True)
        for name, other in others:
            story = changed(story, other, self.ref.target(other), 3 * horizon, name, **options, progress=True)
        return story


def horizon_of(rule: "Rule") -> int:
    """Returns in how many steps the rule's body is grown, by its card."""
    return int(rule.card.get("horizon", HORIZON))
