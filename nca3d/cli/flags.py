"""Config fields as command-line flags: their `--help`, their text turned into values, and the config that comes of it.

Standard argparse rather than a config library, so that file and flags share one validator and one form of error. Numbers and
files that other flags name are looked at here too, before torch takes its seconds to load.
"""

import argparse
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nca3d.config import FIELDS, Config, shipped
from nca3d.config.words import plain_value
from nca3d.errors import ErrorCollector, InputError, InputErrors
from nca3d.files import odd, unwritable
from nca3d.load import CONFIG, RuleRef, run_folder
from nca3d.schema.spec import Spec, toml

# Random seeds that can be given: fire masks hash 32-bit numbers.
SEEDS = (0, 2**32 - 1)
# The name of a file that means stdout. /dev/stdout is no file: it is a link, and those are not followed.
STDOUT = "-"


def add_fields(parser: argparse.ArgumentParser, names: Iterable[str] = FIELDS) -> None:
    """Adds a flag for each of these config fields, in the groups that a config file has."""
    groups: dict[str, Any] = {}
    for name in names:
        spec = FIELDS[name]
        if spec.group not in groups:
            groups[spec.group] = parser.add_argument_group(spec.group)
        _add(groups[spec.group], name, spec)


def _add(group: Any, name: str, spec: Spec) -> None:
    shape: dict[str, Any] = {"metavar": {int: "N", float: "X"}.get(spec.item, "TEXT")}
    if spec.item is bool:
        shape = {"action": argparse.BooleanOptionalAction}
    elif spec.choices:
        shape = {"metavar": "|".join(spec.choices)}
    elif spec.is_table:
        shape = {"nargs": "*", "metavar": "NAME=VALUE"}
    elif spec.alone:
        # One a flag: a flag that takes several would swallow what stands behind it.
        shape["action"] = "append"
    elif spec.count is not None:
        low, high = spec.count
        shape["nargs"] = low if low == high else "+" if low else "*"
    text = f"{spec.doc} (default: {toml(spec.default)})".replace("%", "%%")
    # not SUPPRESS: argparse would then show no default of its own, but BooleanOptionalAction adds "(default: None)"
    action = group.add_argument(flag_of(name), dest=f"field_{name}", default=argparse.SUPPRESS, help=text, **shape)
    # What may stand for all its values, see `Parser.read`.
    action.words = spec.words


