"""From plain values to the fields of a config, converted and checked: all that is wrong at once, a line each. No torch here."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_type_hints

from nca3d.config import shipped
from nca3d.config.clashes import clashing
from nca3d.config.devices import device_hint
from nca3d.config.fields import HOMES, NAMED_SIZE, Body, Shared
from nca3d.config.recipe import fitting_batch
from nca3d.config.regimes import REGIMES
from nca3d.config.several import bodies_in, several_contradictions
from nca3d.errors import InputError, InputErrors, nearest
from nca3d.files import names_path
from nca3d.registry import wing_entries
from nca3d.schema.spec import AUTO, Spec, as_text, converted, toml

# The dataclasses of fields by the table of a file that has them; "" = the top of the file. Wings add their own.
TABLES: dict[str, Any] = {"": Shared, "body": Body, **{name: late.load() for name, late in wing_entries("table").items()}}


def _specs() -> dict[str, Spec]:
    """Returns the fields of all tables by name; their names are unique across tables."""
    specs: dict[str, Spec] = {}
    for table, fields in TABLES.items():
        group, hints = "", get_type_hints(fields)
        for entry in dataclasses.fields(fields):
            spec: Spec = entry.metadata["spec"]
            # A group is named at its first field and holds for those that follow.
            group = spec.group or group
            specs[entry.name] = dataclasses.replace(spec, group=group, table=table, hint=hints[entry.name])
    return specs


# Of how many unknown fields of a file each has a line.
MOST_UNKNOWN = 10
# Every field of a config by its name.
FIELDS: dict[str, Spec] = _specs()


def flat(raw: object, where: str) -> tuple[dict[Any, Any], set[Any], list[InputError]]:
    """Takes the fields out of their tables.

    Returns:
        All fields by name, the names of those at the top (whatever table they belong to), and errors of the tables.
    """
    if not isinstance(raw, Mapping):
        return {}, set(), [InputError(where, "config", f"a {type(raw).__name__}", "a table of fields")]
    values = {name: value for name, value in raw.items() if name not in TABLES or not name}
    at_top, errors = set(values), []
    for table in (name for name in TABLES if name and name in raw):
        if not isinstance(raw[table], Mapping):
            errors.append(InputError(where, table, as_text(raw[table]), "a table of fields"))
            continue
        for name, value in raw[table].items():
            if name in values:
                place = f"{table}.{shipped.one_line(str(name))}"
                errors.append(InputError(where, place, "a field that is at the top too", "one of the two"))
            elif name in FIELDS and FIELDS[name].table != table:
                home = f"under [{FIELDS[name].table}]" if FIELDS[name].table else "at the top of the file"
                errors.append(InputError(where, f"{table}.{name}", "a field of another table", f"the field {home}"))
            else:
                values[name] = value
    return values, at_top, errors


def sized(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields in numbers: a size that is "auto" stays so where a file has to be read first.

    What else is "auto" has its fallback until the body is known.
    """
    target = values["target"]
    named = isinstance(target, str) and not names_path(target)
    size = {"size": HOMES.get(target, NAMED_SIZE)} if named and values["size"] == AUTO else {}
    open_ = _fallbacks(values)
    return {**values, **size, **open_, "_given_size": values["size"], "_open": frozenset(open_)}


