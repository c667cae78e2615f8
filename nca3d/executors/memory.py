"""What a rollout keeps for its backward pass: all that its steps need, or states at the ends of segments that are run again.

Recomputing costs one more forward pass and memory of √steps (Chen et al. 2016, "Training Deep Nets with Sublinear Memory
Cost").
"""

from dataclasses import dataclass

from nca3d.errors import ArgumentError

# Bytes that memory="auto" keeps for one rollout before it recomputes instead.
BUDGET = 2 << 30


# The activity_threshold of approximate executors, where none is given.
THRESHOLD = 1e-3


@dataclass(frozen=True)
class Memory:
    """A plan of what to keep.

    Attributes:
        length: steps in a segment; 0 = keep everything; None = decide by what the steps need and by the budget.
        budget: bytes, 1 or more.
    """

    length: int | None
    budget: int = BUDGET

    @classmethod
    def of(cls, memory: str | int, budget: int | None) -> "Memory":
        """Reads the plan from the arguments of `rollout`.

        Raises:
            ValueError: neither "auto", "keep", "recompute" nor a whole number of steps; a budget below 1 byte.
        """
        budget = BUDGET if budget is None else budget
        if budget < 1:
            raise ArgumentError("memory_budget", budget, "1 byte or more")
        if isinstance(memory, int) and not isinstance(memory, bool) and memory >= 1:
            return cls(memory, budget)
        if memory not in ("auto", "keep", "recompute"):
            raise ArgumentError("memory", repr(memory), "'auto', 'keep', 'recompute' or a segment length of 1 or more")
        return cls({"auto": None, "keep": 0, "recompute": 1}[str(memory)], budget)

    def segment(self, steps: int, step_bytes: int, kept: int = 0) -> int | None:
        """Returns how many steps lie between two kept states; None = keep everything.

        Args:
            steps: those to come.
            step_bytes: what each of them would keep.
            kept: bytes that are kept already.
        """
        if self.length is not None:
            return self.length or None
        # About √steps states at the ends of segments, and √steps steps within one of them.
        return None if kept + steps * step_bytes <= self.budget else max(1, round(steps**0.5))
