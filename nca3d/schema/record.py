"""What a table in a file may hold: JSON is compared with a dataclass whose fields carry a `Spec`; all errors at once.

A digest says that a file is as it was written, not that what was written makes sense: another program may have written it.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from nca3d.errors import InputError, InputErrors, nearest
from nca3d.schema.spec import MAX_DEPTH, Spec, as_text, converted, field

# The type of a table with any names, of whatever JSON can hold.
Table = dict[str, Any]

# How many errors of one table are shown, and how many names that it should not have: the first ones tell what the file is.
MOST_ERRORS = 20


class Open:
    """A table that may have other fields than those that are described: rules and tasks of somebody's own add some."""


def required(doc: str, **limits: object) -> Any:
    """Returns a dataclass field that a table must have.

    Args:
        doc: What the field means.
        **limits: Other attributes of `Spec`.
    """
    return field(None, doc, required=True, **limits)


def optional(doc: str, **limits: object) -> Any:
    """Returns a dataclass field that a table may leave out; where it is there, it has a value.

    Args:
        doc: What the field means.
        **limits: Other attributes of `Spec`.
    """
    return field(None, doc, **limits)


def check_record(value: object, shape: type, where: object, name: str = "") -> None:
    """Checks a table, and the tables in it.

    Args:
        value: What was read, as JSON gives it.
        shape: A dataclass whose fields are made by `required` or `optional`. A field may be a dataclass itself, a tuple of
            them, or `Any` for whatever JSON can hold; `… | None` may be null.
        where: The file, for errors.
        name: The table's name in the file; "" = the whole file.

    Raises:
        InputErrors: Fields are missing, unknown, of another type or out of range; one line for each, the first twenty.
    """
    errors = list(_errors(value, shape, where, name))
    if errors:
        raise InputErrors(errors[:MOST_ERRORS])


@functools.cache
def specs(shape: type) -> dict[str, Spec]:
    """Returns the fields of a dataclass by name, each with its type."""
    hints = get_type_hints(shape)
    return {one.name: dataclasses.replace(one.metadata["spec"], hint=hints[one.name]) for one in dataclasses.fields(shape)}


def _errors(value: object, shape: type, where: object, name: str) -> Iterator[InputError]:
    """Yields what is wrong with a table."""
    if not isinstance(value, Mapping):
        yield InputError(where, name or "table", as_text(value), "a table")
        return
    fields, front = specs(shape), f"{name}." if name else ""
    for field_name, spec in fields.items():
        if field_name in value:
            yield from _of_value(value[field_name], spec.hint, spec, where, front + field_name)
        elif spec.required:
            yield InputError(where, front + field_name, "no such field", _allowed(spec.hint, spec))
    unknown = [] if issubclass(shape, Open) else [key for key in value if key not in fields]
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        allowed = f"the fields {', '.join(fields)}{nearest(str(unknown[0]), fields)}"
        yield InputError(where, front + as_text(unknown[0])[1:-1][:80], f"an unknown field{more}", allowed)


def _of_value(value: object, hint: Any, spec: Spec, where: object, name: str) -> Iterator[InputError]:
    """Yields what is wrong with one value."""
    hint, may_be_null = _without_none(hint)
    if value is None and may_be_null:
        return
    if hint is Any or hint == Table:
        if not plain(value) or (hint == Table and not isinstance(value, Mapping)):
            yield InputError(where, name, as_text(value), _allowed(spec.hint, spec))
    elif dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        yield from _errors(value, hint, where, name)
    elif shape := _of_many(hint):
        if not isinstance(value, list):
            yield InputError(where, name, as_text(value), "a list of tables")
            return
        for place, one in enumerate(value):
            yield from _errors(one, shape, where, f"{name}[{place}]")
    else:
        try:
            converted(value, dataclasses.replace(spec, hint=hint))
        except (ValueError, TypeError, OverflowError):
            yield InputError(where, name, as_text(value), _allowed(spec.hint, spec))


def _allowed(hint: Any, spec: Spec) -> str:
    """Returns the allowed values of a field in words."""
    hint, may_be_null = _without_none(hint)
    if hint is Any:
        words = "finite numbers, texts, lists and tables"
    elif hint == Table:
        words = "a table of finite numbers, texts, lists and tables"
    elif dataclasses.is_dataclass(hint):
        words = "a table"
    else:
        words = "a list of tables" if _of_many(hint) else dataclasses.replace(spec, hint=hint).allowed
    return f"{words}, or null" if may_be_null else words


def _without_none(hint: Any) -> tuple[Any, bool]:
    """Returns a type without `None`, and whether it had that."""
    if get_origin(hint) not in (Union, UnionType) or NoneType not in get_args(hint):
        return hint, False
    rest = [arg for arg in get_args(hint) if arg is not NoneType]
    return (rest[0] if len(rest) == 1 else Union[tuple(rest)]), True  # noqa: UP007  # of a list of types


def _of_many(hint: Any) -> type | None:
    """Returns the dataclass of which there may be many; None if a type is no list of tables."""
    args = get_args(hint)
    one = args[0] if get_origin(hint) is tuple and args else None
    return one if isinstance(one, type) and dataclasses.is_dataclass(one) else None


def plain(value: object, depth: int = MAX_DEPTH) -> bool:
    """Returns whether JSON without NaN and infinity can hold a value, in at most eight levels of lists and tables."""
    if isinstance(value, list | tuple):
        return depth > 0 and all(plain(one, depth - 1) for one in value)
    if isinstance(value, Mapping):
        return depth > 0 and all(isinstance(name, str) and plain(one, depth - 1) for name, one in value.items())
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
