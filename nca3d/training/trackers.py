"""Where metrics go besides `metrics.jsonl`: TensorBoard events, trackio, wandb. They watch: if one fails, the run goes on."""

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.files import remove_folder

# What runs of this package are filed under.
PROJECT = "nca3d"

# Seconds that wandb gets to hand over what it still holds when training ends: the report waits for it.
PATIENCE = 60.0


class Tracker(Protocol):
    """One place that metrics go to.

    Attributes:
        name: What users call it.
    """

    name: str

    def write(self, values: Mapping[str, float], iteration: int) -> None:
        """Records numbers of an iteration; a run that went back writes an iteration again."""

    def close(self) -> None:
        """Hands over what is still held."""


class TensorBoard:
    """Events in RUN/tensorboard."""

    name = "tensorboard"

    def __init__(self, package: Any, folder: Path, config: Config) -> None:
        self._writer = package.SummaryWriter(str(folder / "tensorboard"))

    def write(self, values: Mapping[str, float], iteration: int) -> None:
        """Records numbers of an iteration."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()


class Wandb:
    """A run of project nca3d; its own files lie in RUN/wandb. $WANDB_MODE=offline needs no network and no account.

    A resumed run is a new one of the same group, since lines after the checkpoint are written again.
    """

    name = "wandb"

    def __init__(self, package: Any, folder: Path, config: Config) -> None:
        # What a run prints is not its business, and what it prints itself would break the bar.
        patience = {"finish_timeout": PATIENCE} if hasattr(package.Settings(), "finish_timeout") else {}
        settings = package.Settings(console="off", silent=True, **patience)
        about = {"project": PROJECT, "name": folder.name, "group": folder.name, "config": config.plain()}
        self._run = package.init(dir=str(folder), settings=settings, **about)
        # Iterations, not calls, are its axis: it takes no step that is not above the one before.
        self._run.define_metric("iteration")
        self._run.define_metric("*", step_metric="iteration")
        print(f"wandb: {Path(self._run.dir).parent if self._run.offline else self._run.url}", file=sys.stderr)

    def write(self, values: Mapping[str, float], iteration: int) -> None:
        """Records numbers of an iteration."""
        self._run.log({**values, "iteration": iteration})

    def close(self) -> None:
        """Hands over what is still held, and ends its run."""
        self._run.finish()


class Trackio:
    """A run of project nca3d in trackio's own folder ($TRACKIO_DIR); `trackio show` opens it."""

    name = "trackio"

    def __init__(self, package: Any, folder: Path, config: Config) -> None:
        about = {"project": PROJECT, "name": folder.name, "group": folder.name, "config": config.plain()}
        # It prints how to look at it; stdout belongs to results.
        with contextlib.redirect_stdout(sys.stderr):
            self._run = package.init(**about)
        self._package = package

    def write(self, values: Mapping[str, float], iteration: int) -> None:
        """Records numbers of an iteration."""
        self._run.log(dict(values), step=iteration)

    def close(self) -> None:
        """Hands over what is still held, and ends its run."""
        # Not the run's own: the package would end it once more when Python ends.
        with contextlib.redirect_stdout(sys.stderr):
            self._package.finish()


# The class, the module that it needs, a name in it, and how to install it. Folders in the working directory can be imported
# too, and have no such name: "wandb" is what wandb calls its own.
KINDS: dict[str, tuple[type[Any], str, str, str]] = {
    "tensorboard": (TensorBoard, "torch.utils.tensorboard", "SummaryWriter", "pip install 'nca3d[tensorboard]'"),
    "wandb": (Wandb, "wandb", "init", "pip install wandb"),
    "trackio": (Trackio, "trackio", "init", "pip install trackio"),
}


def check_trackers(config: Config) -> None:
    """Checks that the packages are there which a config asks for.

    Raises:
        InputError: One is not installed.
    """
    for name, field in _wanted(config):
        _package(name, field)


class Trackers:
    """The trackers that a config asks for; one that fails while the run goes on is told once, and left out from then on.

    Args:
        folder: The run folder.
        config: The experiment.

    Raises:
        InputError: A package is not installed, or can't begin: no account, no network.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self._all: list[Tracker] = []
        for name, field in _wanted(config):
            package, theirs = _package(name, field), (folder / name).exists()
            try:
                self._all.append(KINDS[name][0](package, folder, config))
            # Whatever a package of somebody else raises.
            except Exception as error:
                self.close()
                # A refused run leaves nothing behind, nor do those that it has asked.
                if not theirs and (folder / name).is_dir():
                    remove_folder(folder / name)
                words = " ".join(str(error).split()) or type(error).__name__
                way = "WANDB_MODE=offline, an account (wandb login), or " if name == "wandb" else ""
                raise InputError(
                    "config", field, f"{name}, which can't begin ({words})", f"{way}{field} = {_without(field)}"
                ) from error

    def write(self, values: Mapping[str, Any], iteration: int) -> None:
        """Sends the numbers among some values of an iteration to all of them."""
        numbers = {name: value for name, value in values.items() if isinstance(value, float)}
        for tracker in list(self._all):
            with self._forgiven(tracker, iteration):
                tracker.write(numbers, iteration)

    def close(self) -> None:
        """Ends all of them."""
        while self._all:
            tracker = self._all.pop()
            with self._forgiven(tracker):
                tracker.close()

    @contextlib.contextmanager
    def _forgiven(self, tracker: Tracker, iteration: int | None = None) -> Iterator[None]:
        try:
            yield
        # Whatever a package of somebody else raises: hours of training are worth more than its curves.
        except Exception as error:
            when = "at the end" if iteration is None else f"at iteration {iteration}"
            words = " ".join(str(error).split()) or type(error).__name__
            print(f"{tracker.name} failed {when} ({words}); training goes on without it", file=sys.stderr)
            if tracker in self._all:
                self._all.remove(tracker)


def _wanted(config: Config) -> list[tuple[str, str]]:
    """Returns the names of the trackers that a config asks for, each with the field that does."""
    wanted = [("tensorboard", "tensorboard")] if config.tensorboard else []
    return wanted + ([(config.tracker, "tracker")] if config.tracker != "none" else [])


def _without(field: str) -> str:
    return "none" if field == "tracker" else "false"


def _package(name: str, field: str) -> Any:
    _, module, needed, install = KINDS[name]
    try:
        package = importlib.import_module(module)
    except ImportError as error:
        raise InputError("config", field, f"no {name}", f"{field} = {_without(field)}; or first: {install}") from error
    if not hasattr(package, needed):
        raise InputError("config", field, f"no {name}", f"{field} = {_without(field)}; or first: {install}")
    return package
