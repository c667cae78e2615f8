"""What each regime asks of a config, as far as that can be checked without torch: its table, its steps, its contradictions.

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


# By name, since these modules import torch: they are loaded when a run begins.
GROWTH, FINISH = LazyImport("nca3d.training.growth:Growth"), LazyImport("nca3d.experiment:finish_run")


@dataclass(frozen=True)
class Regime:
    """What kind of training a run is. A body always learns to grow; two switches say what else it learns.

    Attributes:
        name: the name in configs.
        pooled: whether training returns to evolved states, so that the body learns to persist.
        damaging: whether some of those states are damaged, so that it learns to regenerate.
        table: the table of fields that it reads besides the shared ones.
        task: the class of the task ("module:class", see `training/task.py`).
        finish: the function that measures the trained rule and writes the report ("module:function").
    """

    name: str
    pooled: bool = True
    damaging: bool = False
    table: str = "body"
    task: LazyImport = GROWTH
    finish: LazyImport = FINISH

    def steps(self, config: "Config") -> tuple[int, int]:
        """Returns the range of steps of a training rollout where the config says "auto"."""
        # From the centre a body reaches its farthest cell in about half its longest side; the rest is time to settle.
        return max(config.lattice) + 5, 2 * max(config.lattice) + 10

    def subject(self, config: "Config") -> str:
        """Returns what a run's folder is named after: the name of the target."""
        return config.target

    def channels(self, config: "Config") -> int:
        """Returns about how many channels a cell will have, for an estimate of memory."""
        return config.channels_for(3)

    def contradictions(self, values: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """Returns combinations of fields that this regime can't use.

        Args:
            values: all fields by name.

        Returns:
            For each contradiction the fields concerned, the one to change first, and the allowed values in words.
        """
        return ()

    def check_inputs(self, config: "Config") -> object:
        """Checks the files that a run reads, before torch is loaded, which takes seconds.

        Returns:
            What was read, for `train(given=…)`; None if there are plug-ins, which may have to register it first.

        Raises:
            InputError: the target or the `init` rule can't be used.
        """
        # A folder that is missing is found out now; what is in it is checked when the rule is built.
        if config.init and not config.init.startswith("zoo:") and not Path(config.init).is_dir():
            raise InputError("config", "init", repr(config.init), "a run folder, a checkpoint folder or zoo:NAME")
        return None if config.plugins else self.read(config)

    def read(self, config: "Config") -> object:
        """Reads and returns what the config names: the target."""
        from nca3d import targets

        return targets.load(config.target, size=config.size, **config.target_options)

    def sized(self, config: "Config", given: object = None) -> tuple["Config", object]:
        """Returns the config with its size in numbers, and what had to be read for that, so that it is read once.

        This is the one place where the target of a run decides on its lattice; everything after it sees numbers.

        Args:
            config: the experiment. Its plug-ins have been run.
            given: what it would read, if the caller has read it already.
        """
        if config.size != "auto":
            # Its own from now on, whatever a later version has for "auto".
            return config.replace(size=config.size), given
        given = self.read(config) if given is None else given
        return config.replace(size=given.size), given  # type: ignore[attr-defined]  # a body has a size


# The three experiments of Mordvintsev et al. 2020, in the order of the paper.
REGIMES = Registry("regime")
REGIMES.update(
    (regime.name, regime)
    for regime in (Regime("growing", pooled=False), Regime("persistent"), Regime("regenerating", damaging=True))
)
