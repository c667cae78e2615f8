"""When a run is saved, and what becomes of it when that is impossible."""

import contextlib
import os
import sys
from collections.abc import Iterator

from nca3d import checkpoint
from nca3d.errors import RunError
from nca3d.process import room
from nca3d.process.supervise import called
from nca3d.ranks import by_first, current
from nca3d.ranks.restart import note_way_on
from nca3d.ranks.telling import BY_LAUNCHER
from nca3d.training.run_folder import RunFolder
from nca3d.training.trainer import Trainer


class Saver:
    """Saves a run before its first iteration, every `save_every` of them, at its end, and whenever it ends otherwise.

    A save that fails in the middle of a run is told and tried again at the next one: a disk that is full now may have room
    then. Only the last one must work.

    Args:
        trainer: what is saved.
        folder: where.
    """

    def __init__(self, trainer: Trainer, folder: RunFolder) -> None:
        self.trainer, self.folder = trainer, folder
        # A resumed run was saved where it goes on.
        self._saved: int | None = trainer.iteration or None
        # Whether a save is going on.
        self.busy = False

    def first(self) -> None:
        """Saves a run that was never saved: whatever comes, there is something to go back to.

        Raises:
            RunError: it can't be saved; better to know that now than in an hour.
        """
        if self._saved is None:
            self._save()

    def again(self) -> None:
        """Saves the iteration that a run went back to once more, with the record of its retries."""
        self._saved = self.trainer.iteration
        try:
            self._save()
        except RunError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            # The old one of this iteration is there: whoever resumes from it goes wrong once more, and then the same way.
            print(error, file=sys.stderr)
        by_first(lambda: checkpoint.remove_after(self.folder.path, self.trainer.iteration))

    def in_between(self) -> None:
        """Saves where that is due; never in the middle of bad steps: the last checkpoint must be worth going back to.

        Raises:
            RunError: the run folder is gone, or weights or pool are not finite.
        """
        trainer = self.trainer
        if trainer.bad_steps or trainer.iteration % trainer.config.save_every:
            return
        try:
            self._save()
        except RunError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            print(f"{error}; training goes on, and saves again in {trainer.config.save_every} iterations", file=sys.stderr)

    def last(self) -> None:
        """Saves what there is, unless it is saved already.

        Raises:
            RunError: it can't be saved, or the run folder is gone.
        """
        self.folder.require()
        if self._saved != self.trainer.iteration:
            self._save()

    @contextlib.contextmanager
    def whatever_happens(self) -> Iterator[None]:
        """A context that ends with a last save if it ends by an error, which is raised again.

        Raises:
            RunError: something called sys.exit or os._exit, which must not look like a run that was done.
        """
        try:
            yield
        # All of them: a loss of one's own may raise anything.
        except BaseException as error:
            room.let_go(error)
            self._rescue(error)
            if isinstance(error, SystemExit):
                by = f"{self.folder.path}: iteration {self.trainer.iteration + 1}: something called {called(error)}"
                raise RunError(f"{by}, a loss or a rule of your own perhaps, which ended the run before it was done") from error
            raise

    def _rescue(self, cause: BaseException) -> None:
        """Tries a last save and says what came of it; raises nothing, so that the error that ended the run is told too."""
        where, iteration = self.folder.path, self.trainer.iteration
        if self.trainer.phase == "change":
            print(
                f"{where}: not saved: iteration {iteration} was only half done; the older checkpoints are kept", file=sys.stderr
            )
        # The others may be gone, or at work: a save takes all of them.
        elif current().size > 1:
            # What a launcher of ours has been left to say, it says.
            if iteration and self.folder.is_there() and not os.environ.get(BY_LAUNCHER):
                print(f"{where}: goes on from its last checkpoint with: {self.folder.way_on}", file=sys.stderr)
        # Nothing was done yet: nobody misses it.
        elif iteration:
            try:
                self.last()
                print(f"saved at iteration {iteration}; go on with: {self.folder.way_on}", file=sys.stderr)
            except Exception as error:
                # A save that failed may be the cause itself.
                if str(error) != str(cause):
                    print(error, file=sys.stderr)

    def _save(self) -> None:
        self.busy = True
        try:
            self._save_or_make_room()
        finally:
            self.busy = False

    def _save_or_make_room(self) -> None:
        self.folder.require()
        try:
            self.trainer.save(self.folder.path)
        except RunError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            removed = by_first(lambda: checkpoint.make_room(self.folder.path))
            if not removed:
                raise
            self.trainer.save(self.folder.path)
            names = ", ".join(sorted(path.name for path in removed))
            print(f"{self.folder.path}: the disk was full: {names} had to go to save this one", file=sys.stderr)
        self._saved = self.trainer.iteration
        if current().size > 1 and current().first:
            note_way_on(f"{self.folder.path}: goes on from its last checkpoint with: {self.folder.way_on}")
        if self._saved:
            config = self.trainer.config
            by_first(lambda: checkpoint.set_first_aside(self.folder.path, config.keep_checkpoints, config.save_every))
