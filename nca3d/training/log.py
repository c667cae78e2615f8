"""What a run writes about itself while it trains: one JSON line for each logged iteration, and TensorBoard events if asked."""

import math
from types import TracebackType
from typing import Any

import pools
from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.training.run_folder import RunFolder
from nca3d.training.step import Outcome
from nca3d.training.trainer import Trainer

# States of the pool whose distances are measured.
POOLED = 16

# The pool's figures that are logged, of `pools.diversity.summary`.
DIVERSITY = ("distance_mean", "distance_nearest", "effective_states", "participation_ratio", "dead_share", "living_cells_mean")

# Those that mean nothing where no cell is ever dead.
OF_LIVING = ("dead_share", "living_cells_mean")


class Log:
    """Means over the iterations since the last line, so that sparse lines are not noisy ones.

    Args:
        folder: whose `metrics.jsonl` is written.
        config: `log_every`, `tensorboard`.

    Raises:
        InputError: TensorBoard asked for and not installed.
    """

    def __init__(self, folder: RunFolder, config: Config) -> None:
        self.folder, self.config = folder, config
        self.waiting: list[dict[str, float]] = []
        self.events: Any = None
        if config.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise InputError("config", "tensorboard", "no tensorboard", "pip install 'nca3d[tensorboard]'") from error
            self.events = SummaryWriter(str(folder.path / "tensorboard"))

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.events is not None:
            self.events.close()

    def write(self, trainer: Trainer, outcome: Outcome) -> None:
        """Take note of one iteration; faulty ones get a line at once."""
        if outcome.fault:
            self._line(trainer, {"fault": outcome.fault})
        else:
            self.waiting.append(outcome.metrics)
        if self.waiting and trainer.iteration % self.config.log_every == 0:
            means = {name: _mean([m[name] for m in self.waiting if name in m]) for name in self.waiting[-1]}
            self.waiting = []
            means["learning_rate"] = trainer.optimizer.param_groups[0]["lr"]
            means["pool_age"] = float(trainer.pool.age.float().mean())
            if self.config.pattern_every and trainer.iteration % self.config.pattern_every < self.config.log_every:
                means |= pattern_figures(trainer, outcome)
            self._line(trainer, means)

    def _line(self, trainer: Trainer, values: dict[str, Any]) -> None:
        where = {"iteration": trainer.iteration, "seconds": round(trainer.seconds, 3)}
        self.folder.append_metrics({**where, **values, "skipped": trainer.skipped})
        if self.events is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self.events.add_scalar(name, value, trainer.iteration)


def pattern_figures(trainer: Trainer, outcome: Outcome) -> dict[str, float | None]:
    """Pattern of the states that an iteration ended with (means), and diversity of the pool; nothing random is drawn."""
    figures: dict[str, float | None] = {}
    if outcome.states is not None:
        found = trainer.task.pattern(trainer.rule, outcome.states)
        figures |= {name: _mean(values) for name, values in found.items()}
    if trainer.task.pooled:
        spread = pools.diversity.summary(trainer.pool.states, trainer.rule.alpha, max_states=POOLED)
        names = [name for name in DIVERSITY if trainer.rule.alive_threshold is not None or name not in OF_LIVING]
        figures |= {f"pool_{name}": _mean([spread[name]]) for name in names}
    return figures


def _mean(values: list[float]) -> float | None:
    """None for what is not finite: JSON has no NaN."""
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
    return mean if math.isfinite(mean) else None
