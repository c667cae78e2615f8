"""What a rollout keeps in memory for its backward pass: all that its steps need, or only the states that segments began with.

Segments are run again before they run backward. That costs one more forward pass, and with √steps segments the memory grows as
√steps (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). Gradients are the same to the bit (law 8).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from nca3d.errors import ArgumentError

# Bytes that memory="auto" keeps for one rollout before it recomputes instead.
BUDGET = 2 << 30

# The activity_threshold of approximate executors, where none is given.
THRESHOLD = 1e-3


@dataclass(frozen=True)
class Memory:
    """A plan of what to keep in memory.

    Attributes:
        length: The number of steps in a segment; 0 = keep everything; None = decide by what steps need and by the budget.
        budget: The number of bytes that may be kept, 1 or more.
    """

    length: int | None
    budget: int = BUDGET

    @classmethod
    def of(cls, memory: str | int, budget: int | None) -> "Memory":
        """Reads the plan from the arguments of `rollout`.

        Args:
            memory: "auto", "keep", "recompute" or the number of steps in a segment.
            budget: The number of bytes that "auto" may keep; None = `BUDGET`.

        Raises:
            ValueError: The plan is none of these, or the budget is below 1 byte.
        """
        budget = BUDGET if budget is None else budget
        if budget < 1:
            raise ArgumentError("memory_budget", budget, "1 byte or more")
        if isinstance(memory, int) and not isinstance(memory, bool) and memory >= 1:
            return cls(memory, budget)
        if memory not in ("auto", "keep", "recompute"):
            raise ArgumentError("memory", repr(memory), "'auto', 'keep', 'recompute' or a segment length of 1 or more")
        return cls({"auto": None, "keep": 0, "recompute": 1}[str(memory)], budget)

    def segment(self, steps: int, step_bytes: int, saved_bytes: int = 0) -> int | None:
        """Returns the number of steps in a segment; None = keep everything.

        Args:
            steps: The number of steps to come.
            step_bytes: The number of bytes that each of them would save.
            saved_bytes: The number of bytes that are saved already.
        """
        found = self.length or None
        if self.length is None and saved_bytes + steps * step_bytes > self.budget:
            # About √steps states at the ends of segments, and √steps steps within one of them.
            found = max(1, round(steps**0.5))
        if (noted := _noted.get()) is not None:
            noted.append(found or 0)
        return found

    def room(self, steps: int, step_bytes: int, extra: int, saved_bytes: int = 0) -> int:
        """Returns the bytes of `extra`, which spare work, that each step may save beside what it must: all of them, or 0.

        Args:
            steps: The number of steps to come.
            step_bytes: The number of bytes that each of them must save.
            extra: The number of bytes that each of them could save beside.
            saved_bytes: The number of bytes that are saved already.
        """
        return extra if saved_bytes + steps * (step_bytes + extra) <= self.budget else 0


# Who wants to know what plans come to.
_noted: ContextVar[list[int] | None] = ContextVar("segments", default=None)


@contextmanager
def noted_segments() -> Iterator[list[int]]:
    """A context that notes how many steps each rollout with a gradient keeps at once; 0 = all of them."""
    noted: list[int] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)
