"""How many CPU threads a run computes with."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch

from nca3d.config import Config

SMALL = 32_768
"""Cells of a batch below which one thread is the best choice."""


def choose_threads(config: Config) -> int:
    """The threads that the config names; 0 = one for small batches, else as many as torch has.

    On small lattices an operation takes a tenth of a millisecond. Two threads gain little there (0.26 s an iteration of the
    default body at 11x20x15 against 0.34) and lose much as soon as anything else runs on the machine (1.4 s against 0.39).
    """
    if config.threads:
        return config.threads
    return 1 if config.batch * math.prod(config.size) < SMALL else torch.get_num_threads()


@contextlib.contextmanager
def threads(config: Config) -> Iterator[None]:
    """Computes with `choose_threads(config)` threads, and gives back as many as there were: a notebook goes on as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(choose_threads(config))
    try:
        yield
    finally:
        torch.set_num_threads(before)
