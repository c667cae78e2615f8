"""The task of several bodies: one rule learns to grow each of them, by a condition, from one cell, and to keep and heal it.

Each slot of the pool knows which body it is to become. An iteration takes some states of each of several bodies, and each
body's states run, are judged and are replaced as if it were the only one (`growth.Growth`); all of them move the same weights.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nca3d.config import Config
from nca3d.config.several import MOST
from nca3d.errors import InputError
from nca3d.files import read_file, sha256
from nca3d.rules.cell import Rule
from nca3d.rules.conditional import ConditionalRule
from nca3d.rules.inputs import Inputs
from nca3d.targets import Target
from nca3d.targets.kept import KeptTarget, kept_name
from nca3d.targets.readers.arrays import read_npy
from nca3d.targets.together import Bodies, load_several, together
from nca3d.training.build import build_rule
from nca3d.training.course import Look
from nca3d.training.growth import Growth, custom_body

# The longest name of a body that came as an array: it stands on buttons and above pictures.
LONGEST_NAME = 60
# The largest number in a code: a bias of its size would be all that a cell sees.
LARGEST = 1000.0
# The most numbers in a code: those of the longest embeddings of sentences that there are.
LONGEST_CODE = 16_384
# Codes that need no file, as `condition_codes` names them.
CODES = ("one_hot", "learned")


@dataclass(frozen=True)
class Goals:
    """What the states of an iteration are to become.

    Attributes:
        labels: Which body each is to become, int64 (B,) on the CPU.
    """

    labels: Tensor


class Several:
    """The task of growing several bodies by one rule; its methods are described in `Task`.

    Args:
        config: The experiment.
        given: The bodies, as the config names them or as the run keeps them; None = they are read here.

    Raises:
        InputError: A body can't be used, a loss term does not fit it, or the codes don't fit the bodies.
    """

    headline = "iou"
    fixed: Mapping[str, str] = {
        "conditions": "the bodies of a run keep their names and places",
        "condition": "how cells are told is built into the rule",
        "codes": "its bodies were trained with these codes",
    }

    def __init__(self, config: Config, given: Bodies | None = None) -> None:
        self.config = config
        bodies = given or load_several(config.targets, size=config.size, **config.target_options)
        self.names, self.subject = bodies.names, ""
        # Bodies that came as arrays have no other names than the files that keep them.
        sources = ["" if Path(name).name == kept_name(place) else name for place, name in enumerate(config.targets)]
        self.own = "" in sources
        self.placed = all(body.first is not None for body in bodies.each)
        self.codes = given_codes(config, self.names)
        kept = bodies.kept or [
            KeptTarget.of(body, name, config.target_options, kept_name(place))
            for place, (body, name) in enumerate(zip(bodies.each, sources, strict=True))
        ]
        self.each = [Growth(config, one) for one in kept]
        self.beginning = ""
        self.first = self.each[0]
        self.weights, self.epoch = self.first.weights, self.first.epoch
        self.pooled, self.damaging = self.first.pooled, self.first.damaging
        self.curriculum, self.ageing = self.first.curriculum, self.first.ageing

    @property
    def device(self) -> torch.device:
        """Where the rule runs."""
        return self.first.device

    @device.setter
    def device(self, device: torch.device) -> None:
        for one in self.each:
            one.device = device

    @property
    def targets(self) -> list[Target]:
        """The bodies, in the order of the conditions."""
        return [one.target for one in self.each]

    def check_rule(self, rule: Rule) -> None:
        """Checks that the rule grows these bodies, and shows what they have.

        Raises:
            InputError: It grows others, or its visible channels are of another kind or number.
        """
        if rule.conditions != self.names:
            found = f"one that grows {', '.join(rule.conditions) or 'one body'}"
            raise InputError("train", "rule", found, f"a ConditionalRule of {', '.join(self.names)}")
        self.first.check_rule(rule)

    def build_rule(self) -> Rule:
        """Returns a fresh rule for the bodies, or the one that `init` names.

        Raises:
            InputError: A first cell has no room for the codes, or the rule that `init` names grows other bodies.
        """
        config, target = self.config, self.first.target
        code = config.code if target.kind == "classes" else 0
        kind = config.condition_codes if self.codes is None else "given"
        channels = config.channels_for(target.visible)
        length, room = len(self.names) if self.codes is None else self.codes.shape[1], channels - target.visible - 1 - code
        if config.condition == "seed" and length > room:
            allowed = f"codes of at most {room}, the hidden channels that carry them: --channels {channels + length - room}"
            raise InputError("config", "condition_codes", f"codes of {length} numbers", f"{allowed}, or condition = input")
        rule = build_rule(
            config.replace(rule="conditional"),
            conditions=self.names,
            condition=config.condition,
            codes=kind,
            code_size=0 if self.codes is None else self.codes.shape[1],
            code=code,
            channels=channels,
            hidden=config.hidden,
            perception=config.perception,
            visible=target.visible,
            visible_kind=target.kind,
            alive_threshold=config.alive_threshold,
            padding=config.padding,
        )
        assert isinstance(rule, ConditionalRule)
        if self.codes is not None:
            rule.codes.data.copy_(self.codes)
        self.beginning = self._begins_as(config.init) if config.init else ""
        return rule

    def _begins_as(self, init: str) -> str:
        """Returns a line that says which body of another rule each begins as; "" where they are the same.

        Raises:
            InputError: They are the same bodies in another order.
        """
        from nca3d.load import load_data

        before = load_data(init).conditions
        if before == self.names:
            return ""
        if set(before) == set(self.names):
            raise InputError(init, "init", f"a rule of {', '.join(before)}", f"{', '.join(self.names)}, in this order")
        return "note: " + ", ".join(f"{new} begins as {old}" for new, old in zip(self.names, before, strict=False))

    def lr_multipliers(self, rule: Rule) -> dict[nn.Parameter, float]:
        """Returns nothing: all weights learn at one rate."""
        return {}

    def in_full(self, rule: Rule) -> list[nn.Parameter]:
        """Returns no parameters: all cells share the weights, which are few."""
        return []

    def in_backward(self, rule: Rule, optimizer: torch.optim.Optimizer) -> None:
        """Returns None: no cell has weights of its own."""

    def card(self) -> dict[str, Any]:
        """Returns the card: what all bodies share, and of each what it takes to grow and judge it."""
        cards = [one.card() for one in self.each]
        own = ("target", "target_options", "body", "start")
        shared = {name: value for name, value in cards[0].items() if name not in own}
        each = [
            {"name": name, **{field: card[field] for field in own}, "target": target}
            for name, target, card in zip(self.names, self.config.targets, cards, strict=True)
        ]
        starts = {tuple(card["start"]) for card in cards}
        shared |= {"start": list(starts.pop())} if len(starts) == 1 else {}
        # Bodies of a size of their own were placed so that all have one first cell.
        fitted = {"fitted": "auto"} if self.placed else {}
        codes = self.config.condition_codes if self.codes is None else sha256(self.codes.numpy().tobytes())
        told = {"condition": self.config.condition, "conditions": list(self.names), "codes": codes}
        return {**shared, **fitted, **told, "targets": each}

    def seed(self, rule: Rule) -> Tensor:
        """Returns the first cell of each body in an empty lattice, (L, C, D, H, W)."""
        assert isinstance(rule, ConditionalRule)
        return torch.cat([one.seed(rule.bound(name)) for one, name in zip(self.each, self.names, strict=True)]).detach()

    def pool_loss(self, rule: Rule, states: Tensor, label: int) -> Tensor:
        """Returns the loss of each pooled state of one body as it is, (B,)."""
        return self.each[label].pool_loss(rule, states, label)

    def body(self, rule: Rule, states: Tensor) -> Tensor:
        """Returns the cells of each body, bool (B, D, H, W)."""
        return self.first.body(rule, states)

    def draw(self, iteration: int, labels: Tensor) -> Goals:
        """Returns which body each state is to become: the one of its label (B,)."""
        return Goals(labels)

    def subset(self, goal: Goals, ids: Tensor) -> Goals:
        """Returns which body each of the samples `ids` (n,) is to become."""
        return Goals(goal.labels[ids.cpu()])

    def condition(self, goal: Goals) -> Tensor | None:
        """Returns the body of each sample, which its cells are told, int64 (B,); None where the first cell has told them."""
        return goal.labels if self.config.condition == "input" else None

    def inputs(self, rule: Rule, goal: Goals) -> Inputs | None:
        """Returns None: bodies grow without inputs."""
        return None

    def terms(self, moments: Tensor, goal: Goals, rule: Rule) -> dict[str, Tensor]:
        """Returns the weighted loss terms of recorded states (T, B, C, D, H, W), each against its own target, (B,) each."""
        order, parts = [], []
        for label in goal.labels.unique().tolist():
            own = (goal.labels == label).nonzero().squeeze(1).to(moments.device)
            order.append(own)
            parts.append(self.each[label].terms(moments[:, own], self.each[label].goal, rule))
        back = torch.cat(order).argsort()
        return {name: torch.cat([part[name] for part in parts])[back] for name in parts[0]}

    def metrics(self, rule: Rule, states: Tensor, goal: Goals) -> dict[str, float]:
        """Returns the mean intersection over union of states (B, C, D, H, W) with their targets, and that of each body."""
        found: dict[str, float] = {}
        for label in goal.labels.unique().tolist():
            own = states[(goal.labels == label).to(states.device)]
            found[f"iou.{self.names[label]}"] = self.each[label].metrics(rule, own, self.each[label].goal)["iou"]
        return {"iou": sum(found.values()) / len(found), **found}

    def pattern(self, rule: Rule, states: Tensor) -> dict[str, list[float]]:
        """Returns measures of pattern of the first bodies of states (B, C, D, H, W); nothing random is drawn."""
        return self.first.pattern(rule, states)

    def fault(self, rule: Rule) -> str:
        """Returns why a trained rule has failed: of some body none is alive at the horizon, or one isn't finite; else ""."""
        assert isinstance(rule, ConditionalRule)
        for one, name in zip(self.each, self.names, strict=True):
            if wrong := one.fault(rule.bound(name)):
                return f"{name}: {wrong}"
        return ""

    @torch.no_grad()
    def look(self, rule: Rule, iteration: int) -> Look:
        """Returns the worst of what a rule grows, holds and heals of its bodies, on fire masks that training never draws."""
        assert isinstance(rule, ConditionalRule)
        looks = [one.look(rule.bound(name), iteration) for one, name in zip(self.each, self.names, strict=True)]
        return Look(iteration, *(min(values) for values in list(zip(*looks, strict=True))[1:]))

    def note(self, rule: Rule) -> str:
        """Returns what to know of the bodies: cells that rollouts can't reach, sources that have changed; "" for nothing."""
        return "\n".join(note for note in (self.beginning, *(one.note(rule) for one in self.each)) if note)

    def keep(self, folder: Path) -> dict[str, Any]:
        """Saves each body as it was fitted; the config names the files of those that have no other source."""
        files = [one.kept.write(folder) for one in self.each]
        named = (
            name if one.kept.source["target"] else str(file.absolute())
            for name, one, file in zip(self.config.targets, self.each, files, strict=True)
        )
        return {"target": tuple(named), "target_options": {}} if self.own else {}


