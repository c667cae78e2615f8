"""Loads a rule by its name: `load("runs/axolotl-1")`, `load("zoo:frog")`; `RuleRef(...)` knows what goes with it.

This is the only module that knows the names of rules and the contents of a run folder. A name is checked before torch is
imported, which happens when the rule itself is needed. Tensors come from safetensors, never from pickle.
"""

import json
import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nca3d.config import plugins as plug_ins
from nca3d.config.shipped import located, one_line
from nca3d.errors import InputError, nearest
from nca3d.files import read_file
from nca3d.process.supervise import RUN_NAME, execute, supervised
from nca3d.registry import searched, wing_entries

if TYPE_CHECKING:
    from torch import nn

    from nca3d.config import Config
    from nca3d.rules.cell import Rule
    from nca3d.targets import Target

CONFIG = "config.toml"
ZOO = "zoo:"
_IN_FILE = re.compile(r"\.py:\w+$")


def load(
    source: str | os.PathLike[str], *, trainable: bool = False, plugins: Sequence[str | os.PathLike[str]] | None = None
) -> "Rule":
    """Returns a trained rule, ready to run, with its `.card`: size, regime, target, target_options, horizon, figures.

    Args:
        source: a run folder (its newest checkpoint that verifies is used), one checkpoint folder, "zoo:NAME" or "FILE.py:NAME".
        trainable: whether its weights get gradients. By default they don't, so that rollouts keep nothing for a backward pass.
        plugins: Python files to run first, instead of those that the run's config names; these run only if they were confirmed
            before (`nca3d trust`), since a run folder is data. () = none.

    Raises:
        InputError: there is no rule, or none whose files can be trusted; the message says why.
    """
    return RuleRef(source, plugins=plugins).rule(trainable=trainable)


def load_data(source: str) -> "Rule":
    """Returns a trained rule from data alone: what a config names with `init` must not be code.

    Args:
        source: as in `load`, but no "FILE.py:NAME".

    Raises:
        InputError: see `load`, or `source` names a Python file.
    """
    if _IN_FILE.search(source):
        raise InputError("config", "init", repr(source), "a run folder, a checkpoint folder or zoo:NAME")
    return load(source)


def zoo() -> list[str]:
    """Returns the names of the trained rules that are shipped, sorted."""
    folder = resources.files("nca3d") / "zoo"
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def run_folder(name: str | os.PathLike[str]) -> Path:
    """Returns the folder of a run, given its own path or that of one of its checkpoints.

    Raises:
        InputError: the path is neither.
    """
    path = folder = Path(name)
    if path.absolute().parent.name == "checkpoints":
        # A relative path stays relative, unless it is too short to have a grandparent.
        folder = (path if path.parent.name else path.absolute()).parent.parent
    if path.is_dir() and (folder / CONFIG).is_file():
        return folder
    found = f"no {CONFIG} in it" if path.is_dir() else "a file" if path.is_file() else "no such folder"
    raise InputError(one_line(str(path)), "run folder", found, "a folder that nca3d train made, or one of its checkpoints")


