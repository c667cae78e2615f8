"""The one door to parsers of other people: whatever they raise, print or ask for, the user gets one line."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from nca3d.errors import InputError


@contextlib.contextmanager
def parsing(where: object, allowed: str, *loggers: str) -> Iterator[None]:
    """Turns whatever a parser raises into an `InputError`, and keeps its warnings and its log to itself.

    Args:
        where: The file.
        allowed: What would be readable, as in "a whole NIfTI file".
        *loggers: The names of the loggers that the parser writes to.

    Raises:
        InputError: If the parser raises anything; an `InputError` goes through as it is.
    """
    logs = [logging.getLogger(name) for name in loggers]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # parsers of broken files raise anything
        text = " ".join(str(error).split())[:200]
        raise InputError(where, "file", f"unreadable ({type(error).__name__}: {text})", allowed) from error
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)
