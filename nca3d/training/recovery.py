"""What a run that goes wrong does: it goes back to its last good state and on more gently, a few times; then it fails.

Two things are noticed, after a few iterations in a row or in what the trained rule does at the end: *extinction* (no
living cell, so that no gradient says how to come back to life) and *divergence* (numbers that are not finite). What a retry
does follows from the checkpoint that it goes back to, which holds the record below: a resumed run is the same run (law 11).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from nca3d.config import FIELDS, Config
from nca3d.fire import training_seed

# Faulty iterations in a row after which a run has gone wrong, whatever more the config allows: no more comes of waiting, as
# weights don't move in a faulty iteration.
NOTICED = 5

# Factor on the learning rate for each retry.
GENTLER = 0.5

# Retries draw other fire masks, samples' damage and steps: their seeds are counted from here, far from those of iterations.
DRAWS = 1 << 29

# Why a run goes wrong, as an iteration and the check at the end say it.
EXTINCT, EXTINCT_AT_END = "no living cell in the whole batch", "no living cell at the horizon"
UNMOVED = "no weight has moved"
BAD_LOSS, BAD_GRADIENT, BAD_AT_END = "non-finite loss", "non-finite gradient", "non-finite values at the horizon"


@dataclass(frozen=True)
class Setback:
    """One time that a run went wrong.

    Attributes:
        iteration: The iteration in which it was noticed.
        cause: What was wrong, one of the texts above.
        learning_rate: The highest learning rate of the schedule that led there.
        back_to: The iteration that the run went back to.
    """

    iteration: int
    cause: str
    learning_rate: float
    back_to: int


@dataclass(frozen=True)
class Recovery:
    """How often a run has gone wrong, and what it does about it.

    Attributes:
        setbacks: What went wrong so far, oldest first; the run is in its retry number `len(setbacks)`.
    """

    setbacks: tuple[Setback, ...] = ()

    def settings(self, config: Config) -> Config:
        """Returns the config that the run follows now: as it was given, or with a lower learning rate and other draws."""
        retry = len(self.setbacks)
        if not retry:
            return config
        seed = training_seed(config.random_seed, DRAWS + retry)
        return config.replace(learning_rate=config.learning_rate * GENTLER**retry, random_seed=seed)

    def candidates(self, saved: list[int], iteration: int, config: Config) -> list[int]:
        """Returns the checkpoints that the run may go back to, the best first.

        Args:
            saved: The iterations of all checkpoints, the newest first.
            iteration: The iteration in which it went wrong.
            config: The config as it was given.
        """
        # Where a signal stopped the run doesn't count: a run that was never stopped has no such checkpoint (law 11).
        regular = [number for number in saved if number % config.save_every == 0] or saved
        if self.setbacks and iteration <= self.setbacks[-1].iteration + config.save_every:
            # The same trouble again, about where it was: what the run went back to led there already.
            return [number for number in regular if number < self.setbacks[-1].back_to] or regular[-1:]
        return regular

    def after(self, iteration: int, cause: str, back_to: int, config: Config) -> "Recovery":
        """Returns the record with one setback more.

        Args:
            iteration: The iteration in which it was noticed.
            cause: What was wrong.
            back_to: The iteration that the run goes back to.
            config: The config as it was given.
        """
        now = Setback(iteration, cause, self.settings(config).learning_rate, back_to)
        return replace(self, setbacks=(*self.setbacks, now))

    def plain(self) -> list[dict[str, Any]]:
        """Returns the setbacks as JSON can hold them."""
        return [vars(setback) for setback in self.setbacks]

    @classmethod
    def of(cls, saved: list[dict[str, Any]]) -> Self:
        """Returns the record that `plain` wrote."""
        return cls(tuple(Setback(**setback) for setback in saved))

    def told(self, config: Config) -> str:
        """Returns the line of the retry that begins now.

        Args:
            config: The config as it was given.
        """
        last = self.setbacks[-1]
        return (
            f"iteration {last.iteration}: {last.cause}: back to iteration {last.back_to}, learning_rate "
            f"{_number(last.learning_rate)} → {_number(self.settings(config).learning_rate)}, other random draws "
            f"(retry {len(self.setbacks)} of {config.retries})"
        )

    def failure(self, config: Config, folder: Path, way_on: str) -> str:
        """Returns why the run failed for good, what to change and what is left, as one line.

        Args:
            config: The config as it was given.
            folder: The run folder.
            way_on: The command with which the run goes on.
        """
        last, retries = self.setbacks[-1], len(self.setbacks) - 1
        rates = ", ".join(_number(setback.learning_rate) for setback in self.setbacks)
        after = f", after {retries} {'retry' if retries == 1 else 'retries'} (learning_rate {rates})" if retries else ""
        return (
            f"{folder}: iteration {last.iteration}: {last.cause}{after}; the state of iteration {last.back_to} is left: "
            f"{_remedies(config, last)}: {way_on}"
        )


def _remedies(config: Config, last: Setback) -> str:
    """Returns what to change: the settings that are bolder than the defaults; else what else may be the cause."""
    if last.cause.startswith(UNMOVED):
        losses = ", ".join(config.losses) or "the default ones"
        return f"no gradient reaches the weights: look at the losses ({losses}), and go on with others"
    bold = [name for name in ("fire_rate", "step_size", "alive_threshold") if _is_bold(config, name)]
    flags = " ".join(f"--{name.replace('_', '-')} {_number(FIELDS[name].default)}" for name in bold)
    if config.losses:
        return f"look at the losses ({', '.join(config.losses)})" + (f", go on with {flags}" if flags else "")
    gentler = f"--learning-rate {_number(last.learning_rate * GENTLER)}, or without damage (--damage-count 0)"
    return f"go on with {flags or gentler}"


def _is_bold(config: Config, name: str) -> bool:
    return bool(getattr(config, name) > FIELDS[name].default)


def _number(value: float) -> str:
    return f"{value:.3g}"