class RuleRef:
    """A reference to a rule by its name, which also knows the body that the rule grows.

    Args:
        name: a run folder, one of its checkpoints, "zoo:NAME", or "FILE.py:NAME" for a rule of your own.
        target: name or file of the body; None = the card's.
        size: its lattice (D, H, W); "auto" = that which the body suggests; None = the card's.
        target_options: options of the body; None = the card's, or no options where `target` is passed.
        plugins: Python files to run first; None = those that the run's config names, which must have been confirmed.
        condition: of a rule of several bodies, the one that is meant; None = all of them.

    Attributes:
        name: the name as it was passed.
        folder: the run's folder; None for a rule without a run.
        config: the run's config, read and checked; None for a rule without a run.

    Raises:
        InputError: there is no such rule, or its config can't be used, as far as that can be checked without torch.
    """

    def __init__(
        self,
        name: str | os.PathLike[str],
        *,
        target: str | None = None,
        size: tuple[int, int, int] | Literal["auto"] | None = None,
        target_options: dict[str, Any] | None = None,
        plugins: Sequence[str | os.PathLike[str]] | None = None,
        condition: str | None = None,
    ) -> None:
        if not isinstance(name, str) and not isinstance(name, os.PathLike):
            found = f"a {type(name).__name__}"
            raise InputError("rule", "name", found, "a text or a Path: a run folder, a checkpoint, zoo:NAME or FILE.py:NAME")
        self.name = os.fspath(name)
        self.condition = condition
        self.folder: Path | None = None
        self.config: Config | None = None
        # What was passed wins over the card.
        self._target, self._size, self._options = target, size, target_options
        if isinstance(plugins, str):
            raise InputError("plugins", "plugins", repr(plugins), "a list of Python files")
        self._plugins = None if plugins is None else tuple(os.fspath(file) for file in plugins)
        if not self.name:
            raise InputError("rule", "name", "''", "a run folder, one of its checkpoints, zoo:NAME or FILE.py:NAME")
        # Checked now, before torch is imported: a misspelled name is answered at once.
        if self.name.startswith(ZOO):
            _require_in_zoo(self.name.removeprefix(ZOO))
        elif _IN_FILE.search(self.name):
            _split(self.name)
        else:
            self._find_run()
        plug_ins.check(*self._named_plugins())

    def _named_plugins(self) -> tuple[tuple[str, ...], str | None]:
        """Returns the plug-ins to run first, and the file that names them; None = the caller does."""
        if self._plugins is not None or self.config is None:
            return self._plugins or (), None
        return self.config.plugins, self.config.plugins_from

    def _find_run(self) -> None:
        """Sets folder and config of a rule that is named by a path."""
        from nca3d.config import Config

        try:
            self.folder = run_folder(self.name)
        except InputError as error:
            # Checkpoints that were copied without their run still have all that it takes to build the rule.
            # A config that is a folder or a pipe is no copy without one.
            if _has_checkpoints(Path(self.name)) and not os.path.lexists(Path(self.name) / CONFIG):
                return
            allowed = f"{error.allowed}; or FILE.py:NAME, or zoo:{'|'.join(zoo())}"
            raise InputError(error.where, error.field, error.found, allowed) from None
        # Read now, because its plug-ins, if they may run, have to run before the rule can be built.
        self.config = Config.load(self.folder / CONFIG)

    def module(self) -> "nn.Module":
        """Returns the rule, or whatever module FILE.py:NAME makes.

        Raises:
            InputError: the files can't be read or trusted.
        """
        plug_ins.run(*self._named_plugins())
        if _IN_FILE.search(self.name):
            return from_file(self.name)
        if self.name.startswith(ZOO):
            return _from_zoo(self.name.removeprefix(ZOO))
        return _from_checkpoint(Path(self.name), self._searched())

    def _searched(self) -> str:
        """Returns what an error says of a rule that is not registered: which plug-ins were run, and which the run names."""
        run = self._named_plugins()[0]
        left = [file for file in (self.config.plugins if self.config else ()) if file not in run]
        return searched(run) + (f"; the run names {', '.join(left)}" if left else "")

    def rule(self, *, trainable: bool = False) -> "Rule":
        """Returns the rule; see `load`.

        Raises:
            InputError: the module is no rule, or its files can't be trusted.
        """
        from nca3d.rules.cell import Rule

        rule = self.module()
        if not isinstance(rule, Rule):
            raise InputError(self.name, "rule", type(rule).__name__, "a nca3d.rules.Rule")
        rule.requires_grad_(trainable)
        return rule if self.condition is None else self.bound(rule, self.condition)

    def bound(self, rule: "Rule", condition: str) -> "Rule":
        """Returns the plain rule of one of several bodies.

        Args:
            rule: the rule of several bodies.
            condition: the name of the body.

        Raises:
            InputError: the rule grows one body, or there is no such body.
        """
        from nca3d.rules.conditional import ConditionalRule

        if not isinstance(rule, ConditionalRule):
            raise InputError(self.name, "condition", repr(condition), "none: this rule grows one body")
        if condition not in rule.conditions:
            allowed = ", ".join(rule.conditions) + nearest(condition, rule.conditions)
            raise InputError(self.name, "condition", repr(condition), allowed)
        return rule.bound(condition)

    def another(self, condition: str) -> "Rule":
        """Returns the plain rule of another of the bodies, whose cells are told what they are.

        Args:
            condition: the name of the body.

        Raises:
            InputError: there is no such body, or cells are told nothing after the first.
        """
        rule = RuleRef(self.name, plugins=self._plugins).rule()
        if rule.conditions and not rule.told:
            raise InputError(self.name, "condition", repr(condition), "no change: its first cell carries the condition")
        return self.bound(rule, condition)

    def one(self) -> "Rule":
        """Returns the rule of one body; see `rule`.

        Raises:
            InputError: it grows several bodies, and none of them is named.
        """
        rule = self.rule()
        if rule.conditions:
            raise InputError(self.name, "condition", "none", f"--condition NAME: {', '.join(rule.conditions)}")
        return rule

    def target(self, rule: "Rule") -> "Target":
        """Returns the body that the rule should grow.

        Args:
            rule: what `rule()` returned.

        Raises:
            InputError: no body is known, or the body is of another kind than the rule's visible channels.
        """
        from nca3d.targets import load as load_target

        card = rule.card
        if rule.conditions:
            raise InputError(self.name, "condition", "none", f"one of {', '.join(rule.conditions)}")
        if rule.visible_kind in wing_entries("evaluation"):
            found = f"one that shows a {rule.visible_kind} and grows no body"
            raise InputError(self.name, "rule", found, "a rule that grows one")
        name, size = self._target or card.get("target"), self._size or card.get("size")
        if name is None or size is None:
            missing = "--target" if name is None else "--size"
            allowed = "the body that this rule should grow: it has no card that names one"
            raise InputError(self.name, missing, f"nothing: missing argument {missing}", allowed)
        # The body as it was trained; another size or other options are fitted anew, from its source.
        if card.get("body") and self._target is None and self._size is None and self._options is None:
            return rule.target().for_rule(rule.visible_kind, rule.visible, self.name)
        # The card's options belong to the card's target, not to another one.
        options = self._options if self._options is not None else {} if self._target else card["target_options"]
        return load_target(name, size=size if size == "auto" else tuple(size), **options).for_rule(
            rule.visible_kind, rule.visible, self.name
        )

    @property
    def stem(self) -> str:
        """The name in a form that can be part of a file name."""
        path = Path(self.name)
        text = path.resolve().name if path.is_dir() else self.name.removeprefix(ZOO)
        return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")

    def beside(self, name: str, alone: str) -> Path:
        """Returns the default place of what is made from the rule, such as a film.

        Args:
            name: name of the file in the rule's run folder; for a checkpoint, its step is put in front.
            alone: name of the file in runs/, for a rule without a run.
        """
        if self.folder is None:
            return Path("runs") / alone
        return self.folder / (name if Path(self.name) == self.folder else f"{self.stem}-{name}")


