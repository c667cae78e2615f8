"""Memory of rollouts that the next one uses again: fresh pages, which are zeroed first, cost a training a quarter of its time.

A tape goes back to `TAPES` when the last tensor that shares its memory is gone, and is given to the next rollout that needs no
more; one that nobody needed for a while is freed.
"""

import weakref

import numpy as np
import torch
from torch import Tensor

# Bytes that may lie idle, how many tapes may be taken before one that lies idle is freed, and what is too small to be worth it.
IDLE, PATIENCE, SMALL = 1 << 30, 64, 1 << 20
# A rollout takes several tapes of this many bytes rather than one of a size that nobody else needs.
LONG = 32 << 20


class Tapes:
    """Idle memory, and when it became idle."""

    def __init__(self) -> None:
        self.idle: list[tuple[np.ndarray, int]] = []
        self.taken = 0

    def take(self, room: int) -> Tensor:
        """Returns `room` bytes of memory, uint8 (room,), whatever is in them.

        Args:
            room: How many bytes, 1 or more.
        """
        if room < SMALL:
            return torch.empty(room, dtype=torch.uint8)
        self.taken += 1
        self._forget()
        # Powers of two fit again. Of those that fit the last that was used: its pages are in the cache, if any are.
        size = 1 << (room - 1).bit_length()
        fitting = [k for k, (block, _) in enumerate(self.idle) if len(block) == size]
        block = self.idle.pop(fitting[-1])[0] if fitting else np.empty(size, np.uint8)
        # The tensor's storage holds this view; aliases of the tensor, detached ones too, share the storage.
        view = block[:room]
        weakref.finalize(view, self._back, block).atexit = False
        return torch.from_numpy(view)

    def _back(self, block: np.ndarray) -> None:
        if sum(len(other) for other, _ in self.idle) + len(block) <= IDLE:
            self.idle.append((block, self.taken))

    def _forget(self) -> None:
        self.idle = [(block, since) for block, since in self.idle if self.taken - since <= PATIENCE]


TAPES = Tapes()