def custom_bodies(bodies: Mapping[str, Target | np.ndarray | Tensor], config: Config) -> tuple[Config, Bodies]:
    """Returns bodies that came as arrays, and the config of a run that grows them.

    Args:
        bodies: Targets or arrays by name, RGBA (D, H, W, 4) or labels (D, H, W), at least two.
        config: Gives the size of the lattice, and the options of arrays.

    Raises:
        InputError: There are fewer than two, an array has another form, or a target another lattice.
    """
    if len(bodies) < 2:
        raise InputError("train", "target", f"{len(bodies)} bodies", "two or more by name, or one as it is")
    for name in bodies:
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            raise InputError(
                "train", "target", f"a body called {name!r:.80}", f"names of 1 to {LONGEST_NAME} printable letters"
            )
    if len(bodies) > MOST:
        raise InputError("train", "target", f"{len(bodies)} bodies", f"at most {MOST}")
    alone = config.replace(target="sphere", condition="input", condition_codes="one_hot", switch_rate=0.0)
    found = {}
    for name, body in bodies.items():
        try:
            found[name] = custom_body(body, alone).target
        except InputError as error:
            raise InputError(f"train: target {name!r}", error.field, error.found, error.allowed) from error
    company = together(found, config.given_size)
    return config.replace(target=tuple(map(kept_name, range(len(found)))), size=company.size), company