def _fallbacks(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fallbacks of those fields that are "auto" and follow from the body; they go with what was set."""
    open_ = {name: spec.fallback for name, spec in FIELDS.items() if spec.fallback is not None and values[name] == AUTO}
    set_ = {**values, **open_}
    if "pool_size" in open_ and "batch" not in open_:
        open_["pool_size"] = max(set_["pool_size"], set_["batch"])
    if "batch" in open_:
        damaged = 0 if "damage_count" in open_ else set_["damage_count"]
        open_["batch"] = fitting_batch(set_["batch"], set_["accumulate"], damaged, set_["pool_size"])
    if "damage_count" in open_:
        open_["damage_count"] = min(set_["damage_count"], {**set_, **open_}["batch"] - 1)
    return open_


def checked(
    raw: Mapping[Any, Any],
    where: str,
    places: Mapping[str, str] | None = None,
    tolerated: Collection[Any] = (),
    errors: Iterable[InputError] = (),
    defaults_allowed: bool = False,
) -> dict[str, Any]:
    """Returns all fields, converted to their declared types; every error is collected before any is raised.

    Args:
        raw: fields by name.
        where: source of the values, for errors.
        places: source of single fields.
        tolerated: fields that take their default without an error where the regime doesn't use them.
        errors: those found before.
        defaults_allowed: whether an unused field may be named as long as it has its default.
    """
    places, errors = places or {}, list(errors)
    values: dict[str, Any] = {}
    errors += _unknown([name for name in raw if not isinstance(name, str) or name not in FIELDS], places, where)
    for name, value in raw.items():
        place, spec = places.get(name, where), FIELDS.get(name) if isinstance(name, str) else None
        if spec is None:
            continue
        try:
            values[name] = converted(value, spec)
        except (ValueError, TypeError, OverflowError):
            hint = nearest(value, (*spec.choices, *spec.words)) if isinstance(value, str) else ""
            hint = device_hint(value) or hint if name == "device" else hint
            errors.append(InputError(place, name, as_text(value), spec.allowed + hint))
    # A folder of bodies stands for all of them.
    if isinstance(target := values.get("target"), str) and names_path(target):
        values["target"] = bodies_in(target)
    elif isinstance(target, tuple):
        each = [bodies_in(one) if names_path(one) else one for one in target]
        values["target"] = tuple(name for one in each for name in ((one,) if isinstance(one, str) else one))
    wrong = raw.keys() - values.keys()
    whole = {name: values.get(name, _default(spec)) for name, spec in FIELDS.items()}
    regime = whole["regime"]
    for name in () if "regime" in wrong else list(values):
        spec = FIELDS[name]
        if spec.table in ("", REGIMES[regime].table):
            continue
        harmless = (defaults_allowed or name in places) and values[name] in (spec.default, spec.fallback)
        if name not in tolerated and not harmless:
            users = ", ".join(other for other in REGIMES if REGIMES[other].table == spec.table)
            only = f"the field only where regime is one of {users}"
            errors.append(InputError(places.get(name, where), name, as_text(values[name]), only))
        whole[name] = _default(spec)
    for names, allowed in _contradictions({**whole, **_fallbacks(whole)}):
        # A field that is wrong already is not reported twice.
        if not wrong & set(names):
            place = next((places[name] for name in names if name in places), where)
            errors.append(InputError(place, names[0], as_text(whole[names[0]]), allowed))
    if errors:
        raise InputErrors(errors)
    return whole


def _unknown(names: list[Any], places: Mapping[str, str], where: str) -> Iterable[InputError]:
    """Yields errors of fields that there are not: the first ten, each with the nearest name, and how many more."""
    for name in names[:MOST_UNKNOWN]:
        hint = nearest(str(name), FIELDS) or "; nca3d train --help lists them"
        yield InputError(places.get(name, where), shipped.one_line(str(name)), "an unknown field", f"a field of Config{hint}")
    if (more := len(names) - MOST_UNKNOWN) > 0:
        allowed = "fields of Config; nca3d train --help lists them"
        yield InputError(where, "fields", f"{more:,} more that are unknown", allowed)


def _default(spec: Spec) -> Any:
    """Returns the default; each config has a dict of its own."""
    return dict(spec.default) if isinstance(spec.default, dict) else spec.default


def _contradictions(values: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
    """Yields fields that are fine alone but not together, the one to change first, and what is allowed."""
    batch, pool_size, regime = values["batch"], values["pool_size"], REGIMES[values["regime"]]
    if regime.pooled and batch > pool_size:
        yield ("batch", "pool_size", "regime"), f"at most pool_size = {pool_size}"
    if regime.damaging and values["damage_count"] > batch - 1:
        yield ("damage_count", "batch", "regime"), f"at most batch - 1 = {batch - 1} (one is always a fresh seed)"
    if regime.damaging and values["damage_count"] and not values["damages"]:
        yield ("damages", "damage_count", "regime"), "at least one kind, or damage_count = 0"
    if values["losses"] and not any(values["losses"].values()):
        yield ("losses",), "at least one weight above 0; without any the default terms of the target's kind"
    # They would be two arguments of one name, of the function that loads a target.
    if taken := {"size", "name_or_path"} & values["target_options"].keys():
        yield ("target_options",), f"options of the target without {', '.join(sorted(taken))}, which has a field of its own"
    if batch % values["accumulate"]:
        yield ("accumulate", "batch"), f"a divisor of batch = {batch}"
    for name in REGIMES:
        yield from REGIMES[name].contradictions(values)
    for name in ("optimizer_in_backward", "block_cells"):
        if values[name] != FIELDS[name].default and not regime.per_cell:
            only = ", ".join(other for other in REGIMES if REGIMES[other].per_cell) or "none that is here"
            yield (name, "regime"), f"{toml(FIELDS[name].default)}, but where rules may have weights per cell: regime {only}"
    yield from clashing(values)
    yield from several_contradictions(values)
    if values["schedule"] == "step" and not values["milestones"]:
        yield ("milestones", "schedule"), "at least one share for schedule = step"
