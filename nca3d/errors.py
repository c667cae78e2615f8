"""Errors: input that cannot be used (exit code 2), and runs that fail (exit code 1)."""

import difflib
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

T = TypeVar("T")

# Of how many errors at once each has a line.
MOST_SHOWN = 40


class ArgumentError(ValueError):
    """A value that can't be used, in one line: `field: found …, allowed …`.

    Functions raise it that don't know which file or flag the value came from; `InputError` is for those that do.

    Args:
        field: The name of the thing that is wrong.
        found: The value of it, shown by `str`: pass its `repr` where plain text would not read well.
        allowed: The values that are allowed, or what to do next.
        where: The file, flag or object that the value came from; "" = unknown.
    """

    def __init__(self, field: str, found: object, allowed: str, where: object = "") -> None:
        self.where, self.field, self.found, self.allowed = where, field, found, allowed

    def __str__(self) -> str:
        # One line, whatever the value is: a long list or a tensor must not push the rest off the screen.
        value = " ".join(str(self.found).split())
        # The most that a path may have is 4,096: a screen full of it hides what is wrong.
        place = f"{_short(str(self.where), 600)}: " if str(self.where) else ""
        value, field_name, allowed = _short(value, 200), _short(self.field, 200), _short(self.allowed, 4000)
        line = f"{place}{field_name}: found {value}, allowed {allowed}"
        # Names of files and of what is in them may hold line breaks, or characters that command a terminal.
        return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _short(text: str, most: int) -> str:
    """Returns a text of at most so many characters: what is in somebody's file may be of any length."""
    return text if len(text) <= most else text[: most - 3] + "..."


class InputError(ArgumentError):
    """Input that can't be used: the line begins with the file, flag or object that it came from."""

    def __init__(self, where: object, field: str, found: object, allowed: str) -> None:
        super().__init__(field, found, allowed, where)

    @property
    def errors(self) -> "list[InputError]":
        """All that is wrong, one error for each line."""
        # One error is a list of one, so that a caller need not ask how many there are.
        return [self]


class InputErrors(InputError):
    """Several input errors, shown together, one line each; its own fields are those of the first."""

    def __init__(self, errors: Iterable[InputError]) -> None:
        self._errors = [one for error in errors for one in error.errors]
        # What pickle builds the exception from again, when it crosses to another process.
        self.args = (self._errors,)
        first = self._errors[0]
        super().__init__(first.where, first.field, first.found, first.allowed)

    @property
    def errors(self) -> list[InputError]:
        """All that is wrong, one error for each line."""
        return self._errors

    def __str__(self) -> str:
        # A file of another kind may be wrong in each of its lines.
        more = len(self._errors) - MOST_SHOWN
        return "\n".join([*map(str, self._errors[:MOST_SHOWN]), *([f"… and {more:,} errors more"] * (more > 0))])


class ErrorCollector(list[InputError]):
    """Collects errors before any is raised: `with ErrorCollector() as errors: …` ends with all of them at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Any other error is a bug in the program, not in the input: it passes with its own traceback.
        if error is None or isinstance(error, InputError):
            self += [] if error is None else error.errors
            if self:
                raise InputErrors(self) from None

    def add(self, wrong: bool, where: object, field: str, found: object, allowed: str) -> None:
        """Adds the error `where: field: found …, allowed …` if `wrong` is true."""
        self += [InputError(where, field, found, allowed)] if wrong else []

    def of(self, call: Callable[..., T], *args: object, **options: object) -> T | None:
        """Returns what a call returns, or None if it raises input errors: these are collected."""
        try:
            return call(*args, **options)
        except InputError as error:
            self.extend(error.errors)
            return None


class RunError(RuntimeError):
    """A run that failed on its own: bodies died out, numbers are not finite, the disk is full. The last checkpoint stays."""


class NotFiniteError(RunError):
    """A number that is not finite where a run would save it: nothing was written, and the run can go back."""


def nearest(word: str, words: Iterable[str]) -> str:
    """Returns a hint such as `; did you mean 'learning_rate'?`, or "" when no word is near."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
