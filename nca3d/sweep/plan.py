"""What is asked of a sweep, as a record that is kept in its folder: `sweep.toml` and, beside it, the config in `base.toml`."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nca3d.config import FIELDS, Config, plugins, shipped
from nca3d.errors import ErrorCollector, InputError, nearest
from nca3d.schema.spec import toml
from nca3d.sweep.axes import VARY, Axis, read_axes

PLAN, BASE, JOURNAL, TRIALS = "sweep.toml", "base.toml", "journal.log", "trials"
SEARCHES = ("grid", "tpe", "random")
# What a trial measures when it is trained: nothing, or an evaluation of that preset.
MEASURES = ("none", "quick", "standard", "full")
# More runs than this are a mistake in the command, and a journal of them takes minutes to write.
MOST = 10_000
# Combinations that are checked, at most, where a search has more.
PROBES = 4096

Setting = Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is asked of a sweep.

    Attributes:
        base: the config that all runs share, as a table of TOML.
        where: the file that it comes from, for errors.
        vary: what varies, as texts (`axes.read_axes`).
        search: "grid" = every combination; else how the next setting is chosen.
        trials: how many settings a search tries.
        seeds: how many random seeds each setting is run with, counted up from the config's.
        prune: whether trials that fall behind end early.
        measure: the preset by which a trained rule is measured; "none" = by the last line of its metrics.
        figures: names of the figures in the table, or patterns of them; () = the headlines.
        objective: the figure that a search is for; "" = the metric that the progress bar of training shows.
        minimise: whether less of it is better.
        storage: the URL of a database; "" = the journal in the sweep's folder.
        study: the name of Optuna's study.
        named: whether the caller names the plug-ins, which need no confirmation then; it is not kept.
    """

    base: dict[str, Any]
    where: str
    vary: tuple[str, ...]
    search: str = "grid"
    trials: int = 0
    seeds: int = 3
    prune: bool = False
    measure: str = "quick"
    figures: tuple[str, ...] = ()
    objective: str = ""
    minimise: bool = False
    storage: str = ""
    study: str = "sweep"
    named: bool = False
    axes: list[Axis] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", read_axes(self.vary, search=self.search != "grid"))

    @property
    def first_seed(self) -> int:
        """The config's random seed, the first that a setting is run with."""
        return int(self.base.get("random_seed", 0))

    def config(self, setting: Setting, seed: int) -> Config:
        """Returns the config of one run.

        Args:
            setting: the values of what varies, by field or TABLE.ENTRY.
            seed: the random seed.

        Raises:
            InputErrors: the config can't be used, one line for each field.
        """
        over: dict[str, Any] = {"random_seed": seed}
        if self.named:
            over["plugins"] = self.base.get("plugins", [])
        for name, value in setting.items():
            table, dot, entry = name.partition(".")
            over[table] = {**over.get(table, self._table(table)), entry: value} if dot else value
        config = Config.from_dict(self.base, self.where, dict.fromkeys(over, VARY), over)
        # A run without a single line of metrics could not be judged.
        return config.replace(log_every=min(config.log_every, config.iterations))

    def _table(self, name: str) -> dict[str, Any]:
        """Returns the entries that the config itself has in a table of options."""
        home = self.base.get(FIELDS[name].table, {}) if FIELDS[name].table else self.base
        return dict(home.get(name, self.base.get(name, {})))

    def settings(self) -> Iterator[Setting]:
        """Yields the settings of a grid; of a search, those that are checked: its choices and the ends of its ranges."""
        names = [axis.name for axis in self.axes]
        for values in itertools.product(*(axis.probes for axis in self.axes)):
            yield dict(zip(names, values, strict=True))

    def count(self) -> int:
        """Returns how many trials there are: a run each of a grid, a setting each of a search."""
        if self.search != "grid":
            return self.trials
        count = self.seeds
        for axis in self.axes:
            count *= len(axis.probes)
        return count

    def check(self, here: bool = True) -> None:
        """Checks every combination as a config, and reads the files that they name; nothing is written.

        Args:
            here: whether the runs are for this machine, so that their devices and packages must be on it.

        Raises:
            InputErrors: everything that is wrong, each line once.
        """
        # Imported late: they know no torch, but need not be there for --help.
        from nca3d.training.memory import check_memory

        found: dict[str, InputError] = {}
        asked: set[str] = set()
        if self.count() > MOST:
            raise InputError(VARY, "runs", f"{self.count():,}", f"at most {MOST:,}, with all seeds")
        for axis in self.axes:
            table, dot, _ = axis.name.partition(".")
            if dot and table == "losses" and not self._table(table):
                way = "losses in the config first (--losses NAME=WEIGHT …): alone, it would replace the default terms"
                raise InputError(VARY, axis.name, "an entry of a table that the config leaves empty", way)
        with ErrorCollector() as errors:
            for setting in itertools.islice(self.settings(), None if self.search == "grid" else PROBES):
                with _collected(found):
                    config = self.config(setting, self.first_seed)
                    check_memory(config)
                    if here:
                        _check_machine(config)
                    if (reads := _reads(config)) not in asked:
                        asked.add(reads)
                        plugins.check(config.plugins, config.plugins_from)
                        config.kind.check_inputs(config)
                        _check_names(config, {axis.name for axis in self.axes})
            with _collected(found):
                self.config(next(self.settings()), self.first_seed + self.seeds - 1)
            errors += found.values()

    def save(self, folder: Path, config: Config) -> None:
        """Writes the plan into a folder; `base.toml` is a config like any other."""
        from nca3d.files import write_atomic

        kept = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self) if entry.name in _KINDS}
        lines = ["# What was asked of nca3d sweep; base.toml has the config that all runs share. Go on with: --resume FOLDER"]
        lines += [f"{name} = {toml(value)}" for name, value in kept.items()]
        write_atomic(folder / PLAN, ("\n".join(lines) + "\n").encode())
        write_atomic(folder / BASE, config.to_toml().encode())

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        """Reads the plan of a sweep.

        Raises:
            InputError: there is none, or it was changed into something that can't be used.
        """
        file = folder / PLAN
        if not file.is_file():
            found = "no such folder" if not folder.exists() else f"no {PLAN} in it"
            raise InputError(folder, "resume", found, "the folder of a sweep that nca3d sweep made")
        record, where = shipped.read(file)
        with ErrorCollector() as errors:
            for name, value in record.items():
                kind = _KINDS.get(name)
                known = kind is not None and type(value) is kind
                errors.add(not known, where, name, repr(value), f"{kind.__name__ if kind else 'a key that nca3d wrote'}")
            missing = ", ".join(name for name in _KINDS if name not in record)
            errors.add(bool(missing), where, "keys", f"no {missing}", "those that nca3d wrote")
            for name, allowed in (("search", SEARCHES), ("measure", MEASURES)):
                errors += wrong_word(where, name, record.get(name, allowed[0]), allowed)
        base, base_where = shipped.read(folder / BASE)
        kept: dict[str, Any] = {}
        for name, value in record.items():
            kept[name] = tuple(value) if isinstance(value, list) else value
        return cls(base, base_where, **kept)