def add_rule(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name a rule, the body that it should grow, and how it is run."""
    parser.add_argument(
        "run", metavar="RUN", help="a run folder, one of its checkpoints, zoo:NAME, or FILE.py:NAME for a rule of one's own"
    )
    parser.add_argument("--condition", metavar="NAME", help="of a rule of several bodies, the one that is meant")
    add_fields(parser, ("target", "size", "target_options", "executor", "plugins"))


def rule_of(args: argparse.Namespace, fields: Mapping[str, Any]) -> RuleRef:
    """Returns the rule that the flags name, with the body that these fields give it (see `read_flags`).

    Raises:
        InputError: There is no such rule, or several bodies are given.
    """
    if isinstance(target := fields.get("target"), list | tuple):
        raise InputError("--target", "target", ", ".join(target), "one body")
    given = {name: fields.get(name) for name in ("target", "size", "target_options", "plugins")}
    return RuleRef(args.run, condition=args.condition, **given)


def plugins_of(args: argparse.Namespace) -> list[str] | None:
    """Returns the plug-ins that the caller names; None = he leaves them to the run, which needs them confirmed."""
    given: list[str] | None = getattr(args, "field_plugins", None)
    return given


def read_flags(args: argparse.Namespace, errors: ErrorCollector) -> dict[str, Any]:
    """Returns the fields that flags gave, each checked as in a file; none if any is wrong, which is added to `errors`."""
    values, places = _given(args, errors)
    return {} if errors.of(Config.from_dict, values, "flags", places) is None else values


def config_from(args: argparse.Namespace) -> Config:
    """Returns the config that file and flags make together; a flag replaces the file's value.

    Raises:
        InputErrors: everything that is wrong in both, each line with the file or flag that it came from.
    """
    with ErrorCollector() as errors:
        values, places = _given(args, errors)
        moved = bool(args.resume and "out" in values)
        errors.add(moved, "--resume", "--out", values.get("out"), "none: a resumed run stays in its folder")
        source: str | Path | None = args.config or "default"
        if args.resume and args.config:
            errors.add(True, "--resume", "CONFIG", args.config, "none: the config of a resumed run lies in its folder")
            source = None
        elif args.resume:
            folder = errors.of(run_folder, args.resume)
            source = folder and folder / CONFIG
        raw = errors.of(shipped.read, source) if source else None
        config = errors.of(Config.from_dict, *(raw or ({}, "command line")), places, over=values)
    assert config is not None  # else its errors were raised
    return config


@contextlib.contextmanager
def named(args: argparse.Namespace) -> Iterator[None]:
    """A context in which errors of "config" name the flag, or the file, that the field came from.

    Raises:
        InputErrors: what was raised within, with other places.
    """
    try:
        yield
    except InputError as error:
        raise InputErrors(_placed(one, args) for one in error.errors) from None


def _placed(error: InputError, args: argparse.Namespace) -> InputError:
    """Returns an error with the flag or the file that its field came from."""
    if error.where != "config":
        return error
    given = getattr(args, f"field_{error.field}", None) is not None
    file = Path(args.resume) / CONFIG if args.resume else args.config
    return InputError(flag_of(error.field) if given else file or "config", error.field, error.found, error.allowed)


def _given(args: argparse.Namespace, errors: ErrorCollector) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the fields that flags gave, and the flag that each came from."""
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for name, spec in FIELDS.items():
        given = getattr(args, f"field_{name}", None)
        if given is None:
            continue
        places[name] = flag_of(name)
        if not spec.is_table:
            values[name] = _value(given, spec)
            continue
        keys = [text.partition("=")[0] for text in given]
        twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
        if not all(keys) or not all("=" in text for text in given):
            errors.add(True, places[name], name, " ".join(given), "NAME=VALUE, as often as needed")
        elif twice:  # as in a file: one of the two would count, and nobody knows which
            errors.add(True, places[name], name, " ".join(given), f"{', '.join(twice)} once")
        else:
            values[name] = dict(_entry(text) for text in given)
    return values, places


def _value(given: object, spec: Spec) -> object:
    """Converts text to the field's type; what does not convert stays text, for the validator to complain of."""
    if isinstance(given, list) and spec.alone:
        return given[0] if len(given) == 1 else given
    if isinstance(given, list):
        return given[0] if len(set(given)) == 1 and given[0] in spec.words else [_value(text, spec) for text in given]
    try:
        return spec.item(given) if spec.item in (int, float) and given not in spec.words else given
    except ValueError:
        return given


def _entry(text: str) -> tuple[str, Any]:
    """Splits `margin=2` into ("margin", 2); the value is read as TOML if it is some, and is text otherwise."""
    name, _, value = text.partition("=")
    return name, plain_value(value)


def flag_of(name: str) -> str:
    """Returns the flag of a config field: `learning_rate` has `--learning-rate`."""
    return f"--{name.replace('_', '-')}"


def wrong_numbers(args: argparse.Namespace, **ranges: tuple[float, float | None]) -> Iterator[InputError]:
    """Yields an error for each flag out of its range, name=(low, high), both inclusive; high None = no bound."""
    for name, (low, high) in ranges.items():
        value = getattr(args, name)
        if value is not None and not (low <= value and (high is None or value <= high)):
            between, highest = " .. " if isinstance(low, int) else " to ", "2**32 - 1" if high == SEEDS[1] else high
            yield InputError(flag_of(name), "number", value, f"{low} or more" if high is None else f"{low}{between}{highest}")


def wrong_text(flag: str, name: str | None) -> Iterator[InputError]:
    """Yields an error if a file of text can't be written; "-" means stdout."""
    return wrong_file(flag, None if name is None or name == STDOUT else Path(name), may=f", or {STDOUT} for stdout")


def wrong_file(flag: str, file: Path | None, *, may: str = "") -> Iterator[InputError]:
    """Yields an error if a file can't be written, or is a link, a pipe, a device, …; `may` says what else would do."""
    if file is not None and (found := odd(file)) not in ("", "a folder"):
        yield InputError(flag, "file", f"{file}, which is {found}", f"a file name{may}")
    elif file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        yield InputError(flag, "file", file, f"a file name in a folder that exists{may}")
    elif file is not None:
        yield from _read_only(flag, file)


def wrong_folder(flag: str, folder: Path | None) -> Iterator[InputError]:
    """Yields an error if a folder can't be made or written to; a link to a folder is one."""
    if folder is not None and os.path.lexists(folder) and not folder.is_dir():
        yield InputError(flag, "folder", folder, "a folder, or a name that is free")
    elif folder is not None:
        yield from _read_only(flag, folder)


def require_place(path: Path, flag: str) -> None:
    """Checks that what a run folder gets by default can be written there, before hours of work are done for it.

    Args:
        path: The file or folder beside the run.
        flag: The flag that names another place.

    Raises:
        InputError: It can't.
    """
    for error in _read_only("", path):
        raise InputError(
            path.parent, "folder", "one that can't be written to", f"a writable one, or {flag} and a place that is"
        ) from error


def _read_only(flag: str, path: Path) -> Iterator[InputError]:
    if found := unwritable(path):
        yield InputError(flag, "place", found, "a place that can")
