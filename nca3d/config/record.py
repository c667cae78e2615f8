"""One experiment in one frozen record: `Config`. All errors are shown together, one line each. No torch here."""

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from nca3d.config import shipped
from nca3d.config.fields import Body, Shared
from nca3d.config.regimes import REGIMES, Regime
from nca3d.config.schema import Spec, converted, shown, toml
from nca3d.errors import InputError, InputErrors, nearest
from nca3d.files import write_atomic
from nca3d.registry import wing_entries

# The fields by the table of a file in which they stand; "" = at its top.
TABLES: dict[str, Any] = {"": Shared, "body": Body, **{name: late.load() for name, late in wing_entries("table").items()}}


def _specs() -> dict[str, Spec]:
    specs: dict[str, Spec] = {}
    for table, fields in TABLES.items():
        group, hints = "", get_type_hints(fields)
        for entry in dataclasses.fields(fields):
            spec: Spec = entry.metadata["spec"]
            group = spec.group or group
            specs[entry.name] = dataclasses.replace(spec, group=group, table=table, hint=hints[entry.name])
    return specs


FIELDS: dict[str, Spec] = _specs()


@dataclass(frozen=True)
class Config(Body, Shared):
    """Everything that decides a run. Lists become tuples; every value is checked when the record is made.

    Fields of other wings are attributes too. A field that the regime doesn't use is refused, unless it has its default
    (a whole record can be given); a file may not even name it.

    Raises:
        InputErrors: all the fields that are wrong, one line each.
    """

    if not TYPE_CHECKING:  # the checker sees the fields of `Shared` and `Body`

        def __init__(self, **values: Any) -> None:
            vars(self).update(_checked(values, "Config", defaults_stand=True))  # a frozen record refuses to be set one by one

    def __repr__(self) -> str:
        own = (f"{name}={value!r}" for name, value in self._values().items() if value != FIELDS[name].default)
        return f"Config({', '.join(own)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in FIELDS}

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> "Config":
        """The config in a TOML file, or a shipped one by its name (`nca3d.config.shipped.names()`).

        Raises:
            InputError: whatever is wrong with the file, or with any of its fields.
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
        """A config from plain values, as a file has them.

        Args:
            raw: fields by name, those of a table in it or, as version 0.1.0 wrote them, beside the others; what stands there
                and isn't used in this regime takes its default.
            where: their source, for errors.
            places: the source of single fields, such as a flag.
            over: fields that go before those of `raw`.

        Raises:
            InputErrors: all unknown, mistyped, out-of-range, unused and contradictory fields.
        """
        values, forgiven, errors = _flat(raw, where)
        return _made({**values, **(over or {})}, forgiven - (places or {}).keys(), errors, where, places or {})

    def replace(self, **changes: object) -> "Config":
        """A copy with some fields changed, checked again; what a new regime doesn't use takes its default."""
        return _made({**self._values(), **changes}, FIELDS.keys() - changes.keys(), [], "Config.replace", {})

    def to_toml(self) -> str:
        """The config as TOML with a comment a field, those of its table below; reading it back gives an equal config."""
        lines: list[str] = []
        for table in ("", self.kind.table):
            group, part = "", [(name, spec) for name, spec in FIELDS.items() if spec.table == table]
            lines += ["", f"[{table}]"] if table else []
            for name, spec in part:
                if spec.group != group:
                    group = spec.group
                    lines += ["", f"# {group}"]
                choices = f" [{', '.join(spec.choices)}]" if spec.choices else ""
                lines.append(f"{f'{name} = {toml(getattr(self, name))}':<40}  # {spec.doc}{choices}")
        return "\n".join(lines[1:]) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_toml()` to a file."""
        write_atomic(Path(path), self.to_toml().encode())

    def require_known(self, name: str, known: Iterable[str], where: str = "config") -> None:
        """Check the names in field `name` (damages, losses, rule) against a registry, once plugins have added theirs.

        Raises:
            InputErrors: a line for each name that is not in `known`, with the nearest one.
        """
        value, known = getattr(self, name), sorted(known)
        asked = [value] if isinstance(value, str) else list(value)
        unknown = [word for word in asked if word not in known]
        if unknown:
            raise InputErrors(InputError(where, name, repr(word), ", ".join(known) + nearest(word, known)) for word in unknown)

    def anchored(self) -> "Config":
        """A copy whose relative paths are absolute, so that a run can be gone on with and evaluated from any folder."""

        def absolute(value: Any, kind: str) -> Any:
            if isinstance(value, tuple):
                return tuple(absolute(entry, kind) for entry in value)
            there = Path(value).is_dir() if kind == "folder" else bool(Path(value).suffix) and Path(value).is_file()
            return str(Path(value).absolute()) if value and there else value

        changes = {name: absolute(getattr(self, name), spec.path) for name, spec in FIELDS.items() if spec.path}
        return self.replace(**{name: value for name, value in changes.items() if value != getattr(self, name)})

    @property
    def kind(self) -> Regime:
        """What the regime asks."""
        return REGIMES.find(self.regime)

    @property
    def steps_range(self) -> tuple[int, int]:
        """The full range of steps of a training rollout, "auto" resolved from the lattice size."""
        return self.kind.steps(self) if isinstance(self.steps, str) else self.steps

    def channels_for(self, visible: int) -> int:
        """The channels of a rule with so many visible ones: "auto" leaves at least eight hidden ones."""
        return max(16, visible + 1 + 8) if isinstance(self.channels, str) else self.channels

    @property
    def horizon(self) -> int:
        """The upper end of the range of training steps: the age at which a body is judged grown."""
        return self.steps_range[1]


def _flat(raw: Any, where: str) -> tuple[dict[Any, Any], set[Any], list[InputError]]:
    """Fields by name, those that stand at the top whatever table they belong to, and what is wrong with the tables."""
    if not isinstance(raw, Mapping):
        return {}, set(), [InputError(where, "config", f"a {type(raw).__name__}", "a table of fields")]
    values = {name: value for name, value in raw.items() if name not in TABLES or not name}
    beside, errors = set(values), []
    for table in (name for name in TABLES if name and name in raw):
        if not isinstance(raw[table], Mapping):
            errors.append(InputError(where, table, shown(raw[table]), "a table of fields"))
            continue
        for name, value in raw[table].items():
            if name in values:
                place = f"{table}.{shipped.one_line(str(name))}"
                errors.append(InputError(where, place, "a field that stands at the top too", "it once"))
            elif name in FIELDS and FIELDS[name].table != table:
                home = f"in [{FIELDS[name].table}]" if FIELDS[name].table else "at the top of the file"
                errors.append(InputError(where, f"{table}.{name}", "a field of another table", f"it {home}"))
            else:
                values[name] = value
    return values, beside, errors


def _made(
    values: Mapping[Any, Any], forgiven: Collection[Any], errors: list[InputError], where: str, places: Mapping[str, str]
) -> Config:
    config = object.__new__(Config)
    vars(config).update(_checked(values, where, places, forgiven, errors))
    return config


def _checked(
    raw: Mapping[Any, Any],
    where: str,
    places: Mapping[str, str] | None = None,
    forgiven: Collection[Any] = (),
    errors: Iterable[InputError] = (),
    defaults_stand: bool = False,
) -> dict[str, Any]:
    """All fields converted to their declared types; every error is collected before any is raised."""
    places, errors, values = places or {}, list(errors), {}
    for name, value in raw.items():
        place, spec = places.get(name, where), FIELDS.get(name) if isinstance(name, str) else None
        if spec is None:
            hint = nearest(str(name), FIELDS) or "; nca3d train --help lists them"
            errors.append(InputError(place, shipped.one_line(str(name)), "an unknown field", f"a field of Config{hint}"))
            continue
        try:
            values[name] = converted(value, spec)
        except (ValueError, TypeError, OverflowError):
            hint = nearest(value, (*spec.choices, *spec.words)) if isinstance(value, str) else ""
            errors.append(InputError(place, name, shown(value), spec.allowed + hint))
    wrong = raw.keys() - values.keys()
    whole = {name: values.get(name, _default(spec)) for name, spec in FIELDS.items()}
    regime = whole["regime"]
    for name in () if "regime" in wrong else list(values):
        spec = FIELDS[name]
        if spec.table in ("", REGIMES[regime].table):
            continue
        needless = (defaults_stand or name in places) and values[name] == spec.default
        if name not in forgiven and not needless:
            users = ", ".join(other for other in REGIMES if REGIMES[other].table == spec.table)
            errors.append(InputError(places.get(name, where), name, shown(values[name]), f"it where regime is one of {users}"))
        whole[name] = _default(spec)
    for names, allowed in _contradictions(whole):
        if not wrong & set(names):  # a field that is wrong already is not spoken of twice
            place = next((places[name] for name in names if name in places), where)
            errors.append(InputError(place, names[0], shown(whole[names[0]]), allowed))
    if errors:
        raise InputErrors(errors)
    return whole


def _default(spec: Spec) -> Any:
    return dict(spec.default) if isinstance(spec.default, dict) else spec.default


def _contradictions(values: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
    """Fields that are fine alone and not together: the one to change first, then those that it depends on."""
    batch, pool_size, regime = values["batch"], values["pool_size"], REGIMES[values["regime"]]
    if regime.pooled and batch > pool_size:
        yield ("batch", "pool_size", "regime"), f"at most pool_size = {pool_size}"
    if regime.damaging and values["damage_count"] > batch - 1:
        yield ("damage_count", "batch", "regime"), f"at most batch - 1 = {batch - 1} (one is always a fresh seed)"
    if regime.damaging and values["damage_count"] and not values["damages"]:
        yield ("damages", "damage_count", "regime"), "at least one kind, or damage_count = 0"
    if batch % values["accumulate"]:
        yield ("accumulate", "batch"), f"a divisor of batch = {batch}"
    for name in REGIMES:
        yield from REGIMES[name].contradictions(values)
    if values["schedule"] == "step" and not values["milestones"]:
        yield ("milestones", "schedule"), "at least one share for schedule = step"
