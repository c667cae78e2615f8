"""Makes `sets/lattice.jsonl`: questions whose answers can be computed, and the hand-written dialogue.

    python tools/generate_questions.py

What is generated is every combination of a few words. `compose` holds combinations that training never sees, though it sees
each two of their words together; `test` and `validation` ask what training asks, in other words. A heading and a turn add up
like hours on a clock: no sum of a share of the heading and a share of the turn says where one faces, so a linear model is at
chance.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from pathlib import Path

from nca3d.cube.questions import FOLDER, Pair, read_questions
from nca3d.files import write_atomic

HEADINGS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
# The n-th turns by n · 45 degrees, clockwise.
TURNS = (
    "do not turn",
    "turn half-right",
    "turn right",
    "turn sharp-right",
    "turn around",
    "turn sharp-left",
    "turn left",
    "turn half-left",
)
OBJECTS = ("lamp", "kite", "key", "drum", "rope", "bell", "coin", "book", "flag", "shell", "mirror", "basket")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "grey", "pink")
# Places of the small lattice along each axis, counted from one.
AXES = {"layer": 3, "row": 4, "column": 4}

Combination = tuple[str, ...]
Say = Callable[..., str]

COMPASS = (
    "You face {0}, carrying the {2}, and {1}. Where do you face?",
    "With the {2} in hand you look {0}, then you {1}. Which way now?",
    "Holding the {2}, facing {0}, you {1}. What is your heading?",
    "You stand facing {0} with the {2} and {1}. Which way do you face?",
)
SUMS = (
    "{0} {2} cells and {1} more {2} cells make how many?",
    "There are {0} {2} cells, and {1} more {2} ones grow. How many are there?",
    "How many are {0} {2} cells with {1} more {2} cells?",
)
DIFFERENCES = (
    "{0} {2} cells lose {1} of their {2} cells: how many are left?",
    "There are {0} {2} cells, then they lose {1} {2} ones. How many are left?",
    "How many are left of {0} {2} cells that lose {1} {2} cells?",
)
MOVES = (
    "A cell lies in layer {0}, row {1}, column {2}. Which is its neighbour one {3}?",
    "From layer {0}, row {1}, column {2}, go one {3}. Where are you?",
    "Which cell is one {3} from the cell in layer {0}, row {1}, column {2}?",
)


def generate() -> list[Pair]:
    """All pairs, in the order of the file."""
    differences = ((larger, smaller, colour) for smaller, larger in combinations(NUMBERS[:5], 2) for colour in COLOURS)
    return [
        *_kind("compass", product(HEADINGS, TURNS, OBJECTS), COMPASS, heading, held_out=160, test=80, validation=48),
        *_kind("lattice", _moves(), MOVES, neighbour, held_out=38, test=38, validation=28),
        *_kind("arithmetic", product(NUMBERS[:4], NUMBERS[:4], COLOURS), SUMS, total, held_out=24, test=24, validation=18),
        *_kind("arithmetic", differences, DIFFERENCES, rest, held_out=14, test=14, validation=10),
        *(Pair(pair.question, pair.answer, pair.split, "dialogue") for pair in read_questions("dialogue").pairs),
    ]


def text() -> str:
    """The file's whole text."""
    rows = ({"question": p.question, "answer": p.answer, "split": p.split, "kind": p.kind} for p in generate())
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def heading(start: str, turn: str, thing: str) -> str:
    """Where one faces after the turn, and what one carries."""
    there = HEADINGS[(HEADINGS.index(start) + TURNS.index(turn)) % len(HEADINGS)]
    return f"Now you face {there} with the {thing}."


def total(first: str, second: str, colour: str) -> str:
    """Adds two numbers of cells of a colour: first + second."""
    return _cells(NUMBERS.index(first) + NUMBERS.index(second) + 2, colour)


def rest(first: str, second: str, colour: str) -> str:
    """Takes one number of cells of a colour from another: first − second."""
    return _cells(NUMBERS.index(first) - NUMBERS.index(second), colour)


def neighbour(layer: str, row: str, column: str, move: str) -> str:
    """The place next to a place."""
    place = dict(zip(AXES, (layer, row, column), strict=True))
    axis, way = move.split()
    place[axis] = NUMBERS[NUMBERS.index(place[axis]) + (1 if way == "further" else -1)]
    return ", ".join(f"{name} {number}" for name, number in place.items()).capitalize() + "."


def _cells(count: int, colour: str) -> str:
    return f"{NUMBERS[count - 1].capitalize()} {colour} cell{'s' if count > 1 else ''}."


def _moves() -> Iterator[Combination]:
    for place in product(*(NUMBERS[:count] for count in AXES.values())):
        for (axis, count), number in zip(AXES.items(), place, strict=True):
            if number != NUMBERS[count - 1]:
                yield (*place, f"{axis} further")
            if number != NUMBERS[0]:
                yield (*place, f"{axis} back")


def _kind(
    kind: str, words: Iterator[Combination], templates: Sequence[str], answer: Say, *, held_out: int, test: int, validation: int
) -> list[Pair]:
    """One question for each combination; `test` and `validation` ask some of the trained ones again by the next template."""
    shuffled = sorted(words, key=lambda combination: _digest(kind, *combination))
    unseen = _unseen(shuffled, held_out, answer)
    trained = [combination for combination in shuffled if combination not in unseen]

    def pair(combination: Combination, split: str, further: int = 0) -> Pair:
        template = templates[(_digest("template", *combination) + further) % len(templates)]
        question = template.format(*combination)
        return Pair(question[0].upper() + question[1:], answer(*combination), split, kind)

    return [
        *(pair(combination, "train") for combination in trained),
        *(pair(combination, "validation", 1) for combination in trained[:validation]),
        *(pair(combination, "test", 1) for combination in trained[validation : validation + test]),
        *(pair(combination, "compose") for combination in unseen),
    ]


def _unseen(shuffled: Sequence[Combination], count: int, answer: Say) -> dict[Combination, None]:
    """The first `count` combinations that can be left out while all their pairs of words and answers stay in training."""
    left = Counter(part for combination in shuffled for part in _parts(combination, answer))
    unseen: dict[Combination, None] = {}
    for combination in shuffled:
        parts = _parts(combination, answer)
        if len(unseen) < count and all(left[part] > 2 for part in parts):
            unseen[combination] = None
            left.subtract(parts)
    return unseen


def _parts(combination: Combination, answer: Say) -> list[tuple[object, ...]]:
    return [*combinations(enumerate(combination), 2), ("answer", answer(*combination))]


def _digest(*words: str) -> int:
    """A number that shuffles: Python's own random draws are not promised to stay the same."""
    return int(hashlib.sha256(" ".join(words).encode()).hexdigest()[:12], 16)


def main() -> None:
    """Write the file anew."""
    file: Path = FOLDER / "lattice.jsonl"
    write_atomic(file, text().encode())
    print(file, Counter(pair.split for pair in generate()))


if __name__ == "__main__":
    main()
