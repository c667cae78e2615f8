"""Chooses how many CPU threads a run computes with."""

import contextlib
import math
from collections.abc import Iterator

import torch

from nca3d.config import Config
from nca3d.executors.cores import SMALL, torch_threads, use_cores


def choose_threads(config: Config) -> int:
    """Returns the number of threads of torch's operations: the config's, or for 0 one for small batches and else all.

    On small lattices an operation takes a tenth of a millisecond, less than waking a thread for it may take. Compiled steps,
    most of an iteration, run for tens of milliseconds: they use all threads that there are (`executors.use_cores`).

    Args:
        config: `threads`, `batch` and `size`.
    """
    if config.threads:
        return config.threads
    # The whole batch counts: operations run over all its cells at once.
    return 1 if config.batch * math.prod(config.lattice) < SMALL else torch.get_num_threads()


@contextlib.contextmanager
def threads(config: Config) -> Iterator[None]:
    """A context that computes with `choose_threads(config)` threads and restores the number afterwards, as in a notebook."""
    with use_cores(config.threads or torch.get_num_threads()), torch_threads(choose_threads(config)):
        yield
