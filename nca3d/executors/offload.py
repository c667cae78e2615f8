"""Counts what a rollout keeps for its backward pass, and lets it wait in host memory instead of on the device.

It works for every executor and rule, since all of them keep tensors by autograd: what a step needs (`memory = keep`), the ends
of segments (`recompute`), the activations of a rule that autograd differentiates itself. Ren et al. 2021, "ZeRO-Offload", and
torch's `save_on_cpu`, which waits for every copy; here a copy goes out while the next step runs, and comes back before the
backward pass asks for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nca3d.rules.cell import Rule

# Smaller tensors stay where they are: starting a copy costs more than so few bytes are worth.
SMALL = 1 << 16
# How many tensors are fetched ahead of the one that the backward pass asks for.
AHEAD = 2


@dataclass
class _Waiting:
    """A tensor that waits in host memory.

    Attributes:
        host: Its numbers there.
        number: Its place in the order of keeping; the backward pass asks in the opposite order, more or less.
        fetched: It, back on the device, once it has been fetched.
        ready: What tells that it has arrived there.
    """

    host: Tensor
    number: int
    fetched: Tensor | None = None
    ready: Any = None


class Kept:
    """What is kept within its context, `keeping`.

    Args:
        rule: The rule, whose weights are not counted: they are there anyway.
        host: Whether what is kept waits in host memory. On a CPU it is there already: it is counted as moved, and stays.
        copy: Whether it is copied on a CPU too, so that the way there and back can be tried without a device.

    Attributes:
        kept: Bytes that stayed on the device, each memory counted once.
        moved: Bytes that wait in host memory.
    """

    def __init__(self, rule: Rule, *, host: bool = False, copy: bool = False) -> None:
        self.host, self.copy = host, copy
        self.kept = self.moved = 0
        self._own = {tensor.untyped_storage().data_ptr() for tensor in (*rule.parameters(), *rule.buffers())}
        self._seen: set[int] = set()
        self._waiting: list[_Waiting] = []
        self._stream: Any = None

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """A context in which autograd keeps what it needs through this object."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack):
            yield

    def _pack(self, tensor: Tensor) -> Any:
        """Returns what stands for a tensor (…,) until the backward pass asks for it."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self._own:
            return tensor
        moves = self.host and tensor.nbytes >= SMALL
        key = storage.data_ptr()
        # Two names of one memory are one cost, as long as both are kept; only moved tensors are copied apart.
        if moves:
            self.moved += tensor.nbytes
        elif key not in self._seen:
            self._seen.add(key)
            self.kept += storage.nbytes()
        if not moves or (tensor.device.type == "cpu" and not self.copy):
            return tensor
        waiting = _Waiting(self._out(tensor), len(self._waiting))
        self._waiting.append(waiting)
        return waiting

    def _out(self, tensor: Tensor) -> Tensor:
        """Returns a copy in host memory, which may still be under way."""
        if tensor.device.type == "cpu":
            return tensor.clone()
        host = torch.empty_like(tensor, device="cpu", pin_memory=True)
        if self._stream is None:
            self._stream = torch.cuda.Stream(tensor.device)
        self._stream.wait_stream(torch.cuda.current_stream(tensor.device))
        with torch.cuda.stream(self._stream):
            host.copy_(tensor, non_blocking=True)
        # Its memory on the device may be used again once this copy is done, and not before.
        tensor.record_stream(self._stream)
        return host

    def _unpack(self, packed: Any) -> Tensor:
        """Returns the tensor that `_pack` was given."""
        if isinstance(packed, Tensor):
            return packed
        if self._stream is None:
            return packed.host
        # What was kept just before is asked for next.
        for waiting in self._waiting[max(0, packed.number - AHEAD) : packed.number + 1][::-1]:
            if waiting.fetched is None:
                with torch.cuda.stream(self._stream):
                    waiting.fetched = waiting.host.to(self._stream.device, non_blocking=True)
                    waiting.ready = self._stream.record_event()
        current = torch.cuda.current_stream(self._stream.device)
        current.wait_event(packed.ready)
        tensor: Tensor = packed.fetched
        tensor.record_stream(current)
        # The host keeps its copy until the graph is gone: a graph may run backward twice.
        packed.fetched = None
        return tensor
