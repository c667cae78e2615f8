"""Questions with their answers: JSONL, one object `{"question", "answer", "split"}` a line, optionally with a `kind`.

It imports no torch, so that a mistake in a file of questions is reported at once.
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
# The most characters of a question or an answer: longer ones are more than a teacher reads, and hint at a wrong file.
LONGEST = 4096
# The most bytes of a file, which is read whole.
LARGEST = 256_000_000
# How many errors are shown: the first ten usually have one cause.
SHOWN = 10
KEYS = ("question", "answer", "split", "kind")
_SPLIT = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Pair:
    """A question and its one right answer.

    Attributes:
        question: The question's text.
        answer: The answer's text.
        split: What the pair is for: "train", "validation", "test", "compose" or another word.
        kind: The kind of question, by which reports group the figures; "" = none.
    """

    question: str
    answer: str
    split: str
    kind: str = ""


@dataclass(frozen=True)
class Questions:
    """A set of pairs, in the file's order.

    Attributes:
        name: The name of a shipped set, or of the file without its ending.
        pairs: The pairs.
    """

    name: str
    pairs: tuple[Pair, ...]

    def of(self, split: str) -> tuple[Pair, ...]:
        """Returns the pairs of one split, in the file's order.

        Args:
            split: A name in `splits`.

        Raises:
            InputError: There is no such split.
        """
        if split not in self.splits:
            raise InputError(self.name, "split", repr(split), f"{', '.join(self.splits)}{nearest(split, self.splits)}")
        return tuple(pair for pair in self.pairs if pair.split == split)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, in the order of their first pair."""
        return tuple(dict.fromkeys(pair.split for pair in self.pairs))

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """The distinct answers, in the order of their first pair: what a retrieval chooses from."""
        return tuple(dict.fromkeys(pair.answer for pair in self.pairs))

    @cached_property
    def digest(self) -> str:
        """The sha256 of the content: equal sets have equal digests, whatever their files are called."""
        rows = [[pair.question, pair.answer, pair.split, pair.kind] for pair in self.pairs]
        return sha256(json.dumps(rows).encode())


@dataclass(frozen=True)
class QuestionsOfRun:
    """The questions of a run that goes on, and where the run keeps the teacher that embedded them.

    Attributes:
        questions: The questions that its config names.
        folder: The run folder.
    """

    questions: Questions
    folder: Path


def shipped() -> list[str]:
    """Returns the names of the sets that are shipped with nca3d, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.jsonl"))


def read_questions(source: str | Path) -> Questions:
    """Reads a set of questions.

    Args:
        source: The name of a shipped set (see `shipped`), or a JSONL file.

    Raises:
        InputErrors: Some lines can't be used; the message shows the first ten.
        InputError: There is no such set or file, it can't be read, or it has fewer than two pairs to train on.
    """
    name = str(source)
    if name in shipped():
        return _parsed((FOLDER / f"{name}.jsonl").read_bytes(), FOLDER / f"{name}.jsonl", name)
    file = Path(source)
    return _parsed(_bytes(file, _one_line(name)), _one_line(name), file.stem)


def _bytes(file: Path, name: str) -> bytes:
    allowed = f"a JSONL file or a shipped set ({', '.join(shipped())}){nearest(name, shipped())}"
    try:
        # A device or a pipe is refused: reading it could block for ever.
        if not file.is_file():
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
    # Not splitlines: texts may hold other line separators. The prefix is the byte order mark that some editors write.
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    pairs: list[Pair] = []
    errors: list[InputError] = []
    first: dict[str, tuple[int, str]] = {}  # each question's first line and the answer there
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        pair, line_errors = _pair(line, f"{where}:{number}")
        if pair is None:
            errors += line_errors
            continue
        # Two answers to one question can't both be right, and no cube could learn them.
        before, answer = first.setdefault(pair.question, (number, pair.answer))
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
        # RecursionError below: thousands of nested brackets are valid JSON, too deep for the parser.
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
            errors += _field_errors(row, key, where)
    return (None, errors) if errors else (Pair(**row), [])


def _field_errors(row: dict[str, Any], key: str, where: str) -> list[InputError]:
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
    """Whether UTF-8 can hold a text: half of a surrogate pair, which JSON can write, makes tokenizers and digests fail."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _one_line(text: str) -> str:
    return (text if text.isprintable() else ascii(text))[:200]