# The keys of sweep.toml, with their types.
_KINDS: dict[str, type] = {
    "vary": list,
    "search": str,
    "trials": int,
    "seeds": int,
    "prune": bool,
    "measure": str,
    "figures": list,
    "objective": str,
    "minimise": bool,
    "storage": str,
    "study": str,
}


def wrong_word(where: object, name: str, value: object, allowed: Sequence[str]) -> list[InputError]:
    """Returns an error if a value is none of the allowed words."""
    if value in allowed:
        return []
    return [InputError(where, name, repr(value), f"one of {', '.join(allowed)}{nearest(str(value), allowed)}")]


class _collected:
    """A context that enters input errors into a table by their text: a value that is wrong is so in many combinations."""

    def __init__(self, found: dict[str, InputError]) -> None:
        self._found = found

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, InputError):
            return False
        self._found.update((str(one), one) for one in error.errors)
        return True


def _reads(config: Config) -> str:
    """Returns what decides which files a run reads, so that the same ones are read once."""
    fields = {
        name: getattr(config, name)
        for name, spec in FIELDS.items()
        if spec.path or spec.is_table or name in ("size", "regime", "rule", "damages") or spec.table not in ("", "body")
    }
    return repr(fields)


def _check_names(config: Config, varied: set[str]) -> None:
    """Checks the names of rules, losses and damages where they vary; the registries need torch, so only then.

    Raises:
        InputErrors: names are not registered.
    """
    asked = {name.partition(".")[0] for name in varied} & {"rule", "losses", "damages", "rule_options"}
    if not asked:
        return
    import pools
    from nca3d.losses import LOSSES
    from nca3d.rules import RULES
    from nca3d.training.build import check_rule_options

    plugins.run(config.plugins, config.plugins_from)
    known: dict[str, Mapping[str, Any]] = {"rule": RULES, "losses": LOSSES, "damages": pools.damage.DAMAGES}
    with ErrorCollector() as errors:
        for name in sorted(asked & known.keys()):
            errors.of(config.require_known, name, known[name], VARY)
        if not errors:
            errors.of(check_rule_options, config)


def _check_machine(config: Config) -> None:
    """Checks that this machine has the device and the packages that a config asks for.

    Raises:
        InputError: one is missing.
    """
    if "8bit" in config.optimizer and find_spec("bitsandbytes") is None:
        raise InputError(VARY, "optimizer", f"{config.optimizer!r} without bitsandbytes", "pip install 'nca3d[gpu]'")
    if config.device == "cuda" or config.optimizer.startswith("paged"):
        import torch

        if not torch.cuda.is_available():
            field, value = ("device", "cuda") if config.device == "cuda" else ("optimizer", config.optimizer)
            raise InputError(
                VARY, field, f"{value!r}, and torch sees no CUDA device", "another one, or --jobs 0 for another machine"
            )
    if config.tracker != "none" and find_spec(config.tracker) is None:
        raise InputError(VARY, "tracker", f"{config.tracker!r}, which is not installed", f"pip install {config.tracker}")
