"""Questions with their answers: JSONL, one object `{"question", "answer", "split"}` a line, optionally with a `kind`.

Imports the standard library, `nca3d.errors` and `nca3d.files` only.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nca3d.errors import InputError, InputErrors, nearest
from nca3d.files import sha256

FOLDER = Path(__file__).parent / "sets"
# Characters of a question or an answer.
LONGEST = 4096
# Bytes of a file.
LARGEST = 256_000_000
# Lines of errors that are shown.
SHOWN = 10
KEYS = ("question", "answer", "split", "kind")
_SPLIT = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Pair:
    """A question and its one right answer; `split` says what it is for ("train", "validation", "test", "compose", ...)."""

    question: str
    answer: str
    split: str
    kind: str = ""


@dataclass(frozen=True)
class Questions:
    """A set of pairs, in the file's order."""

    name: str
    pairs: tuple[Pair, ...]

    def of(self, split: str) -> tuple[Pair, ...]:
        """The pairs of one split.

        Raises:
            InputError: there is no such split.
        """
        if split not in self.splits:
            raise InputError(self.name, "split", repr(split), f"{', '.join(self.splits)}{nearest(split, self.splits)}")
        return tuple(pair for pair in self.pairs if pair.split == split)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits there are, in order of appearance."""
        return tuple(dict.fromkeys(pair.split for pair in self.pairs))

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """The distinct answers, in order of appearance: what a retrieval chooses from."""
        return tuple(dict.fromkeys(pair.answer for pair in self.pairs))

    @cached_property
    def digest(self) -> str:
        """sha256 of the content, whatever file it stood in."""
        rows = [[pair.question, pair.answer, pair.split, pair.kind] for pair in self.pairs]
        return sha256(json.dumps(rows).encode())


def shipped() -> list[str]:
    """The names of the sets that come along, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.jsonl"))


def read_questions(source: str | Path) -> Questions:
    """A shipped set by its name (`shipped()`), or a JSONL file.

    Raises:
        InputErrors: every line that can't be used, the first ten shown.
        InputError: no such set or file, an unreadable one, none to train on.
    """
    name = str(source)
    if name in shipped():
        return _parsed((FOLDER / f"{name}.jsonl").read_bytes(), FOLDER / f"{name}.jsonl", name)
    file = Path(source)
    return _parsed(_bytes(file, _one_line(name)), _one_line(name), file.stem)


def _bytes(file: Path, name: str) -> bytes:
    allowed = f"a JSONL file or a shipped set ({', '.join(shipped())}){nearest(name, shipped())}"
    try:
        if not file.is_file():  # a pipe would block for ever
            found = "a folder" if file.is_dir() else "a device or pipe" if file.exists() else "no such file"
            raise InputError(name or "data", "questions", found, allowed)
        if file.stat().st_size > LARGEST:
            raise InputError(name, "size", f"{file.stat().st_size:,} bytes", f"at most {LARGEST:,} bytes")
        return file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, InputError):
            raise
        raise InputError(name, "questions", getattr(error, "strerror", None) or error, allowed) from None


def _parsed(data: bytes, where: object, name: str) -> Questions:
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")  # not splitlines: texts may hold other line separators
    pairs: list[Pair] = []
    errors: list[InputError] = []
    seen: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        pair, wrong = _pair(line, f"{where}:{number}")
        if pair is None:
            errors += wrong
            continue
        before, answer = seen.setdefault(pair.question, (number, pair.answer))
        if answer != pair.answer:
            found = f"another answer to the question of line {before}"
            errors.append(InputError(f"{where}:{number}", "answer", found, f"{answer!r}, or another question"))
        pairs.append(pair)
    if errors:
        more = [InputError(where, "errors", f"{len(errors) - SHOWN} more", "none")] if len(errors) > SHOWN else []
        raise InputErrors([*errors[:SHOWN], *more])
    if not pairs:
        raise InputError(where, "pairs", "none", 'lines such as {"question": "...", "answer": "...", "split": "train"}')
    train = sum(pair.split == "train" for pair in pairs)
    if train < 2:
        raise InputError(where, "split", f"{train} pairs of split train", "at least 2, to train on")
    return Questions(name, tuple(pairs))


def _pair(line: bytes, where: str) -> tuple[Pair | None, list[InputError]]:
    try:
        row: Any = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return None, [InputError(where, "text", f"byte 0x{line[error.start]:02x}", "UTF-8")]
    except (ValueError, RecursionError) as error:
        return None, [InputError(where, "JSON", str(error) or type(error).__name__, "one object a line")]
    if not isinstance(row, dict):
        return None, [InputError(where, "JSON", f"a {type(row).__name__}", "an object with question, answer and split")]
    errors = [
        InputError(where, _one_line(key), "an unknown key", f"{', '.join(KEYS)}{nearest(key, KEYS)}")
        for key in row
        if key not in KEYS
    ]
    for key in KEYS:
        if key in row or key != "kind":
            errors += _wrong(row, key, where)
    return (None, errors) if errors else (Pair(**row), [])


def _wrong(row: dict[str, Any], key: str, where: str) -> list[InputError]:
    value = row.get(key)
    if key in ("question", "answer"):
        allowed = f"a text of 1 to {LONGEST:,} characters"
        fits = isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST and encodable(value)
    elif key == "split":
        allowed = "train, validation, test, compose, or another word of a-z, 0-9 and _"
        fits = isinstance(value, str) and bool(_SPLIT.fullmatch(value))
    else:
        allowed = "a word of at most 64 characters"
        fits = isinstance(value, str) and len(value) <= 64 and value.isprintable()
    if fits:
        return []
    long = isinstance(value, str) and len(value) > LONGEST
    found = "nothing" if key not in row else f"{len(str(value)):,} characters" if long else ascii(value)
    return [InputError(where, key, found, allowed)]


def encodable(text: str) -> bool:
    """Whether UTF-8 can hold it: half of a surrogate pair, which JSON can write, makes tokenizers and digests fail."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _one_line(text: str) -> str:
    return (text if text.isprintable() else ascii(text))[:200]
