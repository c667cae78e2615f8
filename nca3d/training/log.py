"""What a run writes about itself while it trains: one JSON line per logged iteration, for trackers too on request."""

import math
from types import TracebackType
from typing import Any

import pools
from nca3d.ranks import current
from nca3d.training.monitor import Monitor
from nca3d.training.run_folder import RunFolder
from nca3d.training.step import Outcome
from nca3d.training.trackers import Trackers
from nca3d.training.trainer import Trainer

# How many states of the pool have their distances measured: the distances cost the square of it.
POOLED = 16

# The entries of `pools.diversity.summary` that are logged.
DIVERSITY = ("distance_mean", "distance_nearest", "effective_states", "participation_ratio", "dead_share", "living_cells_mean")

# Those of them that mean nothing for a rule whose cells are always alive.
OF_LIVING = ("dead_share", "living_cells_mean")


class Log:
    """Writes means over the iterations since the last line, so that sparse lines are not noisy ones.

    Args:
        folder: the run folder, whose `metrics.jsonl` is written.
        trainer: whose iterations are logged; its config says how often (`log_every`, `pattern_every`) and where to besides.

    Raises:
        InputError: the config asks for a tracker that is not installed, or can't begin.
    """

    def __init__(self, folder: RunFolder, trainer: Trainer) -> None:
        self.folder, self.config = folder, trainer.config
        self.monitor = Monitor(trainer.config, trainer.rule, trainer.task.epoch)
        # Metrics of the iterations since the last line.
        self.pending: list[dict[str, float]] = []
        # Of several processes the first one writes: its own share, where nobody has the whole.
        self.trackers = Trackers(folder.path, trainer.config) if current().first else None

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.trackers is not None:
            self.trackers.close()

    def write(self, trainer: Trainer, outcome: Outcome, seconds: float) -> None:
        """Records one iteration; a line is due every `log_every` iterations, and at once for a faulty one.

        Args:
            trainer: what has done it.
            outcome: what came of it.
            seconds: how long it took.
        """
        self.monitor.note(outcome.work, seconds)
        if outcome.fault:
            # With the states that were lost, and started again from the seed: in other iterations they are in the means.
            lost = {name: value for name, value in outcome.metrics.items() if name.startswith("reseeded_") and value}
            self._line(trainer, {"fault": outcome.fault, **lost})
        else:
            self.pending.append(outcome.metrics)
        # Nothing is pending if all iterations since the last line were faulty; each of those has its own line.
        if self.pending and trainer.iteration % self.config.log_every == 0:
            # Looks come in few iterations, all else in each.
            names = dict.fromkeys(name for metrics in self.pending for name in metrics)
            means = {name: _mean([m[name] for m in self.pending if name in m]) for name in names}
            self.pending = []
            means["learning_rate"] = trainer.optimizer.param_groups[0]["lr"]
            means["pool_age"] = float(trainer.pool.age.float().mean())
            # The first line at or after each multiple of `pattern_every`.
            means |= self.monitor.figures()
            if self.config.pattern_every and trainer.iteration % self.config.pattern_every < self.config.log_every:
                means |= pattern_metrics(trainer, outcome)
            self._line(trainer, means)

    def went_back(self, trainer: Trainer) -> None:
        """Records that a run has gone back to the iteration that it is at now, and drops the lines after it."""
        self.pending = []
        self.monitor.figures()
        self.folder.cut_metrics(trainer.iteration)
        last, retry = trainer.recovery.setbacks[-1], len(trainer.recovery.setbacks)
        self._line(trainer, {"fault": last.cause, "failed_at": last.iteration, "retry": retry})

    def _line(self, trainer: Trainer, values: dict[str, Any]) -> None:
        # All processes come as far as this: what is in a line may be work of all.
        if self.trackers is None:
            return
        where = {"iteration": trainer.iteration, "seconds": round(trainer.seconds, 3)}
        self.folder.append_metrics({**where, **values, "skipped": trainer.skipped})
        self.trackers.write(values, trainer.iteration)


def pattern_metrics(trainer: Trainer, outcome: Outcome) -> dict[str, float | None]:
    """Returns the mean pattern of an iteration's final states and the diversity of the pool; nothing random is drawn.

    Both are of what this process has of them, which may be nothing; rank 0 always has some.
    """
    metrics: dict[str, float | None] = {}
    if outcome.states is not None and len(outcome.states):
        pattern = trainer.task.pattern(trainer.rule, outcome.states)
        metrics |= {name: _mean(values) for name, values in pattern.items()}
    if trainer.task.pooled and len(states := trainer.pool.states):
        diversity = pools.diversity.summary(states, trainer.rule.alpha, max_states=POOLED)
        names = [name for name in DIVERSITY if trainer.rule.alive_threshold is not None or name not in OF_LIVING]
        metrics |= {f"pool_{name}": _mean([diversity[name]]) for name in names}
    return metrics


def _mean(values: list[float]) -> float | None:
    """Returns the mean; None where it is not finite, since JSON has no NaN."""
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
    return mean if math.isfinite(mean) else None
