"""What a caller gave, read as a number or as one of some words: a clear line instead of a trace where it isn't one."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from visualize.errors import ArgumentError

LONGEST = 120  # letters of a value in an error


def quoted(value: object) -> str:
    """A value as it stands in an error: one line, not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def as_number(value: object, where: str, field: str, low: float, high: float, allowed: str) -> float:
    """A float from low to high, from a number of any library; not from words or booleans.

    Raises:
        ArgumentError: `where: field: found value, allowed allowed`, a ValueError.
    """
    try:
        any_number: Any = value  # whatever it is, float decides
        number = math.nan if isinstance(value, str | bytes | bool | np.bool_) or np.ndim(any_number) else float(any_number)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:
        raise ArgumentError(where, field, quoted(value), allowed)
    return number


def as_whole(value: object, where: str, field: str, low: int, high: float, allowed: str) -> int:
    """A whole number from low to high; `as_number` for the rest.

    Raises:
        ArgumentError: `where: field: found value, allowed allowed`, a ValueError.
    """
    number = as_number(value, where, field, low, high, allowed)
    if not number.is_integer():
        raise ArgumentError(where, field, quoted(value), allowed)
    return int(number)


def as_degrees(value: object, where: str, field: str) -> float:
    """A finite angle.

    Raises:
        ValueError: it isn't one.
    """
    return as_number(value, where, field, -1e9, 1e9, "finite degrees")


def as_columns(columns: object, where: str) -> int | None:
    """How many stand in a row; None leaves it to the picture.

    Raises:
        ValueError: less than one, or no whole number.
    """
    return None if columns is None else as_whole(columns, where, "columns", 1, math.inf, "1 or more")


def check_word(word: object, known: Iterable[str], where: str, field: str) -> None:
    """Refuses what isn't one of the known words.

    Raises:
        ValueError: it isn't.
    """
    words = tuple(known)
    if not isinstance(word, str) or word not in words:
        raise ArgumentError(where, field, quoted(word), ", ".join(words))


def as_words(words: str | Sequence[str], known: Iterable[str], where: str, field: str) -> list[str]:
    """One of the known words, or several of them, as a list.

    Raises:
        ValueError: none, or one that isn't known.
    """
    allowed = tuple(known)
    found = [words] if isinstance(words, str) else list(words) if isinstance(words, Iterable) else []
    if not found or not all(isinstance(word, str) and word in allowed for word in found):
        raise ArgumentError(where, field, quoted(words), f"{', '.join(allowed)} or several of them")
    return found
