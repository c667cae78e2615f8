"""How far a run has come: now and then it looks at what its rule grows, and ends when that has been whole for a while.

A look is a pure function of weights and iteration, and what was seen is saved with each checkpoint: a resumed run looks and
ends at the same iterations (law 11).
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from nca3d.config import Config
from nca3d.training.forecast import duration

# Iterations between two looks, and how many looks in a row must find the body whole.
EVERY, IN_A_ROW = 100, 3
# A body that has fewer of its cells right is not whole, and what was cut has come back from this share of what it was.
WHOLE, RECOVERED = 0.99, 0.95
# A body of this IoU is good enough to be let alone.
GOOD = 0.95
# The iterations that a run goes on when its body is whole, at a falling rate, as a share of those that are done.
ENDING = 0.2
# A run is stuck where the last share of its looks brought less than this, and wavers where they differ by more than that.
RECENT, LITTLE, MUCH = 0.25, 0.01, 0.1


class Look(NamedTuple):
    """What a rule grows at one iteration: means over some bodies, 0..1.

    Attributes:
        iteration: The iteration.
        grown: The IoU at the horizon.
        right: The share of the shared cells with the right kind; of colours 1 less their error.
        held: The IoU some hundred steps later.
        healed: The least share of what was there that comes back after a cut; 1 where nothing is cut.
        alive: The share of bodies that have not died on the way to the horizon.
    """

    iteration: int
    grown: float
    right: float = 0.0
    held: float = 0.0
    healed: float = 0.0
    alive: float = 1.0

    def metrics(self) -> dict[str, float]:
        """Returns the figures by their names in the log; those alone that were measured."""
        values = {f"look_{name}": value for name, value in self._asdict().items() if name != "iteration"}
        return values if self.right else {"look_grown": self.grown, "look_alive": self.alive}

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return min(self.grown, self.right, self.held) >= WHOLE and self.healed >= RECOVERED


@dataclass(frozen=True)
class Course:
    """The looks of a run.

    Attributes:
        looks: What was seen, oldest first.
        whole_at: The iteration at which the body had been whole for a while; 0 = it hasn't yet.
    """

    looks: tuple[Look, ...] = ()
    whole_at: int = 0

    def due(self, config: Config, iteration: int) -> bool:
        """Returns whether a look is due after an iteration: once bodies are damaged, or rollouts have their full length."""
        ripe = (config.damage_from if config.kind.damaging else 0.0) or config.curriculum
        return config.stop_when_whole and not self.whole_at and iteration % EVERY == 0 and iteration > ripe * config.iterations

    def after(self, look: Look) -> "Course":
        """Returns the course with one look more."""
        looks = (*self.looks, look)
        for_a_while = len(looks) >= IN_A_ROW and all(one.whole for one in looks[-IN_A_ROW:])
        return replace(self, looks=looks, whole_at=look.iteration if for_a_while else 0)

    def end(self, config: Config) -> int:
        """Returns the last iteration of the run."""
        if not self.whole_at or not config.stop_when_whole:
            return config.iterations
        return min(config.iterations, round(self.whole_at * (1 + ENDING)))

    def factor(self, config: Config, iteration: int) -> float:
        """Returns the factor on the learning rate in an iteration: it falls while a run with a whole body ends."""
        if iteration <= self.whole_at or not self.whole_at or not config.stop_when_whole:
            return 1.0
        left = (self.end(config) - iteration) / max(1, self.end(config) - self.whole_at)
        return config.final_learning_rate + (1 - config.final_learning_rate) * max(0.0, left)

    def told(self, config: Config, seconds: float) -> str:
        """Returns a line about how the run has ended, for whoever chooses the next one's settings; "" if there is nothing.

        Args:
            config: The experiment.
            seconds: How long it took.
        """
        if not self.looks:
            return ""
        last, end = self.looks[-1], self.end(config)
        if self.whole_at and end < config.iterations:
            rest = duration(seconds / end * (config.iterations - end))
            lacking = 1 - min(last.grown, last.right, last.held)
            return (
                f"whole since iteration {self.looks[-IN_A_ROW].iteration:,} (grown {last.grown:.3f}, held {last.held:.3f}, "
                f"healed {last.healed:.2f}): ended at {end:,} of {config.iterations:,}; the rest, about {rest}, would "
                f"have bought at most {lacking:.3f} (--no-stop-when-whole goes on)"
            )
        # A body that is nearly whole needs no advice.
        return "" if last.grown >= GOOD else self._stuck(config)

    def _stuck(self, config: Config) -> str:
        recent = self.looks[-max(4, round(RECENT * len(self.looks))) :]
        grown = [look.grown for look in recent]
        if len(grown) < 4:
            return f"not whole yet (IoU {grown[-1]:.2f} at the horizon); too short to say more: more --iterations with --resume"
        # Those that die teach nothing: no gradient says what they died of.
        if (alive := sum(look.alive for look in recent) / len(recent)) < 1:
            milder = "gradient+laplacian/4"
            way = f"--perception {milder}, or " if config.perception == "gradient+laplacian" else ""
            way += "" if "first_cell" in config.losses else "the loss term first_cell beside the others (--losses), or "
            way += "--seed-every 1 with a larger --batch"
            return f"{100 * (1 - alive):.0f} % of the bodies died young: {way}"
        half = len(grown) // 2
        gain = sum(grown[half:]) / len(grown[half:]) - sum(grown[:half]) / half
        what = f"IoU {grown[-1]:.2f} at the horizon"
        if max(grown) - min(grown) > MUCH and gain < MUCH / 2:
            return f"wavering between {min(grown):.2f} and {max(grown):.2f}: a lower --learning-rate, or a larger --batch"
        if gain < LITTLE:
            return f"stuck since iteration {recent[0].iteration:,} ({what}): a wider network (--hidden), or other losses"
        return f"not whole yet, and still growing ({what}): more --iterations with --resume"

    def plain(self) -> dict[str, Any]:
        """Returns the course as JSON can hold it."""
        return {"looks": [list(look) for look in self.looks], "whole_at": self.whole_at}

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Self:
        """Returns the course that `plain` wrote."""
        return cls(tuple(Look(*look) for look in saved.get("looks", ())), saved.get("whole_at", 0))
