"""Single steps of a rank's rows in compiled code. What the backward pass needs lies on tapes, several steps on each."""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nca3d.executors.native_part import NativePart, call
from nca3d.executors.store import Store
from nca3d.executors.tapes import LONG, TAPES

# Makes a memoryview of what lies at an address: CPython's own function, and its flag.
_memory = ctypes.pythonapi.PyMemoryView_FromMemory
_memory.argtypes, _memory.restype = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int), ctypes.py_object
READ_AND_WRITE = 0x200

# Fields of `Record` in steps.c: on which tape a step lies, how many rows it has, and where their cells begin.
TAPE, ROWS, CELLS = 0, 1, 3


def _aligned(count: int) -> int:
    """Returns a number of bytes, rounded up as in steps.c."""
    return -(-count // 64) * 64


def _view(address: int, *shape: int, dtype: torch.dtype) -> Tensor:
    """Returns memory that C owns as a tensor of a shape, which has one number or more."""
    # Not an array of ctypes, which would be a type of its own for each length.
    memory = _memory(address, math.prod(shape) * dtype.itemsize, READ_AND_WRITE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


@dataclass
class NativeStepper(NativePart):
    """Runs single steps: Python makes the store of each of them on the tape, C leaves what follows it in its own buffers."""

    def begin(self, steps: range, save: bool) -> None:
        """Makes ready for some steps."""
        self.steps, self.save = steps, save
        numbers = self.rows.code.record_bytes() // 8
        self.records = torch.zeros(len(steps) if save else 0, numbers, dtype=torch.int64)
        self.tapes, c = [], self.c
        c.tape, c.records, c.recorded_from = None, self.records.data_ptr(), steps.start
        # Without a tape one place for the store is enough.
        self.place = torch.empty(0, dtype=torch.uint8)

    def run(self, step: int, pieces: Sequence[Store], own: range) -> Store:
        """Returns the store after a step."""
        c, stride = self.c, self.rows.stride
        c.rows = sum(len(piece.cells) for piece in pieces)
        c.own_from, c.own_to = own.start, own.stop
        c.step, c.stop = step, step + 1
        while c.step == step:
            x, cells, alive = self._places(c.rows)
            torch.cat([piece.x for piece in pieces], out=x)
            torch.cat([piece.cells for piece in pieces], out=cells)
            torch.cat([piece.alive for piece in pieces], out=alive)
            c.x, c.cells, c.alive = x.data_ptr(), cells.data_ptr(), alive.data_ptr()
            call(self.rows.code.parts_forward, [self])
            if c.step == step:
                # Not even one step found room.
                self._take(2 * c.tape_room)
        rows = c.rows
        return Store(
            _view(c.cells, rows, dtype=torch.int32),
            _view(c.x, rows, stride, dtype=self.rows.dtype),
            _view(c.alive, rows, dtype=torch.uint8),
        )

    def _places(self, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns where the store of the next step is to lie: states (R, stride), cells (R,) and alive mask (R,)."""
        dtype, stride, c = self.rows.dtype, self.rows.stride, self.c
        sizes = [_aligned(rows * stride * dtype.itemsize), _aligned(rows * 4), _aligned(rows)]
        # What C adds: which rows fired, their new rows, and what layers keep.
        need = sum(sizes) + 2 * _aligned(rows * 4)
        need += round(rows * self.rule.fire_rate * 1.1) * self.rows.code.kept_bytes(self.at) * bool(c.keeps)
        if not self.save:
            self.place = self.place if len(self.place) >= need else torch.empty(need + need // 4, dtype=torch.uint8)
        elif not c.tape or c.tape_used + need > c.tape_room:
            self._take(max(need, min(LONG, need * (self.steps.stop - c.step))))
        start = c.tape_used if self.save else 0
        c.tape_used, c.cells_at = start + sum(sizes), start + sizes[0]
        at = (self.tapes[-1] if self.save else self.place)[start:]
        x, cells, alive = at[: sum(sizes)].split(sizes)
        return (
            x[: rows * stride * dtype.itemsize].view(dtype).view(rows, stride),
            cells[: rows * 4].view(torch.int32),
            alive[:rows],
        )

    def _take(self, room: int) -> None:
        """Goes on with a tape of so many bytes at least."""
        tape, c = TAPES.take(room), self.c
        self.tapes.append(tape)
        c.tape, c.tape_room, c.tape_used, c.tape_number = tape.data_ptr(), len(tape), 0, len(self.tapes) - 1

    def saved(self) -> list[Tensor | None]:
        """Returns the records of the steps, int64 (steps, numbers), and the tapes that they lie on, uint8 (bytes,)."""
        return [self.records, *self.tapes]

    def close(self) -> None:
        """Lets go of what steps needed: their tapes serve the next rollout."""
        self.tapes = []
        self.starts: list[Tensor] = []
        self.place = torch.empty(0, dtype=torch.uint8)

    def reopen(self, steps: range, saved: list[Any]) -> None:
        """Makes ready to run some steps backward."""
        self.steps, (self.records, *self.tapes) = steps, saved
        self.numbers = self.records.tolist()
        self.pointers = (ctypes.c_void_p * len(self.tapes))(*(tape.data_ptr() for tape in self.tapes))
        # C may return the very memory that it was given: the next step starts with the other one.
        self.starts = [self.records.new_empty(0, dtype=self.rows.dtype)] * 2

    def back(self, step: int, grad: Tensor, own: range, rows: int, through_perception: bool) -> tuple[Tensor, Tensor]:
        """Returns the gradients of all rows before a step, (R, stride), and their cells."""
        c, stride = self.c, self.rows.stride
        self.starts.reverse()
        if self.starts[0].numel() < rows * stride:
            self.starts[0] = grad.new_empty((rows + rows // 4) * stride)
        start = self.starts[0][: rows * stride].view(rows, stride)
        start[: own.start], start[own.start : own.stop], start[own.stop :] = 0.0, grad, 0.0
        c.tapes, c.records, c.recorded_from = ctypes.addressof(self.pointers), self.records.data_ptr(), self.steps.start
        c.grad_x, c.grad_rows, c.step, c.stop = start.data_ptr(), rows, step + 1, step
        c.through_perception = through_perception
        call(self.rows.code.parts_backward, [self])
        record = self.numbers[step - self.steps.start]
        cells = self.tapes[record[TAPE]][record[CELLS] : record[CELLS] + 4 * record[ROWS]].view(torch.int32)
        return _view(c.grad_x, c.grad_rows, stride, dtype=self.rows.dtype), cells
