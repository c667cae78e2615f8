"""Config fields as command-line flags: their `--help`, their text turned into values, and the config that comes of it.

Standard argparse rather than a config library, so that file and flags share one validator and one form of error.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterable
from typing import Any

from nca3d.config import FIELDS, Config
from nca3d.config import shipped as configs
from nca3d.config.schema import Spec, toml
from nca3d.errors import InputError, InputErrors
from nca3d.load import CONFIG, run_folder


def flag_of(name: str) -> str:
    """learning_rate -> --learning-rate."""
    return f"--{name.replace('_', '-')}"


def add_fields(parser: argparse.ArgumentParser, names: Iterable[str] = FIELDS) -> None:
    """A flag for each of these config fields, in the groups that a config file has."""
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
    elif spec.count is not None:
        low, high = spec.count
        shape["nargs"] = low if low == high and not spec.words else "+" if low else "*"
    text = f"{spec.doc} (default: {toml(spec.default)})".replace("%", "%%")
    # not SUPPRESS: argparse would then show no default of its own, but BooleanOptionalAction adds "(default: None)"
    group.add_argument(flag_of(name), dest=f"field_{name}", default=argparse.SUPPRESS, help=text, **shape)


def read_flags(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str], list[InputError]]:
    """The fields that flags gave, the flag that each came from, and an error for each table that can't be read."""
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    errors: list[InputError] = []
    for name, spec in FIELDS.items():
        given = getattr(args, f"field_{name}", None)
        if given is None:
            continue
        places[name] = flag_of(name)
        if not spec.is_table:
            values[name] = _value(given, spec)
        elif all(text.partition("=")[0] and "=" in text for text in given):
            values[name] = dict(_entry(text) for text in given)
        else:
            errors.append(InputError(places[name], name, " ".join(given), "NAME=VALUE, as often as needed"))
    return values, places, errors


def _value(given: Any, spec: Spec) -> Any:
    """Text in the field's type; what does not convert stays text, for the validator to complain of."""
    if isinstance(given, list):
        return given[0] if len(given) == 1 and given[0] in spec.words else [_value(text, spec) for text in given]
    try:
        return spec.item(given) if spec.item in (int, float) and given not in spec.words else given
    except ValueError:
        return given


def _entry(text: str) -> tuple[str, Any]:
    """`margin=2` as ("margin", 2): the value is read as TOML if it is some, and is text otherwise."""
    name, _, value = text.partition("=")
    try:
        read = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        return name, value
    plain = read.keys() == {"value"} and isinstance(read["value"], str | int | float | list | dict)
    return name, read["value"] if plain else value


def config_from(args: argparse.Namespace) -> Config:
    """The config that file and flags make together; a flag replaces the file's value.

    Raises:
        InputErrors: everything that is wrong in both, each line with the file or flag that it came from.
    """
    values, places, errors = read_flags(args)
    raw: dict[str, Any] = {}
    where = "command line"
    try:
        if args.resume and args.config:
            raise InputError("--resume", "CONFIG", args.config, "none: the config of a resumed run lies in its folder")
        if args.resume and "out" in values:
            raise InputError("--resume", "--out", values["out"], "none: a resumed run stays in its folder")
        raw, where = configs.read(run_folder(args.resume) / CONFIG if args.resume else args.config or "quick")
    except InputError as error:
        errors.append(error)
    try:
        config = Config.from_dict(raw, where, places, over=values)
    except InputErrors as wrong:
        errors += wrong.errors
    if errors:
        raise InputErrors(errors)
    return config
