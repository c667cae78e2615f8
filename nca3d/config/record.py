"""One experiment as one frozen record, `Config`. All errors are shown together, one line each. No torch here."""

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from nca3d.config import shipped
from nca3d.config.clashes import clashing
from nca3d.config.devices import device_hint
from nca3d.config.fields import HOMES, NAMED_SIZE, Body, Shared
from nca3d.config.recipe import fitting_batch
from nca3d.config.regimes import REGIMES, Regime
from nca3d.config.several import Several, bodies_in, several_contradictions
from nca3d.errors import InputError, InputErrors, nearest
from nca3d.files import names_path, write_atomic
from nca3d.registry import searched, wing_entries
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


@dataclass(frozen=True)
class Config(Body, Shared):
    """Everything that decides a run. Lists become tuples, and every value is checked when the record is made.

    Fields of other wings are attributes too. A field that the regime doesn't use is refused unless it has its default, so
    that all fields can be passed at once; in a file it is refused in any case.

    Raises:
        InputErrors: fields are wrong; there is one line for each.
    """

    # Type checkers see the fields of `Shared` and `Body` instead.
    if not TYPE_CHECKING:

        def __init__(self, **values: object) -> None:
            # All at once: a frozen record refuses to have its fields set one by one.
            vars(self).update(_sized(_checked(values, "Config", defaults_allowed=True)), _plugins_from=None)

    @property
    def plugins_from(self) -> str | None:
        """The file that names the plug-ins, which then need to be confirmed; None = the caller does (`config/plugins.py`)."""
        source: str | None = vars(self)["_plugins_from"]
        return source

    def __repr__(self) -> str:
        own = (f"{name}={value!r}" for name, value in self._given().items() if value != FIELDS[name].default)
        return f"Config({', '.join(own)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self._values() == other._values()

    # `losses` and the options are dicts, so a config has no hash.
    __hash__ = None  # type: ignore[assignment]

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in FIELDS}

    def _given(self) -> dict[str, Any]:
        # What nobody has set is not set by a copy either: another target may bring its own.
        return {**self._values(), "size": self.given_size, **dict.fromkeys(vars(self)["_open"], AUTO)}

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> "Config":
        """Reads the config in a TOML file, or a shipped one by its name (`nca3d.config.shipped.names()`).

        Raises:
            InputError: something is wrong with the file, or with any of its fields.
        """
        return cls.from_dict(*shipped.read(source))

    @classmethod
    def from_dict(
        cls,
        raw: Mapping[str, object],
        where: str = "config",
        places: Mapping[str, str] | None = None,
        over: Mapping[str, object] | None = None,
    ) -> "Config":
        """Makes a config of plain values, as a file has them.

        Args:
            raw: fields by name. Fields of a table are inside it or, as version 0.1.0 wrote them, at the top; one at the top
                that the regime doesn't use takes its default.
            where: source of the values, for errors.
            places: source of single fields, such as a flag, by name.
            over: fields that override those of `raw`.

        Raises:
            InputErrors: fields are unknown, mistyped, out of range, unused or contradictory.
        """
        values, tolerated, errors = _flat(raw, where)
        # What a flag names, the caller names.
        source = where if "plugins" in values and "plugins" not in (over or {}) else None
        # What a flag sets is meant: it is not tolerated where it has no use.
        return _make({**values, **(over or {})}, tolerated - (places or {}).keys(), errors, where, places or {}, source)

    def replace(self, **changes: object) -> "Config":
        """Returns a copy with some fields changed, checked again; fields that a new regime doesn't use take their defaults.

        Raises:
            InputErrors: fields are wrong; there is one line for each.
        """
        source = None if "plugins" in changes else self.plugins_from
        return _make({**self._given(), **changes}, FIELDS.keys() - changes.keys(), [], "Config.replace", {}, source)

    def plain(self) -> dict[str, object]:
        """Returns the fields that the regime uses by name, as JSON can hold them; `from_dict` reads them."""
        return {name: value for name, value in self._values().items() if FIELDS[name].table in ("", self.kind.table)}

    def to_toml(self) -> str:
        """Returns the config as TOML with a comment for each field; reading it back gives an equal config."""
        lines: list[str] = []
        given = self._given()
        for table in ("", self.kind.table):
            # Only the regime's own table: the others have their defaults.
            group, fields = "", [(name, spec) for name, spec in FIELDS.items() if spec.table == table]
            lines += ["", f"[{table}]"] if table else []
            for name, spec in fields:
                if spec.group != group:
                    group = spec.group
                    lines += ["", f"# {group}"]
                choices = f" [{', '.join(spec.choices)}]" if spec.choices else ""
                lines.append(f"{f'{name} = {toml(given[name])}':<40}  # {spec.doc}{choices}")
        return "\n".join(lines[1:]) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_toml()` to a file, whole or not at all."""
        write_atomic(Path(path), self.to_toml().encode())

    def require_known(self, name: str, known: Iterable[str], where: str = "config") -> None:
        """Checks the names in a field against a registry, once plug-ins have added their own.

        Args:
            name: the field: damages, losses or rule.
            known: the registered names.
            where: source of the config, for errors.

        Raises:
            InputErrors: names are not registered; there is one line for each, with the nearest registered name and the plug-ins
                that were searched.
        """
        value, known = getattr(self, name), sorted(known)
        requested = [value] if isinstance(value, str) else list(value)
        # All unknown names in one go, as for all errors of a config.
        unknown = [word for word in requested if word not in known]
        if unknown:
            hint = searched(self.plugins)
            raise InputErrors(
                InputError(where, name, repr(word), ", ".join(known) + nearest(word, known) + hint) for word in unknown
            )

    def anchored(self) -> "Config":
        """Returns a copy whose relative paths are absolute, so that a run can be resumed and evaluated from any folder."""

        def absolute(value: Any, kind: str) -> Any:
            if isinstance(value, tuple):
                return tuple(absolute(entry, kind) for entry in value)
            # A shipped name such as "frog" stays a name, even beside a file called frog.
            exists = Path(value).is_dir() if kind == "folder" else names_path(value) and Path(value).exists()
            return str(Path(value).absolute()) if value and exists else value

        changes = {name: absolute(getattr(self, name), spec.path) for name, spec in FIELDS.items() if spec.path}
        config = self.replace(**{name: value for name, value in changes.items() if value != getattr(self, name)})
        # Other paths, but named by the same.
        vars(config)["_plugins_from"] = self.plugins_from
        return config

    @property
    def kind(self) -> Regime:
        """The regime's entry in the registry: which task it trains, and with which switches."""
        regime: Regime = REGIMES.find(self.regime)
        # Only bodies have targets: other regimes leave the field at its default.
        return regime if isinstance(self.target, str) else Several.of(regime)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names and files of all bodies that the rule is to grow, one or several."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def given_size(self) -> tuple[int, int, int] | Literal["auto"]:
        """The size as it was given; "auto" also where the target has a name, and `size` is therefore known."""
        given: tuple[int, int, int] | Literal["auto"] = vars(self)["_given_size"]
        return given

    @property
    def open_fields(self) -> frozenset[str]:
        """The fields that follow from a body which is not known yet: they are "auto", and have a fallback till then."""
        names: frozenset[str] = vars(self)["_open"]
        return frozenset(name for name in names if FIELDS[name].table in ("", self.kind.table))

    @property
    def lattice(self) -> tuple[int, int, int]:
        """The size (D, H, W) in numbers.

        Raises:
            InputError: it is "auto" and the target is a file: then `Regime.sized` must read that first.
        """
        if isinstance(self.size, str):
            raise InputError("config", "size", repr(self.size), f"three numbers, as long as {self.target} was not read")
        return self.size

    @property
    def steps_range(self) -> tuple[int, int]:
        """The full range of steps of a training rollout; "auto" is resolved by the regime."""
        return self.kind.steps(self) if isinstance(self.steps, str) else self.steps

    def channels_for(self, visible: int) -> int:
        """Returns how many channels a rule has in all; "auto" is 16, and more if fewer than eight would be hidden.

        Beside a code of classes fifteen are hidden.

        Args:
            visible: how many channels are visible.
        """
        if not isinstance(self.channels, str):
            return self.channels
        return visible + 1 + self.code + 15 if self.code else max(16, visible + 1 + 8)

    @property
    def horizon(self) -> int:
        """The age in steps at which a body is judged grown: the upper end of the range of training steps."""
        return self.steps_range[1]


def _flat(raw: Any, where: str) -> tuple[dict[Any, Any], set[Any], list[InputError]]:
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


def _make(
    values: Mapping[Any, Any],
    tolerated: Collection[Any],
    errors: list[InputError],
    where: str,
    places: Mapping[str, str],
    plugins_from: str | None,
) -> Config:
    """Returns a config without calling its `__init__`, which knows neither sources nor errors found before."""
    config = object.__new__(Config)
    vars(config).update(_sized(_checked(values, where, places, tolerated, errors)), _plugins_from=plugins_from)
    return config


def _sized(values: dict[str, Any]) -> dict[str, Any]:
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


def _checked(
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
