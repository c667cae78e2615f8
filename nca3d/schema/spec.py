"""What one field may hold, of a config or of a file: strict conversion, the text of errors, TOML text. Imports no torch.

Conversion is strict, because a guess would be a run with another meaning: True is no integer, "3" is not 3, NaN and infinity
are no numbers. Only an integer is accepted where a number is asked.
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
from types import UnionType
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin

Default = TypeVar("Default")

# What stands for a value that follows from something else.
AUTO = "auto"
# How deep lists and tables of options may be nested.
MAX_DEPTH = 8
# One and many of each type, as errors name them.
_NOUNS = {int: ("an integer", "integers"), float: ("a number", "numbers"), str: ("text", "names")}


@dataclass(frozen=True)
class Spec:
    """The description and limits of one field.

    Attributes:
        doc: what the field means, as `--help` and files show it.
        group: heading under which `--help` and files show it; "" = the heading of the field before it.
        low: least value; None = no limit.
        high: greatest value; None = no limit.
        above: exclusive lower limit; None = no limit.
        below: exclusive upper limit; None = no limit.
        choices: the values of a text; () = any text.
        words: texts that may stand in for a value of another type, such as "auto".
        length: fewest and most entries of a list without a fixed length.
        order: "rising" or "not falling", for the entries of a list; "" = any order.
        may_be_empty: whether a text may be "".
        alone: whether a text may stand for a list of it alone, and is kept so.
        fallback: of a field that follows from the body where it is "auto": its value until the body is known, and in runs that
            were begun before there was a rule for it; None = the field follows from nothing.
        changes_run: whether another value makes another run; False for what only looks on or saves.
        path: "file" or "folder" if the value may be a path; "" otherwise.
        table: the table of a file that has the field; "" = the top of the file.
        required: whether a file must have the field; a config's fields all have a default.
        hint: the type annotation.
        default: the default value.
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
    alone: bool = False
    fallback: Any = None
    changes_run: bool = True
    path: str = ""
    table: str = ""
    required: bool = False
    hint: Any = None
    default: Any = None

    @property
    def kind(self) -> type[Any]:
        """The declared type without `words`: the kind of `int | str` with words is int."""
        alternatives = get_args(self.hint) if get_origin(self.hint) in (Union, UnionType) else ()
        kind: type[Any] = next((arg for arg in alternatives if arg is not str), self.hint)
        return kind

    @property
    def item(self) -> type[Any]:
        """The type of one entry of a list or table; else the type itself."""
        origin, args = get_origin(self.kind), get_args(self.kind)
        item: type[Any] = args[0] if origin is tuple else args[1] if origin is dict else self.kind
        return item

    @property
    def is_table(self) -> bool:
        """Whether the field holds names with values."""
        return get_origin(self.kind) is dict

    @property
    def count(self) -> tuple[int, int] | None:
        """The fewest and most entries of a list; None for a field of another type."""
        if get_origin(self.kind) is not tuple:
            return None
        args = get_args(self.kind)
        return self.length if args[-1] is Ellipsis else (len(args), len(args))

    @property
    def allowed(self) -> str:
        """The allowed values, in words, for error messages."""
        words = [json.dumps(word) for word in self.words]
        return " or ".join([*words, _described(self)])


def field(default: Default, doc: str, **limits: object) -> Default:
    """Returns a dataclass field that carries its `Spec`.

    Args:
        default: the default value; each record gets an empty dict of its own.
        doc: what the field means.
        by: what it follows from.
        **limits: other attributes of `Spec`.
    """
    values: dict[str, Any] = {"default": default, **limits}
    metadata = {"spec": Spec(doc, **values)}
    # Else all records would share one dict.
    own: dict[str, Any] = {"default_factory": dict} if isinstance(default, dict) else {"default": default}
    # To type checkers a field has the type of its default, like `dataclasses.field`.
    entry: Default = dataclasses.field(**own, metadata=metadata)
    return entry


def auto(fallback: Default, doc: str, by: str = "the body", **limits: object) -> Default:
    """Returns a field that is "auto" by default: it then follows from the body (`config/recipe.py`).

    Args:
        fallback: its value until the body is known.
        doc: what the field means.
        by: what it follows from.
        **limits: other attributes of `Spec`.
    """
    word: Any = AUTO
    of_a_body: Default = field(word, f"{doc}; auto = by {by}", fallback=fallback, words=(AUTO,), **limits)
    return of_a_body


def _described(spec: Spec) -> str:
    """Returns the allowed values in words, without `words`."""
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
    alone = f"{one}, not empty, or " if spec.alone else ""
    limits = f", each{_range(spec)}" if _range(spec) else ""
    return f"{alone}a list of {number} {many}{limits}" + (f", {spec.order}" if spec.order else "")


