"""What each regime asks of a config, as far as that can be checked without torch: its table, its steps, its contradictions.

growing, persistent and regenerating (Mordvintsev et al. 2020) are one experiment with two switches. A wing may bring regimes.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.config import shipped
from nca3d.config.devices import multiplies_bf16
from nca3d.config.recipe import CODE, Choice, Facts, fitting_batch, recipe, told
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
        per_cell: whether its rules may have weights of each cell's own.
        finish: the function that measures the trained rule and writes the report ("module:function").
    """

    name: str
    pooled: bool = True
    damaging: bool = False
    table: str = "body"
    task: LazyImport = GROWTH
    finish: LazyImport = FINISH
    per_cell: bool = False

    def steps(self, config: "Config") -> tuple[int, int]:
        """Returns the range of steps of a training rollout where the config says "auto"."""
        # From the centre a body reaches its farthest cell in about half its longest side; the rest is time to settle.
        return max(config.lattice) + 5, 2 * max(config.lattice) + 10

    def splits(self, config: "Config") -> str:
        """Returns what several processes share out: the "samples" of a batch, or the cells of the "lattice"."""
        return "samples" if config.split == "auto" else str(config.split)

    def subject(self, config: "Config") -> str:
        """Returns what a run's folder is named after: the name of the target."""
        assert isinstance(config.target, str), "one body"
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
        if self.table == "body" and values["split"] == "lattice" and values["executor"] not in ("auto", "slabs"):
            yield ("executor", "split"), "auto or slabs, where split = lattice: the others run whole lattices"

    def check_inputs(self, config: "Config", folder: str | os.PathLike[str] | None = None) -> object:
        """Checks the files that a run reads, before torch is loaded, which takes seconds.

        Args:
            config: the experiment.
            folder: the folder of the run to resume; None = a new run.

        Returns:
            What was read, for `train(given=…)`; None if there are plug-ins, which may have to register it first.

        Raises:
            InputError: the target or the `init` rule can't be used.
        """
        # A folder that is missing is found out now; what is in it is checked when the rule is built.
        if config.init and not config.init.startswith("zoo:") and not Path(config.init).is_dir():
            raise InputError("config", "init", repr(config.init), "a run folder, a checkpoint folder or zoo:NAME")
        return None if config.plugins else self.read(config, folder)

    def read(self, config: "Config", folder: str | os.PathLike[str] | None = None) -> object:
        """Reads and returns what the config names: the target, of a resumed run the one that it keeps."""
        from nca3d import targets
        from nca3d.targets.kept import kept_by_run

        assert isinstance(config.target, str), "one body"
        if folder is not None:
            kept = kept_by_run(Path(folder), str(config.anchored().target), config.target_options, config.size)
            if kept is not None:
                return kept
        return targets.load(config.target, size=config.size, **config.target_options)

    def sized(
        self, config: "Config", given: object = None, folder: str | os.PathLike[str] | None = None
    ) -> tuple["Config", object]:
        """Returns the config with all in numbers that the body decides, and what was read for it, so that it is read once.

        This is the one place where the target of a run decides on its lattice and on what is "auto"; everything after it sees
        numbers.

        Args:
            config: the experiment. Its plug-ins have been run.
            given: what it would read, if the caller has read it already.
            folder: the folder of the run to resume; None = a new run.
        """
        # Else it is read by the task, after a look at the memory that the run needs.
        if given is None and (config.size == "auto" or folder is not None or self.follows(config)):
            given = self.read(config, folder)
        # Its own from now on, whatever a later version has for "auto".
        size = config.size if config.size != "auto" else given.size  # type: ignore[attr-defined]  # a body has a size
        config = config.replace(size=size)
        # What the body has no say in has its own value.
        own = {name: getattr(config, name) for name in config.open_fields}
        chosen = {choice.field: choice.value for choice in self._choices(config, given, folder)}
        if folder is not None and (file := Path(folder) / "config.toml").is_file():
            # What is left open is what the run has.
            before = type(config).from_dict(*shipped.read(file))
            left = [*own, *self._words(config)]
            chosen = {name: getattr(before, name) for name in left} if before.regime == config.regime else {}
        return config.replace(**own | chosen), given

    def follows(self, config: "Config") -> bool:
        """Returns whether fields of a config follow from the body: no other kind of training has one."""
        return bool(config.open_fields) and self.table == "body"

    def chosen(self, config: "Config", given: object, folder: str | os.PathLike[str] | None = None) -> str:
        """Returns lines about what follows from a body, and why; "" for nothing.

        Args:
            config: the experiment as it was asked for.
            given: what was read for it, see `sized`.
            folder: the folder of the run to resume; None = a new run.
        """
        choices = self._choices(config, given, folder)
        # That a run may end early is said when it does.
        if all(choice.field == "stop_when_whole" for choice in choices):
            return ""
        kept = sorted(config.open_fields & SHAPES) if config.init else []
        return told(self.facts(given), choices) + (f"\n  {', '.join(kept)} as in {config.init}" if kept else "")

    def facts(self, given: object) -> Facts:
        """Returns the facts of a body that was read: a `Target`, or one as a run keeps it."""
        body: Any = getattr(given, "target", given)
        return Facts.of(body, multiplies_bf16())

    @staticmethod
    def _words(config: "Config") -> set[str]:
        """Returns the fields that are open by what they hold: no losses are those of the kind, "auto" steps the regime's."""
        return ({"losses"} if not config.losses else set()) | ({"steps"} if isinstance(config.steps, str) else set())

    def _choices(self, config: "Config", given: object, folder: str | os.PathLike[str] | None) -> list[Choice]:
        """Returns what the body has for fields that were left open; a run that is resumed goes on as it began."""
        if folder is not None or not self.follows(config):
            return []
        left = config.open_fields | self._words(config)
        # A rule to start from has its shapes already.
        left -= SHAPES if config.init else set()
        # What nobody looks at: rules of one's own read no code, narrow cells have no room for it; without a pool all are seeds.
        body: Any = getattr(given, "target", given)
        narrow = not isinstance(config.channels, str) and config.channels < body.visible + 1 + 2 * CODE
        left -= {"code"} if config.rule not in CODED or narrow else set()
        left -= ({"seed_every"} if not self.pooled else set()) | ({"damage_from"} if not self.damaging else set())
        choices = [choice for choice in recipe(self.facts(given)) if choice.field in left]
        damaged = config.damage_count if self.damaging else 0
        return [
            choice._replace(value=fitting_batch(choice.value, config.accumulate, damaged, config.pool_size))
            if choice.field == "batch"
            else choice
            for choice in choices
        ]


# The rules of config `rule` whose classes may be read from a code.
CODED = ("conv", "coded")
# What a rule that training starts from has already.
SHAPES = frozenset({"hidden", "code", "perception"})


# The three experiments of Mordvintsev et al. 2020, in the order of the paper.
REGIMES = Registry("regime")
REGIMES.update(
    (regime.name, regime)
    for regime in (Regime("growing", pooled=False), Regime("persistent"), Regime("regenerating", damaging=True))
)
