"""The parts of an iteration as a profile sees them: `phase("forward")` says what begins here, and costs nothing otherwise."""

import time

import torch

# The parts of an iteration in their order, with what each does. They follow one another: where one begins, the one
# before has ended.
PHASES = {
    "draw": "drawing states from the pool, with their losses",
    "damage": "reseeding the worst state and damaging some",
    "ageing": "ageing: pooled states run on without gradient",
    "forward": "the forward pass: the rollout that is learnt from",
    "losses": "the losses",
    "backward": "the backward pass",
    "checks": "checking and scaling gradients",
    "optimizer": "the optimizer",
    "write": "writing states back into the pool, and the iteration's metrics",
    "average": "the running average of the weights",
    "log": "logging, measurements of pattern included",
    "save": "saving checkpoints",
}


class Clock:
    """Adds up how long each phase took, while it is the one that `watch` has set.

    Args:
        device: Where the run computes; on CUDA a phase ends when all that it has asked for is done.

    Attributes:
        seconds: By the name of each phase that has ended.
        marked: Whether each phase is a range of torch's profiler too.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self.marked = device, dict[str, float](), False
        self._name, self._begun = "", 0.0
        self._range: torch.profiler.record_function | None = None

    def turn(self, name: str) -> None:
        """Ends the phase that is on, and begins another; "" = none."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if self._range is not None:
            self._range.__exit__(None, None, None)
            self._range = None
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._begun
        self._name, self._begun = name, now
        if name and self.marked:
            self._range = torch.profiler.record_function(name)
            self._range.__enter__()


_clock: Clock | None = None


def watch(clock: Clock | None) -> None:
    """Sets the clock that phases are timed by from now on; None = nobody looks."""
    global _clock
    _clock = clock


def phase(name: str) -> None:
    """Says that from here on an iteration is in this phase, one of `PHASES`."""
    if _clock is not None:
        _clock.turn(name)
