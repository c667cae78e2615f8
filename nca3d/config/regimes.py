"""What each regime asks of a config, as far as it can be told without torch: its table, its steps, what contradicts it.

growing, persistent and regenerating (Mordvintsev et al. 2020) are one experiment with two switches. A wing may bring regimes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError
from nca3d.registry import LazyImport, Registry

if TYPE_CHECKING:
    from nca3d.config.record import Config


GROWTH, FINISH = LazyImport("nca3d.training.growth:Growth"), LazyImport("nca3d.experiment:finish_run")


@dataclass(frozen=True)
class Regime:
    """A body that grows; `pooled`: it also stays, and evolved states come back; `damaging`: it also heals.

    Args:
        name: as configs call it.
        pooled: whether training returns to evolved states.
        damaging: whether some of them are damaged on the way.
        table: the table of fields that it reads beside what all runs share.
        task: what the training loop asks ("module:class", see `training/task.py`).
        finish: what ends a run with figures and a page ("module:function").
    """

    name: str
    pooled: bool = True
    damaging: bool = False
    table: str = "body"
    task: LazyImport = GROWTH
    finish: LazyImport = FINISH

    def steps(self, config: "Config") -> tuple[int, int]:
        """The range of steps of a training rollout where the config says "auto"."""
        return max(config.size) + 5, 2 * max(config.size) + 10

    def subject(self, config: "Config") -> str:
        """What a run is about: its folder is named after it."""
        return config.target

    def channels(self, config: "Config") -> int:
        """About how many channels a cell will have, for an estimate of memory."""
        return config.channels_for(3)

    def contradictions(self, values: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """Fields that are fine alone and not in this regime: the one to change first, what it depends on; what would do."""
        return ()

    def check_inputs(self, config: "Config") -> object:
        """Refuse at once what is wrong with the files that a run reads: torch alone takes seconds to load.

        Returns:
            What was read, for `train(given=…)`; None where a plug-in may have to register it first.

        Raises:
            InputError: a target that can't be used.
        """
        if config.init and not config.init.startswith("zoo:") and not Path(config.init).is_dir():
            raise InputError("config", "init", repr(config.init), "a run folder, a checkpoint folder or zoo:NAME")
        return None if config.plugins else self.read(config)

    def read(self, config: "Config") -> object:
        """What the config names: the target."""
        from nca3d import targets

        return targets.load(config.target, size=config.size, **config.target_options)


REGIMES = Registry("regime")
REGIMES.update(
    (regime.name, regime)
    for regime in (Regime("growing", pooled=False), Regime("persistent"), Regime("regenerating", damaging=True))
)
