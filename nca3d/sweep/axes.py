"""What varies from setting to setting: a field with its values, or, for a search, with a range."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from nca3d.config import FIELDS
from nca3d.config.words import plain_value, split_values
from nca3d.errors import ErrorCollector, InputError, nearest
from nca3d.schema.spec import toml

if TYPE_CHECKING:
    from optuna.trial import Trial

VARY = "--vary"
# Fields that a sweep needs itself, each with the way to what may be wanted.
TAKEN = {
    "random_seed": "--seeds N",
    "out": "--out FOLDER, the folder of the sweep: each run has a folder in it",
    "plugins": "--plugins FILE, for all runs: which code is run is not a setting",
}
# A range whose upper end is at least this many times its lower one is searched on a logarithmic scale.
DECADE = 10
_RANGE = re.compile(r"(?P<low>[^.\s][^\s:]*?)\.\.(?P<high>[^\s:]+?)(:(?P<scale>log|linear))?")


@dataclass(frozen=True)
class Choices:
    """A field with the values that it takes.

    Attributes:
        name: the field; an entry of a table of options is TABLE.NAME.
        values: its values, as a file has them.
    """

    name: str
    values: tuple[Any, ...]

    @property
    def probes(self) -> tuple[Any, ...]:
        """The values to check before anything runs: all."""
        return self.values

    def suggest(self, trial: "Trial") -> object:
        """Returns the value of a trial: the one that it was given, else one that the search proposes."""
        # Optuna knows numbers and text; of a list or a table it is shown the TOML.
        shown = {toml(value) if isinstance(value, list | dict) else value: value for value in self.values}
        value: object = shown[trial.suggest_categorical(self.name, list(shown))]
        return value


@dataclass(frozen=True)
class Span:
    """A field with a range, for a search.

    Attributes:
        name: the field; an entry of a table of options is TABLE.NAME.
        low: its least value.
        high: its greatest value.
        log: whether it is searched on a logarithmic scale.
    """

    name: str
    low: float
    high: float
    log: bool

    @property
    def probes(self) -> tuple[Any, ...]:
        """The values to check before anything runs: both ends."""
        return (self.low, self.high)

    def suggest(self, trial: "Trial") -> object:
        """Returns the value of a trial that the search proposes: a whole number if both ends are."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.name, self.low, self.high, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)


Axis = Choices | Span


def read_axes(texts: Sequence[str], *, search: bool) -> list[Axis]:
    """Reads what varies from texts such as `fire_rate=0.3,0.5,1`, `hidden=[64],[128,64]` or `learning_rate=1e-3..1e-2`.

    Args:
        texts: a field with values or a range each.
        search: whether a search chooses, which ranges need.

    Raises:
        InputErrors: a field is unknown, taken or named twice, has no value, one twice, or a range that is none; one line each.
    """
    axes: dict[str, Axis] = {}
    with ErrorCollector() as errors:
        for text in texts:
            name, given, values = text.partition("=")
            if not (name and given and values):
                errors.append(InputError(VARY, "setting", repr(text), "FIELD=VALUE,VALUE,…"))
            elif name in axes:
                errors.append(InputError(VARY, name, "the field twice", "all its values in one place"))
            elif errors.of(_check_name, name) and (axis := errors.of(_axis, name, values, search)) is not None:
                axes[name] = axis
    return list(axes.values())


def _check_name(name: str) -> bool:
    field, dot, entry = name.partition(".")
    if field in TAKEN:
        raise InputError(VARY, field, "a field that can't vary", TAKEN[field])
    if field not in FIELDS:
        raise InputError(VARY, field, "an unknown field", f"a field of nca3d train --help{nearest(field, FIELDS)}")
    if dot and not (FIELDS[field].is_table and entry):
        tables = ", ".join(f"{table}.NAME" for table, spec in FIELDS.items() if spec.is_table)
        raise InputError(VARY, name, "an entry of a field without entries" if entry else "no entry", f"{field}, or {tables}")
    return True


def _axis(name: str, text: str, search: bool) -> Axis:
    if match := _RANGE.fullmatch(text):
        return _span(name, text, match, search)
    values = [plain_value(part) for part in split_values(text)]
    if "" in values:
        raise InputError(VARY, name, repr(text), "values with one comma between them")
    written = [toml(value) for value in values]
    if twice := next((value for value in written if written.count(value) > 1), None):
        raise InputError(VARY, name, f"{twice} twice", "each value once; --seeds N repeats a setting")
    return Choices(name, tuple(values))


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _span(name: str, text: str, match: re.Match[str], search: bool) -> Span:
    spec = FIELDS[name.partition(".")[0]]
    ends = [end for end in map(plain_value, (match["low"], match["high"])) if _is_number(end)]
    single = "." in name or (spec.item in (int, float) and spec.count is None)
    if not (len(ends) == 2 and single and ends[0] < ends[1]):
        raise InputError(VARY, name, repr(text), "LOW..HIGH of a field that is a number, LOW below HIGH")
    low, high = ends
    if not search:
        raise InputError(VARY, name, f"the range {text}", "values for a grid; ranges are for --search tpe or random")
    if match["scale"] == "log" and low <= 0:
        raise InputError(VARY, name, repr(text), "a lower end above 0 on a logarithmic scale")
    if spec.item is float:
        low, high = float(low), float(high)
    log = match["scale"] == "log" if match["scale"] else 0 < DECADE * low <= high
    return Span(name, low, high, log)
