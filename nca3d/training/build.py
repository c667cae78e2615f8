"""Makes the rule that a config describes, and chooses where it and its pool lie, and whether its step is compiled."""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch

from nca3d.config import FIELDS, Config
from nca3d.config.regimes import SHAPES
from nca3d.errors import ArgumentError, InputError, nearest
from nca3d.executors.torch_compile import compile_step
from nca3d.ranks import current
from nca3d.registry import accepted_arguments, constructor_arguments, searched
from nca3d.rollout import rollout
from nca3d.rules import RULES
from nca3d.rules.cell import Rule
from nca3d.rules.rebuild import check_same_tensors
from nca3d.rules.widen import only_wider, widen
from nca3d.schema.spec import as_text, toml
from nca3d.training.precision import autocast
from nca3d.training.task import Task

# Arguments of rules that follow from other fields of a config, so `rule_options` may not set them.
FOLLOWING = {"size", "embedding", "generator", "fire_rate", "step_size", "ranks"}
# Arguments of rules that say nothing of the shapes of their weights, and those that have flags of their own.
SHAPELESS = {"fire_rate", "step_size", "alive_threshold", "padding", "dropout"}
# What the shapes of a rule's tensors follow from, for errors.
SHAPED_BY = "this config asks (channels, hidden, perception)"
FLAGS = {"channels", "hidden", "perception", "code"}
# The share of a device's free memory that a pool may take before it goes to the host's.
POOL_SHARE = 0.25


def build_rule(config: Config, **options: object) -> Rule:
    """Returns a fresh rule, or one with the weights of the rule that `init` names, widened where more units are asked for.

    Args:
        config: names the rule; its `rule_options` win over `options`.
        **options: the task's options; those that the rule does not take are left out.

    Raises:
        InputError: the rule does not take some of `rule_options`, or the `init` rule has other shapes.
    """
    make = check_rule_options(config)
    options = {
        **options,
        "fire_rate": config.fire_rate,
        "step_size": config.step_size,
        "generator": torch.Generator().manual_seed(config.random_seed),
    }
    try:
        rule: Rule = make(**{**accepted_arguments(make, options), **config.rule_options})
    # A rule's own complaint is passed on with the field that it is about.
    except ArgumentError as error:
        own = error.field in FIELDS and error.field not in config.rule_options
        field = error.field if own else f"rule_options: {error.field}"
        raise InputError("config", field, error.found, error.allowed) from error
    except (TypeError, ValueError) as error:
        raise InputError("config", "rule_options", error, f"the arguments of rule {config.rule!r}") from error
    # Checked now, not after hours of training: what a checkpoint saves of the rule must be enough to make it again.
    try:
        inspect.signature(make).bind(**rule_record(rule, config.rule)["options"])
    except TypeError as error:
        raise InputError(
            "config", "rule", f"{config.rule!r}: {error}", "a rule whose spec() names its constructor's arguments"
        ) from None
    if config.init:
        # Imported here: `load` is above this module, and needed for `init` alone.
        from nca3d.load import load_data

        source = load_data(config.init)
        if only_wider(source, rule):
            widen(source, rule)
        else:
            _check_init(config.init, source, rule)
            rule.load_state_dict(source.state_dict())
    return rule


def widened_note(config: Config, rule: Rule) -> str:
    """Returns what a run that begins says of a rule that is wider than the one that `init` names; "" for nothing."""
    if not config.init:
        return ""
    # Imported here, as above.
    from nca3d.load import load_data

    old, new = (one.spec().get("hidden") for one in (load_data(config.init), rule))
    if old == new:
        return ""
    units = f"from {_words(old)} to {_words(new)} units"
    return f"config: init: {config.init} is widened {units}, which do as before until the new ones have learnt"


