"""What `nca3d render` and `nca3d export` ask alike: which rule, how long it lives, when it is hurt."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nca3d.cli.flags import SEEDS, add_rule, read_flags, rule_of, wrong_numbers
from nca3d.errors import ErrorCollector
from nca3d.load import RuleRef

if TYPE_CHECKING:
    from nca3d.evaluation.story import Story
    from nca3d.rules.cell import Rule
    from nca3d.targets import Target

# Steps to grow in, where no card says.
HORIZON = 64


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that choose a rule, its body and its life."""
    add_rule(parser)
    parser.add_argument("--steps", metavar="N", type=int, help="how long it lives (default: as long as its story needs)")
    parser.add_argument("--every", metavar="N", type=int, help="steps between two frames (default: about 60 frames in all)")
    parser.add_argument(
        "--damage",
        metavar="CUT",
        nargs="*",
        help="STEP:NAME[:SEVERITY[:DIRECTION]], such as 46:half_space:0.5:+x; several are one script; none = unhurt",
    )
    parser.add_argument("--random-seed", metavar="N", type=int, default=0, help="chooses fire masks and wounds (default: 0)")


@dataclass(frozen=True)
class LifeRequest:
    """A rule, and the life of it that is to be shown."""

    ref: RuleRef
    steps: int | None
    every: int | None
    damage: list[str] | None
    random_seed: int
    executor: str

    @classmethod
    def of(cls, args: argparse.Namespace) -> "LifeRequest":
        """From flags.

        Raises:
            InputErrors: every flag that is wrong.
        """
        with ErrorCollector() as errors:
            fields = read_flags(args, errors)
            errors += wrong_numbers(args, steps=(1, None), every=(1, None), random_seed=SEEDS)
        ref = rule_of(args, fields)
        return cls(ref, args.steps, args.every, args.damage, args.random_seed, fields.get("executor", "auto"))

    def tell(self, rule: "Rule", target: "Target", *, hurt: bool, horizon: int | None = None) -> "Story":
        """The life: by default it grows and, if `hurt`, is cut in half at its horizon and has two more to heal."""
        from nca3d.evaluation.story import Cut, tell

        horizon = horizon or horizon_of(rule)
        if self.damage is None:
            cuts = [Cut(horizon, "half_space", 0.5)] if hurt and (self.steps is None or self.steps > horizon) else []
        else:
            cuts = [] if self.damage == ["none"] else [Cut.read(text) for text in self.damage]
        last = max((cut.step for cut in cuts), default=None)
        steps = self.steps or (horizon if last is None else last + 2 * horizon)
        return tell(
            rule, target, steps, cuts, every=self.every, random_seed=self.random_seed, executor=self.executor, progress=True
        )


def horizon_of(rule: "Rule") -> int:
    """Steps in which the rule's body is grown, as its card says."""
    return int(rule.card.get("horizon", HORIZON))
