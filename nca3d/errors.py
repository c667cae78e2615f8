"""Errors: input that cannot be used (exit code 2), and runs that fail (exit code 1)."""

import difflib
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

T = TypeVar("T")


class ArgumentError(ValueError):
    """A value that can't be used, in one line: `field: found …, allowed …`. For functions that know of no file or flag.

    Args:
        field: the name of the thing that is wrong.
        found: the value found (shown by `str`: give its `repr` where text would not read well).
        allowed: the values allowed, or what to do next.
        where: the file, flag or object the value came from; "" = unknown.
    """

    def __init__(self, field: str, found: object, allowed: str, where: object = "") -> None:
        self.where, self.field, self.found, self.allowed = where, field, found, allowed

    def __str__(self) -> str:
        shown, place = " ".join(str(self.found).split()), f"{self.where}: " if str(self.where) else ""
        shown = shown if len(shown) <= 200 else shown[:197] + "..."
        return f"{place}{self.field}: found {shown}, allowed {self.allowed}"


class InputError(ArgumentError):
    """Input that cannot be used: the line begins with the file, flag or object that it came from."""

    def __init__(self, where: object, field: str, found: object, allowed: str) -> None:
        super().__init__(field, found, allowed, where)

    @property
    def errors(self) -> "list[InputError]":
        """All that is wrong, one error for each line."""
        return [self]


class InputErrors(InputError):
    """Several input errors, shown together, one line each; its own fields are those of the first."""

    def __init__(self, errors: Iterable[InputError]) -> None:
        self._errors = [one for error in errors for one in error.errors]
        self.args = (self._errors,)
        first = self._errors[0]
        super().__init__(first.where, first.field, first.found, first.allowed)

    @property
    def errors(self) -> list[InputError]:
        """All that is wrong, one error for each line."""
        return self._errors

    def __str__(self) -> str:
        return "\n".join(map(str, self._errors))


class ErrorCollector(list[InputError]):
    """Collects errors before any is raised: `with ErrorCollector() as errors: …` ends with all of them at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, InputError):  # any other error is a bug: it passes
            self += [] if error is None else error.errors
            if self:
                raise InputErrors(self) from None

    def add(self, wrong: bool, where: object, field: str, found: object, allowed: str) -> None:
        """Adds an InputError of these fields if `wrong`."""
        self += [InputError(where, field, found, allowed)] if wrong else []

    def of(self, call: Callable[..., T], *args: object, **options: object) -> T | None:
        """Returns what a call returns; None where it raises input errors, which are collected."""
        try:
            return call(*args, **options)
        except InputError as error:
            self.extend(error.errors)
            return None


class RunError(RuntimeError):
    """A run that failed on its own (extinct, non-finite, disk full): the last good checkpoint is kept."""


def nearest(word: str, words: Iterable[str]) -> str:
    """Returns a hint such as `; did you mean 'learning_rate'?`, or an empty string when nothing is near."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