def from_file(text: str) -> "nn.Module":
    """Returns the rule that "FILE.py:NAME" names: a module, or what a class or function makes without arguments.

    Raises:
        InputError: there is no such file or name, the file or the call fails, or the result is no module.
    """
    from torch import nn

    file, name = _split(text)
    defined = execute(file, read_file(Path(file)), "file")
    if name not in defined:
        # Suggestions: what the file defines itself (its module has a name of its own), not what it imports.
        own = [
            known
            for known, value in defined.items()
            if isinstance(value, nn.Module) or (callable(value) and getattr(value, "__module__", None) == RUN_NAME)
        ]
        raise InputError(file, "name", repr(name), (", ".join(own) or "a name that the file defines") + nearest(name, own))
    value = defined[name]
    # A module is callable too, but calling it would run it.
    if callable(value) and not isinstance(value, nn.Module):
        with supervised(file, name, "a class or function that makes a module without arguments"):
            value = value()
    if not isinstance(value, nn.Module):
        raise InputError(file, name, type(value).__name__, "a torch.nn.Module, or a class or function that makes one")
    return value


def _split(text: str) -> tuple[str, str]:
    """Returns file and name of "FILE.py:NAME", once the file is known to exist."""
    file, _, name = text.rpartition(":")
    if not file or not name:
        raise InputError("rule", "name", repr(text), "FILE.py:NAME")
    if not Path(file).is_file():
        raise InputError(file, "file", "no such file", "a Python file that exists")
    return file, name


def _has_checkpoints(path: Path) -> bool:
    """Returns whether there are checkpoints, with or without the run that saved them."""
    patterns = ("manifest.json", "step-*/manifest.json", "checkpoints/step-*/manifest.json")
    return any(any(path.glob(pattern)) for pattern in patterns)


def _require_in_zoo(name: str) -> None:
    """Checks that a rule of this name is shipped."""
    if name not in zoo():
        raise InputError("zoo", "rule", repr(name), (", ".join(zoo()) or "none shipped yet") + nearest(name, zoo()))


def _from_zoo(name: str) -> "Rule":
    """Returns a shipped rule; its JSON file is the card with the rule's constructor in it."""
    from safetensors.torch import load as load_tensors

    from nca3d.rules.rebuild import rebuild

    folder = resources.files("nca3d") / "zoo"
    # The card of a shipped rule also holds the constructor's record, which is no part of a rule's card.
    card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    tensors = load_tensors((folder / f"{name}.safetensors").read_bytes())
    return rebuild(f"{ZOO}{name}", card.pop("rule"), tensors, card)


def _from_checkpoint(path: Path, hint: str) -> "Rule":
    """Returns the rule of a checkpoint, or of the newest checkpoint in a run folder that verifies.

    Args:
        path: The checkpoint or the run folder.
        hint: What an error adds if its rule is not registered.
    """
    from nca3d import checkpoint
    from nca3d.rules.rebuild import rebuild

    saved = checkpoint.load(path, check=checkpoint.check_training)
    # Absolute, because a checkpoint named from within its own folder has no grandparent.
    card = located(saved.scalars["card"], saved.path.absolute().parents[1])
    return rebuild(saved.path, saved.scalars["rule"], saved.groups["rule"], card, hint)