def shaped(config: Config) -> Config:
    """Returns the config with the shapes of the rule that `init` names, where it leaves them open.

    Args:
        config: the experiment; `hidden`, `perception` and `code` may be "auto".

    Raises:
        InputError: there is no such rule, or it can't be read.
    """
    left = config.open_fields & SHAPES
    if not config.init or not left:
        return config
    from nca3d.load import load_data

    # A rule without a code has none of length 0; a rule of another kind may have none of these.
    found = {"code": 0, **load_data(config.init).spec()}
    return config.replace(**{name: found[name] for name in left if name in found})


def check_rule_options(config: Config) -> Callable[..., Rule]:
    """Returns what makes the rule that a config names, after a look at the options that it is given.

    Args:
        config: `rule` and `rule_options`.

    Raises:
        InputError: there is no such rule, or it does not take some of the options.
    """
    # A class or a function; users may register either.
    make: Callable[..., Rule] = RULES.find(config.rule, hint=searched(config.plugins))
    # None: the constructor takes any keyword, so nothing can be checked.
    names = constructor_arguments(make)
    # Wrong options are refused by name, before the constructor fails with a message of its own.
    for name in config.rule_options:
        if name in FOLLOWING:
            raise InputError("config", "rule_options", name, "options of the rule alone: this one follows from other fields")
        if names is not None and name not in names:
            allowed = f"{', '.join(sorted(names - FOLLOWING))}{nearest(name, names - FOLLOWING)}"
            raise InputError("config", "rule_options", repr(name), allowed)
    return make


def _check_init(name: str, source: Rule, rule: Rule) -> None:
    """Checks that a rule can begin with the weights of another one.

    Args:
        name: the other rule, as `init` names it.
        source: the other rule.
        rule: the rule that the config describes.

    Raises:
        InputError: their shapes differ; the line has all that differs in what they were built with, and what to set.
    """
    shapes = [{key: tensor.shape for key, tensor in one.state_dict().items()} for one in (source, rule)]
    if shapes[0] == shapes[1]:
        return
    if source.conditions and rule.conditions and len(source.conditions) != len(rule.conditions):
        found = f"a rule of {len(source.conditions)} bodies, {', '.join(source.conditions)}"
        raise InputError(name, "init", found, f"one of {len(rule.conditions)}, or as many targets, whatever they are called")
    if bool(source.conditions) != bool(rule.conditions):
        found = f"a rule of {len(source.conditions)} bodies" if source.conditions else "a rule of one body"
        raise InputError(name, "init", found, "one of several" if rule.conditions else "one of one body, or several targets")
    theirs, ours = ({"rule": type(one).__name__, **one.spec()} for one in (source, rule))
    # What shapes don't depend on, such as the fire rate, may differ.
    differ = [key for key in theirs if key not in SHAPELESS and theirs[key] != ours.get(key)]
    if not differ:
        check_same_tensors(name, "init", source.state_dict(), rule.state_dict(), SHAPED_BY)
    found = ", ".join(f"{key} = {toml(theirs[key])}" for key in differ)
    asked = ", ".join(f"{key} = {toml(ours[key]) if key in ours else 'none'}" for key in differ)
    flags = [f"--{key} {_words(theirs[key])}" for key in differ if key in FLAGS]
    ways = [f"set {' '.join(flags)}"] if flags else []
    # What is visible follows from the target, so there is no flag for it; of classes, one is the empty one.
    if {"visible", "visible_kind"} & set(differ):
        ways.append("choose a target " + ("in colours" if source.visible_kind == "rgb" else f"of {source.visible - 1} classes"))
    # A code makes the rule another kind by itself.
    if "rule" in differ and "code" not in differ:
        ways.append("choose the same kind of rule")
    way = " and ".join(ways) or "choose a rule of these shapes"
    raise InputError(name, "init", found, f"{asked}, as this config asks, or {way}")


