"""Which settings can't go together, as one table: configs are refused by it, and docs/tools.md prints it.

Each row is true of two fields; what one machine decides (a device or a compiler that is missing) is asked when the run begins.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Clash:
    """Two settings that can't go together.

    Attributes:
        field: The field to change first.
        values: Its values that clash; a range stands for all numbers in it.
        other: The other field.
        others: Its values that clash.
        way: What is allowed instead.
        why: The reason.
    """

    field: str
    values: Sequence[Any]
    other: str
    others: Sequence[Any]
    way: str
    why: str


CLASHES = (
    Clash(
        "optimizer_in_backward",
        (True,),
        "gradient",
        ("normalise", "clip"),
        "gradient = none",
        "a length over all cells is known only when all gradients are",
    ),
    Clash(
        "optimizer_in_backward",
        (True,),
        "accumulate",
        (range(2, 1 << 31),),
        "accumulate = 1",
        "weights would move before the other parts of the batch have run",
    ),
    Clash(
        "optimizer_in_backward",
        (True,),
        "executor",
        ("dense", "event", "slabs", "graph"),
        "executor auto or compiled",
        "compiled code moves weights while they are in the processor's cache; torch can't",
    ),
    Clash(
        "optimizer_in_backward",
        (True,),
        "precision",
        ("fp16",),
        "precision fp32 or bf16",
        "the scale of an fp16 loss is taken back over all gradients at once",
    ),
    Clash(
        "optimizer_in_backward",
        (True,),
        "device",
        ("cuda",),
        "device auto or cpu",
        "it is part of the compiled code for processors",
    ),
    Clash(
        "optimizer_in_backward",
        (True,),
        "optimizer",
        ("paged_adamw8bit",),
        "optimizer adam, adamw or adamw8bit",
        "paging is for devices",
    ),
    Clash("optimizer", ("paged_adamw8bit",), "device", ("cpu",), "adamw8bit", "its pages move between device and host"),
    Clash("precision", ("fp16",), "executor", ("compiled",), "executor auto, dense or event", "compiled code knows bf16 alone"),
    Clash(
        "compile",
        (True,),
        "executor",
        ("compiled", "event", "slabs", "graph"),
        "executor auto or dense",
        "the others run the rule's parts, not its forward",
    ),
    Clash("compile", (True,), "rule", ("conv",), "compile = false", "its step has its own backward pass"),
    Clash(
        "block_cells",
        ("sqrt", range(1, 1 << 31)),
        "executor",
        ("compiled",),
        "executor dense",
        "compiled code takes single cells",
    ),
)


def clashing(values: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields the fields of each row that a config falls under, the one to change first in front, and what is allowed.

    Args:
        values: All fields of a config by name.
    """
    for row in CLASHES:
        if _among(values[row.field], row.values) and _among(values[row.other], row.others):
            found = str(values[row.other]).lower() if isinstance(values[row.other], bool) else values[row.other]
            yield (row.field, row.other), f"{row.way} (here {row.other} = {found}: {row.why})"


def _among(value: Any, values: Sequence[Any]) -> bool:
    # Only numbers are looked for in a range: of anything else it would ask each of its numbers.
    return any(type(value) is int and value in one if isinstance(one, range) else value == one for one in values)


def table() -> str:
    """Returns all rows as a Markdown table, as docs/tools.md has it."""
    lines = ["| can't go together | take | since |", "|---|---|---|"]
    for row in CLASHES:
        one, other = (f"`{name} = {_named(values)}`" for name, values in ((row.field, row.values), (row.other, row.others)))
        lines.append(f"| {one} and {other} | {row.way} | {row.why} |")
    return "\n".join(lines)


def _named(values: Sequence[Any]) -> str:
    words = [f"{value.start}, {value.start + 1}, …" if isinstance(value, range) else str(value) for value in values]
    return " \\| ".join(word.lower() if word in ("True", "False") else word for word in words)
