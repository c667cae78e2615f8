"""A rule by its name, and all that is known by it: `load("runs/axolotl-1")`, `load("zoo:frog")`, `RuleRef(...)`.

The one place that knows what a rule can be called and what lies in a run folder. A name is checked before torch is imported,
which happens once a rule is asked for. Tensors come from safetensors, never from pickle.
"""

import json
import os
import re
import runpy
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.config.shipped import moved, one_line
from nca3d.errors import InputError, nearest
from nca3d.registry import wing_entries

if TYPE_CHECKING:
    from torch import nn

    from nca3d.config import Config
    from nca3d.rules.cell import Rule
    from nca3d.targets import Target

CONFIG = "config.toml"
ZOO = "zoo:"
_IN_FILE = re.compile(r"\.py:\w+$")


def load(source: str | os.PathLike[str], *, trainable: bool = False) -> "Rule":
    """A trained rule, ready to run, with its `.card`: size, regime, target, target_options, horizon, figures.

    Args:
        source: a run folder (its newest checkpoint that verifies), one checkpoint folder, "zoo:NAME" or "FILE.py:NAME". The
            plug-ins that a run's config names are run first.
        trainable: whether gradients reach its weights. They are kept from them else, so that nothing is remembered for a
            backward pass that nobody asks for.

    Raises:
        InputError: nothing there, or nothing there that can be trusted; the line says why.
    """
    return RuleRef(source).rule(trainable=trainable)


def zoo() -> list[str]:
    """The names of the trained rules that are shipped."""
    folder = resources.files("nca3d") / "zoo"
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def run_folder(name: str | os.PathLike[str]) -> Path:
    """The folder of a run, by its own path or by that of one of its checkpoints.

    Raises:
        InputError: there is none.
    """
    path = folder = Path(name)
    if path.absolute().parent.name == "checkpoints":
        folder = (path if path.parent.name else path.absolute()).parent.parent
    if path.is_dir() and (folder / CONFIG).is_file():
        return folder
    found = f"no {CONFIG} in it" if path.is_dir() else "a file" if path.is_file() else "no such folder"
    raise InputError(one_line(str(path)), "run folder", found, "a folder that nca3d train made, or one of its checkpoints")


def run_plugins(files: Iterable[str]) -> None:
    """Run the Python files that register rules, targets, losses and damages of one's own.

    Raises:
        InputError: a file that is missing or fails; the line has its error.
    """
    for plugin in files:
        if not Path(plugin).is_file():
            raise InputError("config", "plugins", repr(plugin), "Python files that exist")
        try:
            runpy.run_path(plugin)
        except Exception as error:
            raise InputError(plugin, "plugin", f"{type(error).__name__}: {error}", "a file that runs") from error


class RuleRef:
    """A rule by its name, and the body that goes with it: by its card, or by what is given here.

    Args:
        name: a run folder, one of its checkpoints, "zoo:NAME", or "FILE.py:NAME" for a rule of one's own.
        target: the name or file of the body; None = the card's.
        size: its lattice (D, H, W); None = the card's.
        target_options: of the body; None = the card's, or none where `target` is given.

    Attributes:
        folder: the run's folder; None for a rule without a run.
        config: the run's config, read and checked; None for a rule without a run.

    Raises:
        InputError: no such rule, or a config that can't be used, as far as can be told without torch.
    """

    def __init__(
        self,
        name: str | os.PathLike[str],
        *,
        target: str | None = None,
        size: tuple[int, int, int] | None = None,
        target_options: dict[str, Any] | None = None,
    ) -> None:
        self.name = os.fspath(name)
        self.folder: Path | None = None
        self.config: Config | None = None
        self._target, self._size, self._options = target, size, target_options
        if self.name.startswith(ZOO):
            _require_in_zoo(self.name.removeprefix(ZOO))
        elif _IN_FILE.search(self.name):
            _split(self.name)
        else:
            self._find_run()

    def _find_run(self) -> None:
        from nca3d.config import Config

        try:
            self.folder = run_folder(self.name)
        except InputError as error:
            if _has_checkpoints(Path(self.name)):  # copied from their run, they still have all that it takes to build the rule
                return
            allowed = f"{error.allowed}; or FILE.py:NAME, or zoo:{'|'.join(zoo())}"
            raise InputError(error.where, error.field, error.found, allowed) from None
        self.config = Config.load(self.folder / CONFIG)

    def module(self) -> "nn.Module":
        """The rule, or whatever module FILE.py:NAME makes."""
        if self.config is not None:
            run_plugins(self.config.plugins)
        if _IN_FILE.search(self.name):
            return from_file(self.name)
        return _from_zoo(self.name.removeprefix(ZOO)) if self.name.startswith(ZOO) else _from_checkpoint(Path(self.name))

    def rule(self, *, trainable: bool = False) -> "Rule":
        """The rule; see `load`.

        Raises:
            InputError: a module that is no rule, or nothing that can be trusted.
        """
        from nca3d.rules.cell import Rule

        rule = self.module()
        if not isinstance(rule, Rule):
            raise InputError(self.name, "rule", type(rule).__name__, "a nca3d.rules.Rule")
        return rule.requires_grad_(trainable)

    def target(self, rule: "Rule") -> "Target":
        """The body that the rule, which was made by this name, should grow.

        Raises:
            InputError: none is known, or one of another kind than the rule shows.
        """
        from nca3d.targets import load as load_target

        card = rule.card
        if rule.visible_kind in wing_entries("evaluation"):
            found = f"one that shows a {rule.visible_kind} and grows no body"
            raise InputError(self.name, "rule", found, "a rule that grows one")
        name, size = self._target or card.get("target"), self._size or card.get("size")
        if name is None or size is None:
            missing = "--target" if name is None else "--size"
            wanted = "the body that this rule should grow: it has no card that names one"
            raise InputError(self.name, missing, "nothing", wanted)
        options = self._options if self._options is not None else {} if self._target else card["target_options"]
        return load_target(name, size=tuple(size), **options).for_rule(rule.visible_kind, rule.visible, self.name)

    @property
    def stem(self) -> str:
        """The name as a part of a file's name."""
        path = Path(self.name)
        text = path.resolve().name if path.is_dir() else self.name.removeprefix(ZOO)
        return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")

    def beside(self, name: str, alone: str) -> Path:
        """Where what is made of the rule goes, if nobody says where.

        Args:
            name: of the file or folder where the rule has a run: it lies in the run's folder, behind the step of a checkpoint.
            alone: of the one where it has none: it lies in runs/.
        """
        if self.folder is None:
            return Path("runs") / alone
        return self.folder / (name if Path(self.name) == self.folder else f"{self.stem}-{name}")