def _range(spec: Spec) -> str:
    """Returns the limits in words, with a leading space; "" without limits."""

    def text(limit: float) -> str:
        return f"{limit:_}" if isinstance(limit, int) else f"{limit:g}"

    if spec.low is not None and spec.high is not None:
        return f" from {text(spec.low)} to {text(spec.high)}"
    ends = (("above", spec.above), ("at least", spec.low), ("at most", spec.high), ("below", spec.below))
    return " and".join(f" {word} {text(limit)}" for word, limit in ends if limit is not None)


def converted(value: object, spec: Spec) -> object:
    """Returns the value in the field's declared type.

    Raises:
        ValueError: it is out of range or of another type (`spec.allowed` says what is allowed).
        TypeError: it is of another type.
        OverflowError: the number is too large.
    """
    # A text can only be meant as one of the words, never as a number.
    if spec.words and isinstance(value, str) and (spec.item is not str or value in spec.words):
        return _chosen(value, spec.words)
    if spec.is_table:
        table = _plain(value, MAX_DEPTH) if isinstance(value, Mapping) else _refuse()
        return {name: _single(entry, spec) for name, entry in table.items()} if spec.item is float else table
    if spec.count is None:
        return _single(value, spec)
    if spec.alone and isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if spec.alone and isinstance(value, str | os.PathLike):
        return _single(value, spec)
    if not isinstance(value, list | tuple) or not spec.count[0] <= len(value) <= spec.count[1]:
        _refuse()
    # A tuple, so that a frozen record can't be changed from within.
    entries = tuple(_single(entry, spec) for entry in value)
    if spec.order and not all(a < b if spec.order == "rising" else a <= b for a, b in itertools.pairwise(entries)):
        _refuse()
    return entries


def _single(value: Any, spec: Spec) -> Any:
    """Returns one entry in the field's declared type, or raises as `converted` does."""
    kind = spec.item
    if kind is bool:
        return value if isinstance(value, bool) else _refuse()
    if kind is str:
        text = os.fspath(value) if isinstance(value, str | os.PathLike) else _refuse()
        if not (text or spec.may_be_empty):
            _refuse()
        return _chosen(_clean(text), spec.choices)
    # The abstract types, because NumPy's numbers are welcome too.
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        _refuse()
    number = kind(value)
    # NaN fails every comparison, so `isfinite` comes first.
    inside = (
        math.isfinite(number)
        and (spec.low is None or number >= spec.low)
        and (spec.high is None or number <= spec.high)
        and (spec.above is None or number > spec.above)
        and (spec.below is None or number < spec.below)
    )
    return number if inside else _refuse()


def _plain(value: object, depth: int) -> Any:
    """Returns a copy of a value that TOML can hold: text, numbers, booleans, lists and tables of these."""
    if depth < 0:
        _refuse()
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) and name for name in value):
            _refuse()
        return {_clean(name): _plain(entry, depth - 1) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, depth - 1) for entry in value]
    # Before numbers: Python counts True among the integers.
    if isinstance(value, bool):
        return value
    if isinstance(value, str | os.PathLike):
        return _clean(os.fspath(value))
    if isinstance(value, Integral):
        # TOML's integers have 64 bits.
        return int(value) if abs(int(value)) < 2**63 else _refuse()
    number = float(value) if isinstance(value, Real) else _refuse()
    return number if math.isfinite(number) else _refuse()


def _chosen(text: str, choices: tuple[str, ...]) -> str:
    return text if not choices or text in choices else _refuse()


def _clean(text: str | bytes) -> str:
    """Returns text that a file can hold: no bytes, no NUL, no lone surrogate."""
    if isinstance(text, bytes) or "\0" in text:
        _refuse()
    # A lone surrogate raises UnicodeEncodeError, which is a ValueError.
    str(text).encode("utf-8")
    return str(text)


def _refuse() -> NoReturn:
    """Raises an error without a text: `Spec.allowed` says what the message needs."""
    raise ValueError


def as_text(value: object) -> str:
    """Returns the value as an error message shows it, whatever it is."""
    try:
        return repr(value)
    # A number of thousands of digits or a broken __repr__ must not hide the error that is being reported.
    except Exception:
        return f"a value of type {type(value).__name__}"


def toml(value: object) -> str:
    """Returns a plain value as TOML text on one line; reading it back gives an equal value."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {toml(entry)}" for name, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(entry) for entry in value)}]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _key(name: str) -> str:
    """Returns a key as TOML text; TOML allows a few characters without quotes."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    """Returns a text in quotes, as TOML and JSON both write it, but for DEL: JSON allows it as it is, TOML doesn't."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