def given_codes(config: Config, names: tuple[str, ...]) -> Tensor | None:
    """Returns the codes (n, K) in the file that a config names; None = one-hot or learned ones.

    Raises:
        InputError: There is no such file, or it has no vector for each body.
    """
    file = config.condition_codes
    if file in CODES:
        return None
    data = read_file(Path(file))
    try:
        if file.lower().endswith(".json"):
            table = json.loads(data)
        else:
            table = read_npy(BytesIO(data), len(data), file)  # which doesn't believe its header
    except InputError:
        raise
    # RecursionError: thousands of nested brackets are valid JSON, too deep for the parser.
    except (ValueError, OSError, EOFError, RecursionError):
        allowed = "a .npy of numbers (bodies, K), or a .json {name: [numbers]}"
        raise InputError(file, "condition_codes", "a file without vectors", allowed) from None
    each = f"a vector for each of {', '.join(names)}"
    if isinstance(table, dict):
        if missing := [name for name in names if name not in table]:
            raise InputError(file, "condition_codes", f"none for {', '.join(missing)}", each)
        table = [table[name] for name in names]
    try:
        array = np.asarray(table)
        numbers = array.astype(np.float64) if array.dtype.kind in "iuf" else None
    except (ValueError, TypeError, OverflowError):
        numbers = None
    if numbers is None or numbers.ndim != 2 or len(numbers) != len(names) or not 1 <= numbers.shape[1] <= LONGEST_CODE:
        found = "no table of numbers" if numbers is None else f"shape {numbers.shape}"
        raise InputError(file, "condition_codes", found, f"({len(names)}, K) numbers, K at most {LONGEST_CODE:,}: {each}")
    if not (np.abs(numbers) <= LARGEST).all():
        found = "NaN or infinity" if not np.isfinite(numbers).all() else f"{np.abs(numbers).max():g}"
        raise InputError(file, "condition_codes", found, f"finite numbers, none beyond ±{LARGEST:g}")
    alike = [names[k] for k in range(len(names)) if (numbers == numbers[k]).all(axis=1).sum() > 1]
    if alike:
        raise InputError(
            file, "condition_codes", f"one vector for {', '.join(alike)}", "another for each: nothing else tells them apart"
        )
    return torch.from_numpy(numbers.astype(np.float32))
