"""What goes wrong because of what was given (exit code 2) and what goes wrong in a run (exit code 1)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used: one line that says file, field, value found and values allowed.

    Args:
        where: the file, flag or object the value came from.
        field: the name of the thing that is wrong.
        found: the value found (shown by `repr`, or as it is if a string that already reads well).
        allowed: the values allowed, or what to do next.
    """

    def __init__(self, where: object, field: str, found: object, allowed: str) -> None:
        shown = " ".join(str(found).split())
        shown = shown if len(shown) <= 200 else shown[:197] + "..."
        super().__init__(f"{where}: {field}: found {shown}, allowed {allowed}")


class InputErrors(InputError):
    """Several input errors, shown together, one line each."""

    def __init__(self, errors: Iterable[InputError]) -> None:
        self.errors = list(errors)
        ValueError.__init__(self, "\n".join(str(error) for error in self.errors))


class RunError(RuntimeError):
    """A run that failed on its own (extinct, non-finite, disk full): the last good checkpoint is kept."""


def nearest(word: str, words: Iterable[str]) -> str:
    """A hint such as `; did you mean 'learning_rate'?`, or an empty string when nothing is near."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