def from_file(text: str) -> "nn.Module":
    """The rule that "FILE.py:NAME" names: a module, or a class or function without arguments that makes one.

    Raises:
        InputError: no such file or name, a file or call that fails, something that is no module.
    """
    from torch import nn

    file, name = _split(text)
    try:
        there = runpy.run_path(file)
    except Exception as error:
        raise InputError(file, "file", f"{type(error).__name__}: {error}", "a Python file that runs") from error
    if name not in there:
        own = [
            known
            for known, thing in there.items()
            if isinstance(thing, nn.Module)
            or (callable(thing) and getattr(thing, "__module__", None) == "<run_path>")  # defined there, not imported
        ]
        raise InputError(file, "name", repr(name), (", ".join(own) or "a name that the file defines") + nearest(name, own))
    thing = there[name]
    if callable(thing) and not isinstance(thing, nn.Module):
        try:
            thing = thing()
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            raise InputError(file, name, found, "a class or function that makes a module without arguments") from error
    if not isinstance(thing, nn.Module):
        raise InputError(file, name, type(thing).__name__, "a torch.nn.Module, or a class or function that makes one")
    return thing


def _split(text: str) -> tuple[str, str]:
    """File and name of "FILE.py:NAME"."""
    file, _, name = text.rpartition(":")
    if not file or not name:
        raise InputError("rule", "name", repr(text), "FILE.py:NAME")
    if not Path(file).is_file():
        raise InputError(file, "file", "no such file", "a Python file that exists")
    return file, name


def _has_checkpoints(path: Path) -> bool:
    """Whether there are checkpoints, with or without the run that saved them."""
    patterns = ("manifest.json", "step-*/manifest.json", "checkpoints/step-*/manifest.json")
    return any(any(path.glob(pattern)) for pattern in patterns)


def _require_in_zoo(name: str) -> None:
    if name not in zoo():
        raise InputError("zoo", "rule", repr(name), (", ".join(zoo()) or "none shipped yet") + nearest(name, zoo()))


def _from_zoo(name: str) -> "Rule":
    from safetensors.torch import load as load_tensors

    folder = resources.files("nca3d") / "zoo"
    card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    tensors = load_tensors((folder / f"{name}.safetensors").read_bytes())
    return _build(f"{ZOO}{name}", card.pop("rule"), tensors, card)


def _from_checkpoint(path: Path) -> "Rule":
    from nca3d import checkpoint

    saved = checkpoint.load(path)
    card = saved.scalars["card"]
    if isinstance(card.get("target"), str):
        card["target"] = moved(card["target"], saved.path.parents[1])
    return _build(saved.path, saved.scalars["rule"], saved.groups["rule"], card)


def _build(where: object, rule_record: dict[str, Any], tensors: dict[str, Any], card: dict[str, Any]) -> "Rule":
    from nca3d.rules import RULES

    try:
        rule: Rule = RULES.find(rule_record["name"], where, "rule")(**rule_record["options"])
        rule.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(where, "rule", error, "weights that fit the rule that the checkpoint describes") from error
    rule.card = card
    return rule.eval()