def _words(value: object) -> str:
    """Returns a value as words after a flag."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def rule_record(rule: Rule, preferred: str) -> dict[str, Any]:
    """Returns what it takes to make the rule again: its `name` in `RULES` and the `options` of its constructor.

    Args:
        rule: any rule.
        preferred: the name to record if it is one of the names of the rule's class, or if the class has none.
    """
    names = [name for name in RULES if RULES[name] is type(rule)]
    name = preferred if preferred in names or not names else names[0]
    return {"name": name, "options": accepted_arguments(RULES.get(name, type(rule)), rule.spec())}


def check_rule_record(where: object, saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Checks that a checkpoint's record of its rule is of the rule that goes on; numbers may be others now, such as fire_rate.

    Args:
        where: the checkpoint, for the message.
        saved: its record.
        own: the record of the rule that goes on.

    Raises:
        InputError: it names another rule, or an option that this rule doesn't have or that is of another type.
    """
    if saved["name"] != own["name"]:
        raise InputError(where, "rule.name", repr(saved["name"]), f"{own['name']!r}, as this config asks")
    if not isinstance(saved["options"], Mapping):
        raise InputError(where, "rule.options", as_text(saved["options"]), "a table")
    for name, value in saved["options"].items():
        if name not in own["options"]:
            raise InputError(where, f"rule.options.{name}", "an unknown option", ", ".join(own["options"]))
        mine = own["options"][name]
        if _kind(value) != _kind(mine) and not (value is None or mine is None):
            raise InputError(where, f"rule.options.{name}", as_text(value), f"{_kind(mine)}, such as {as_text(mine)}")


def _kind(value: object) -> str:
    """Returns what JSON calls a value."""
    if isinstance(value, bool):
        return "true or false"
    names = {int: "a number", float: "a number", str: "a text", list: "a list", tuple: "a list", dict: "a table"}
    return names.get(type(value), "a value")


def choose_device(config: Config) -> torch.device:
    """Returns the device that the config names; "auto" takes CUDA where there is one.

    Raises:
        InputError: the config asks for "cuda", and there is no CUDA device.
    """
    if config.device in ("auto", "cuda") and torch.cuda.is_available() and current().size > 1:
        # Each process of a machine has a device of its own.
        device = torch.device("cuda", current().local % torch.cuda.device_count())
        torch.cuda.set_device(device)
        return device
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("config", "device", "'cuda', and torch sees no CUDA device", "cpu, auto")
    return torch.device(config.device)


def choose_pool_device(config: Config, device: torch.device, needed: int) -> torch.device:
    """Returns where the pool lies. Numbers are the same wherever that is: states are ranked and damaged where the rule runs.

    Args:
        config: `pool_device`; "auto" = on the device, unless the pool would take too much of what is free there.
        device: where the rule runs.
        needed: the bytes of the pool.
    """
    if device.type == "cpu" or config.pool_device == "host":
        return torch.device("cpu")
    if config.pool_device == "device" or needed <= POOL_SHARE * torch.cuda.mem_get_info(device)[0]:
        return device
    return torch.device("cpu")


def compile_rule(config: Config, task: Task[Any], rule: Rule) -> None:
    """Compiles the step of a rule where the config asks for it, and runs it once, so that failures show before training.

    Args:
        config: `compile`, and the shapes of a batch.
        task: what the rule is trained for.
        rule: the rule; nothing of it is changed.

    Raises:
        InputError: the rule has no step of its own, so that nothing of it would be compiled.
    """
    if not config.compile:
        return
    compile_step(rule)
    print("compile: the step of this rule is being compiled, which takes seconds to a minute", file=sys.stderr)
    device = next(rule.parameters()).device
    ids = torch.arange(config.batch // config.accumulate, device=device)
    states = task.seed(rule)[:1].to(device).expand(len(ids), -1, -1, -1, -1)
    for with_grad in (False, True):
        with torch.set_grad_enabled(with_grad), autocast(config, device):
            goal = task.subset(task.draw(1, torch.zeros(len(ids), dtype=torch.int64)), ids)
            inputs = task.inputs(rule, goal)
            # Two steps: the second one has a gradient to pass on to the first, which is another graph.
            last = rollout(rule, states, 2, inputs=inputs, condition=task.condition(goal), executor="dense", memory="keep")
    if last.requires_grad:
        last.sum().backward()
    rule.zero_grad(set_to_none=True)
