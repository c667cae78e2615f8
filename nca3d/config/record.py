"""One experiment as one frozen record, `Config`. All errors are shown together, one line each. No torch here."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nca3d.config import shipped
from nca3d.config.checked import FIELDS, checked, flat, sized
from nca3d.config.fields import Body, Shared
from nca3d.config.regimes import REGIMES, Regime
from nca3d.config.several import Several
from nca3d.errors import InputError, InputErrors, nearest
from nca3d.files import names_path, write_atomic
from nca3d.registry import searched
from nca3d.schema.spec import AUTO, toml


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
            vars(self).update(sized(checked(values, "Config", defaults_allowed=True)), _plugins_from=None)

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
        values, tolerated, errors = flat(raw, where)
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
    vars(config).update(sized(checked(values, where, places, tolerated, errors)), _plugins_from=plugins_from)
    return config
