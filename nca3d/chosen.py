"""The rule that a command names, and the body that goes with it: by its card, or by the flags."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.from_file import resolve
from nca3d.load import load
from nca3d.rules.cell import Rule
from nca3d.targets import Target
from nca3d.targets import load as load_target


@dataclass(frozen=True)
class Chosen:
    """A rule by name, and flags that go before what its card says.

    Args:
        name: a run folder, a checkpoint, zoo:NAME or FILE.py:NAME.
        target, size, target_options: of the body; None = the card's.
        config: the run's own, whose plugins its rule may need; None for rules without a run.
    """

    name: str
    target: str | None = None
    size: tuple[int, int, int] | None = None
    target_options: dict[str, Any] | None = None
    config: Config | None = None

    def module(self) -> nn.Module:
        """The rule, or whatever module FILE.py:NAME makes."""
        if self.config is not None:
            from nca3d.training.loop import load_plugins

            load_plugins(self.config)
        return resolve(self.name) if is_file_rule(self.name) else load(self.name)

    def rule(self) -> Rule:
        """The rule.

        Raises:
            InputError: a module that is no rule.
        """
        rule = self.module()
        if not isinstance(rule, Rule):
            raise InputError(self.name, "rule", type(rule).__name__, "a nca3d.rules.Rule")
        return rule

    def body(self, rule: Rule) -> Target:
        """The body that the rule should grow.

        Raises:
            InputError: none is known, or one of another kind than the rule shows.
        """
        card = rule.card
        name, size = self.target or card.get("target"), self.size or card.get("size")
        if name is None or size is None:
            missing = "--target" if name is None else "--size"
            wanted = "the body that this rule should grow: it has no card that names one"
            raise InputError(self.name, missing, "nothing", wanted)
        options = self.target_options if self.target_options is not None else ({} if self.target else card["target_options"])
        target = load_target(name, size=tuple(size), **options)
        if (target.kind, target.visible) != (rule.visible_kind, rule.visible):
            found = f"{target.kind} with {target.visible} visible channels"
            raise InputError(self.name, "target", found, f"{rule.visible_kind} with {rule.visible}, which this rule shows")
        return target

    @property
    def stem(self) -> str:
        """The name as a part of a file's name."""
        path = Path(self.name)
        text = path.resolve().name if path.is_dir() else self.name.removeprefix("zoo:")
        return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


def is_file_rule(name: str) -> bool:
    """Whether a rule is named by "FILE.py:NAME"."""
    return re.search(r"\.py:\w+$", name) is not None


def body_of(rule: Rule) -> Target | None:
    """The body that a trained rule's card names; None without a card."""
    return Chosen("rule").body(rule) if rule.card else None
