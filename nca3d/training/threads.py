"""How many CPU threads a run computes with."""

import contextlib
import math
from collections.abc import Iterator

import torch

from nca3d.config import Config
from nca3d.executors.cores import torch_threads, use_cores

# Cells of a batch below which one thread is the best choice for torch's operations.
SMALL = 32_768


def choose_threads(config: Config) -> int:
    """The threads of torch's operations that the config names; 0 = one for small batches, else as many as torch has.

    On small lattices an operation takes a tenth of a millisecond, less than waking a thread for it may take. Compiled steps,
    most of an iteration, run for tens of milliseconds: they use all threads that there are (`executors.use_cores`).
    """
    if config.threads:
        return config.threads
    return 1 if config.batch * math.prod(config.size) < SMALL else torch.get_num_threads()


@contextlib.contextmanager
def threads(config: Config) -> Iterator[None]:
    """Computes with `choose_threads(config)` threads, and gives back as many as there were: a notebook goes on as before."""
    with use_cores(config.threads or torch.get_num_threads()), torch_threads(choose_threads(config)):
        yield
