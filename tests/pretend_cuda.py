"""A device that isn't there: tensors that say they are on "cuda", while their numbers lie on the CPU and are really computed.

`with pretended() as record:` shows on any machine what a GPU would refuse (tensors of two devices in one operation) and what
would make it wait (a number that Python reads, a copy from one memory to the other), with the line that asked for it. It says
nothing of speed, of kernels' rounding, or of what CUDA itself lacks.

Where a tensor lies is noted for its memory, so views lie where their base does. `Tensor.device` and the devices that functions
are asked for are answered above torch (`TorchFunctionMode`), operations are checked below autograd (`TorchDispatchMode`).
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
HERE = Path(__file__).parents[1]
# Operations whose result Python must know before it can go on: each makes a device finish all that it was given.
WAITS = ("_local_scalar_dense", "nonzero", "equal", "_unique2", "unique_dim", "unique_consecutive", "bincount", "masked_select")
# These may take a small tensor of the CPU beside those of a device.
MIXED = ("index", "_index_put_impl_", "index_put_", "index_put", "_unsafe_index", "copy_", "_to_copy")


class Record:
    """What happened on the device: `waits` and `copies` by the line of ours that asked for them, and how often."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        # By the address of a memory, which nobody gets again as long as somebody holds a weak reference.
        self._on_cuda: dict[int, StorageWeakRef] = {}

    def is_cuda(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._on_cuda

    def put(self, tensor: Tensor, cuda: bool) -> None:
        storage = tensor.untyped_storage()
        if cuda:
            self._on_cuda[storage._cdata] = StorageWeakRef(storage)
        else:
            self._on_cuda.pop(storage._cdata, None)


def _line() -> str:
    """The innermost line of the house's own code."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(HERE) and path != Path(__file__) and ".venv" not in path.parts:
            return f"{path.relative_to(HERE)}:{frame.f_lineno}"
        frame = frame.f_back
    return "torch"


class _Below(TorchDispatchMode):
    """Checks and notes operations."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        places = {self.record.is_cuda(tensor) for tensor in tensors if tensor.ndim or len(tensors) == 1}
        first = bool(tensors) and self.record.is_cuda(tensors[0])
        if len(places) > 1:
            if name not in MIXED or (name not in ("copy_", "_to_copy") and not first):
                shapes = [(tuple(t.shape), "cuda" if self.record.is_cuda(t) else "cpu") for t in tensors]
                raise RuntimeError(f"{name}: tensors of two devices at {_line()}: {shapes}")
            self.record.copies[f"{_line()} {name}"] += 1
        cuda = any(self.record.is_cuda(tensor) for tensor in tensors if tensor.ndim) or first
        bool_index = name in ("index", "index_put_", "_index_put_impl_") and any(t.dtype == torch.bool for t in tensors[1:])
        if cuda and (name in WAITS or bool_index):
            self.record.waits[f"{_line()} {name}"] += 1
        out = func(*args, **(kwargs or {}))
        if cuda:
            for leaf in tree_leaves(out):
                if isinstance(leaf, Tensor):
                    self.record.put(leaf, True)
        return out


class _Above(TorchFunctionMode):
    """Answers where tensors lie, and lets functions make tensors on the device."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func == Tensor.device.__get__:
            return CUDA if self.record.is_cuda(args[0]) else CPU
        if func == Tensor.is_cuda.__get__:
            return self.record.is_cuda(args[0])
        if func is Tensor.__deepcopy__:
            out = func(*args, **kwargs)
            self.record.put(out, self.record.is_cuda(args[0]))
            return out
        if func in (Tensor.cuda, Tensor.cpu, Tensor.to) or name == "to":
            return self._to(func, args, kwargs)
        asked, kwargs = _place(kwargs)
        args = tree_map_only(torch.device, lambda device: CPU, args) if name != "_parse_to" else args
        out = func(*args, **kwargs)
        if asked is not None:
            moved = name in ("tensor", "as_tensor", "asarray") and args and isinstance(args[0], Tensor)
            if moved and self.record.is_cuda(args[0]) == (asked.type == "cuda"):
                return out
            for leaf in tree_leaves(out):
                if isinstance(leaf, Tensor):
                    if moved:
                        leaf = out = leaf.clone()
                    self.record.put(leaf, asked.type == "cuda")
        return out

    def _to(self, func: Any, args: Any, kwargs: Any) -> Any:
        tensor, *rest = args
        here = self.record.is_cuda(tensor)
        there = {"cuda": True, "cpu": False}.get(func.__name__, here)
        plain = []
        for value in rest:
            if isinstance(value, Tensor):
                there = self.record.is_cuda(value)
                plain.append(value.dtype)
            elif isinstance(value, torch.device | str):
                there = torch.device(value).type == "cuda"
            else:
                plain.append(value)
        asked, kwargs = _place(kwargs)
        there = there if asked is None else asked.type == "cuda"
        other = kwargs.pop("other", None)
        if other is not None:
            there, plain = self.record.is_cuda(other), [other.dtype]
        kwargs.pop("non_blocking", None)
        plain = [value for value in plain if not isinstance(value, bool)]
        out = Tensor.to(tensor, *plain, **kwargs) if plain or kwargs else tensor
        if there != here:
            self.record.copies[f"{_line()} {'to host' if here else 'to device'}"] += 1
            # A copy, with autograd's way back: the gradient comes home to the other memory.
            out = _Move.apply(out, self.record, there)
        return out


class _Move(torch.autograd.Function):
    """A copy of a tensor in the other memory."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, record: Record, there: bool) -> Tensor:
        ctx.record, ctx.here = record, not there
        with _only_plain():
            copy = tensor.clone()
        record.put(copy, there)
        return copy

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        with _only_plain():
            copy = gradient.clone()
        ctx.record.put(copy, ctx.here)
        return copy, None, None


def _only_plain() -> Any:
    from torch.utils._python_dispatch import _disable_current_modes

    return _disable_current_modes()


def _place(kwargs: dict[str, Any]) -> tuple[torch.device | None, dict[str, Any]]:
    """The device that a call names, and its arguments without it."""
    device = kwargs.get("device")
    if device is None:
        return None, kwargs
    return torch.device(device), {**kwargs, "device": CPU}


@contextmanager
def pretended(free: int = 1 << 30) -> Iterator[Record]:
    """Runs the block on a machine with a CUDA device that isn't there, and has `free` bytes of free memory."""
    record = Record()
    above, engine = _Above(record), torch.autograd._engine_run_backward

    def backward(*args: Any, **kwargs: Any) -> Any:
        # While a mode answers a call, such as Tensor.backward, it is off; passes written in Python need it.
        with above:
            return engine(*args, **kwargs)

    with (
        mock.patch.object(torch.autograd, "_engine_run_backward", backward),
        mock.patch.object(torch.cuda, "is_available", lambda: True),
        mock.patch.object(torch.cuda, "get_device_name", lambda device=None: "a pretended device"),
        mock.patch.object(torch.cuda, "mem_get_info", lambda device=None: (free, 2 * free)),
        above,
        _Below(record),
    ):
        yield record
