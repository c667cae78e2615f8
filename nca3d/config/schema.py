"""What one field of a config may hold: strict conversion, the words of an error, TOML text. Imports no torch.

Strict: a bool is no integer, "3" is no 3, NaN and infinity are no numbers; an integer will do where a number is asked.
"""

import dataclasses
import itertools
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, get_args, get_origin

MAX_DEPTH = 8
_NOUNS = {int: ("an integer", "integers"), float: ("a number", "numbers"), str: ("text", "names")}


@dataclass(frozen=True)
class Spec:
    """One field: `low`/`high` are inclusive, `above`/`below` exclusive; `words` may stand in for the value.

    table: where it stands in a file, "" = at the top. path: "file" or "folder", if it may name one.
    """

    doc: str
    group: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    length: tuple[int, int] = (0, 64)
    order: str = ""
    may_be_empty: bool = False
    path: str = ""
    table: str = ""
    hint: Any = None
    default: Any = None

    @property
    def kind(self) -> Any:
        """The declared type without the words that may stand in for it: `int | str` with words is int."""
        return next(arg for arg in get_args(self.hint) if arg is not str) if self.words else self.hint

    @property
    def item(self) -> Any:
        """The type of one entry of a list or table, or the type itself."""
        origin, args = get_origin(self.kind), get_args(self.kind)
        return args[0] if origin is tuple else args[1] if origin is dict else self.kind

    @property
    def is_table(self) -> bool:
        """Whether the field holds names with values."""
        return get_origin(self.kind) is dict

    @property
    def count(self) -> tuple[int, int] | None:
        """The fewest and most entries of a list; None for anything else."""
        if get_origin(self.kind) is not tuple:
            return None
        args = get_args(self.kind)
        return self.length if args[-1] is Ellipsis else (len(args), len(args))

    @property
    def allowed(self) -> str:
        """The values allowed, in words."""
        words = [json.dumps(word) for word in self.words]
        return " or ".join([*words, _described(self)])


def field(default: Any, doc: str, **limits: Any) -> Any:
    """A dataclass field that carries its `Spec`; an empty dict becomes a default of its own for each record."""
    metadata = {"spec": Spec(doc, default=default, **limits)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _described(spec: Spec) -> str:
    if spec.choices:
        return f"one of {', '.join(spec.choices)}"
    if spec.item is bool:
        return "true or false"
    if spec.is_table:
        return f"a table of names with {'numbers' + _range(spec) if spec.item is float else 'plain values'}"
    one, many = _NOUNS[spec.item]
    if spec.count is None:
        return (one + _range(spec)) if spec.item is not str else one if spec.may_be_empty else f"{one}, not empty"
    low, high = spec.count
    number = f"{low}" if low == high else f"{low} to {high}" if low else f"at most {high}"
    limits = f", each{_range(spec)}" if _range(spec) else ""
    return f"a list of {number} {many}{limits}" + (f", {spec.order}" if spec.order else "")


def _range(spec: Spec) -> str:
    def shown(limit: float) -> str:
        return f"{limit:_}" if isinstance(limit, int) else f"{limit:g}"

    if spec.low is not None and spec.high is not None:
        return f" from {shown(spec.low)} to {shown(spec.high)}"
    ends = (("above", spec.above), ("at least", spec.low), ("at most", spec.high), ("below", spec.below))
    return " and".join(f" {word} {shown(limit)}" for word, limit in ends if limit is not None)


def converted(value: Any, spec: Spec) -> Any:
    """The value in the field's declared type.

    Raises:
        ValueError, TypeError, OverflowError: it is of another type or out of range (`spec.allowed` says what would do).
    """
    if spec.words and isinstance(value, str):
        return _chosen(value, spec.words)
    if spec.is_table:
        table = _plain(value, MAX_DEPTH) if isinstance(value, Mapping) else _refuse()
        return {name: _single(entry, spec) for name, entry in table.items()} if spec.item is float else table
    if spec.count is None:
        return _single(value, spec)
    if not isinstance(value, list | tuple) or not spec.count[0] <= len(value) <= spec.count[1]:
        _refuse()
    entries = tuple(_single(entry, spec) for entry in value)
    if spec.order and not all(a < b if spec.order == "rising" else a <= b for a, b in itertools.pairwise(entries)):
        _refuse()
    return entries


def _single(value: Any, spec: Spec) -> Any:
    kind = spec.item
    if kind is bool:
        return value if isinstance(value, bool) else _refuse()
    if kind is str:
        text = os.fspath(value) if isinstance(value, str | os.PathLike) else _refuse()
        if not (text or spec.may_be_empty):
            _refuse()
        return _chosen(_clean(text), spec.choices)
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        _refuse()
    number = kind(value)
    inside = (
        math.isfinite(number)
        and (spec.low is None or number >= spec.low)
        and (spec.high is None or number <= spec.high)
        and (spec.above is None or number > spec.above)
        and (spec.below is None or number < spec.below)
    )
    return number if inside else _refuse()


def _plain(value: Any, depth: int) -> Any:
    """A copy of what TOML can say: text, numbers, booleans, lists and tables of these."""
    if depth < 0:
        _refuse()
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) and name for name in value):
            _refuse()
        return {_clean(name): _plain(entry, depth - 1) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, depth - 1) for entry in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, str | os.PathLike):
        return _clean(os.fspath(value))
    if isinstance(value, Integral):
        return int(value) if abs(int(value)) < 2**63 else _refuse()
    number = float(value) if isinstance(value, Real) else _refuse()
    return number if math.isfinite(number) else _refuse()


def _chosen(text: str, choices: tuple[str, ...]) -> str:
    return text if not choices or text in choices else _refuse()


def _clean(text: str | bytes) -> str:
    if isinstance(text, bytes) or "\0" in text:
        _refuse()
    str(text).encode("utf-8")  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return str(text)


def _refuse() -> Any:
    raise ValueError


def shown(value: Any) -> str:
    """The value as an error line shows it, whatever it is."""
    try:
        return repr(value)
    except Exception:  # a number of thousands of digits or a hostile __repr__ must not hide the error that it is in
        return f"a value of type {type(value).__name__}"


def toml(value: Any) -> str:
    """A plain value as TOML text on one line; read back it is equal."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {toml(entry)}" for name, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(entry) for entry in value)}]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
