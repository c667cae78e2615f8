"""Samples of a batch run by compiled code, a whole segment in one call: `Part` of `event_steps.py` for most rules.

C works in place on memory that tensors here own; this file makes that memory and fills in the struct that points to it.
"""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nca3d.executors.cores import cores
from nca3d.executors.event_steps import Part
from nca3d.executors.native_code import Part as Mirror
from nca3d.executors.network import linear_layers, trainable_parameters, unknown_arithmetic
from nca3d.executors.rows_native import NativeRows
from nca3d.executors.store import Store
from nca3d.executors.tapes import LONG, TAPES
from nca3d.rules.cell import Rule

_P = ctypes.c_void_p


def unsupported(rule: Rule, values: Tensor) -> str:
    """Returns why compiled code can't run the update network of a rule beside states (N, C), or ""."""
    if linear_layers(rule) is None:
        return "has an update network of its own, for which there is no compiled code"
    if sum(kernel is None for kernel in rule.kernels()) > 1:
        return "sees itself more than once"
    if any(parameter.dtype != values.dtype or parameter.device != values.device for parameter in rule.parameters()):
        return "has parameters of another dtype or device than the state"
    return unknown_arithmetic(values)


@dataclass
class NativePart(Part):
    """A `Part` that runs in compiled code.

    What the backward pass needs lies on tapes: tensors that hold the stores of all steps, one after the other.

    Attributes:
        rows: The backend, with its map from cells to rows.
        fixed: Whether every cell of the lattice has a row and keeps it, as in the executor `compiled`.
        owned: What C points to, so that it lives as long as the part.
    """

    rows: NativeRows
    fixed: bool = False
    owned: list[Any] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        code, rule, rows = self.rows.code, self.rule, self.rows
        self.at = code.part_new()
        if not self.at:
            raise MemoryError("no memory for the work space of a rollout")
        # Freed with the part, however a rollout ends.
        weakref.finalize(self, code.part_free, self.at)
        self.c = c = Mirror.from_address(self.at)
        c.lattice, c.sight, c.alpha = rows.lattice, rows.sight, rule.alpha
        # Whole vectors, as the network takes them.
        c.sight.wide = -(-rows.kinds * rule.channels // rows.lanes) * rows.lanes
        c.factor, c.threshold, c.learns_kernels = rule.step_size, rule.threshold, rule.learns_kernels
        c.fixed = self.fixed
        self._set_draw()
        self._set_network()

    def _set_draw(self) -> None:
        """Tells C which cells fire: by seed and sample ids, or by the caller's masks."""
        draw, c = self.draw, self.c
        # Contiguous, since C reads plain arrays.
        ids = draw.words().contiguous()
        c.fire.ids, c.fire.seed, c.fire.below = ids.data_ptr(), draw.random_seed, draw.below
        c.first_step = draw.first_step
        self.owned.append(ids)
        if draw.given_masks is not None and len(draw.given_masks):
            # A view of a large tensor of masks can stay one, if each step's mask is in one piece.
            masks = draw.given_masks if draw.given_masks[0].is_contiguous() else draw.given_masks.contiguous()
            c.masks, c.mask_step = masks.data_ptr(), masks.stride(0)
            self.owned.append(masks)

    def _set_network(self) -> None:
        """Gives C a copy of the weights, in the layout that it computes with."""
        layers = linear_layers(self.rule)
        assert layers is not None
        widths = torch.tensor([layers[0].in_features, *(layer.out_features for layer in layers)])
        pointers = _P * len(layers)
        weights = [layer.weight.detach().contiguous() for layer in layers]
        biases = [None if layer.bias is None else layer.bias.detach().contiguous() for layer in layers]
        self.c.net = self.rows.code.layers_new(
            len(layers),
            widths.data_ptr(),
            pointers(*(w.data_ptr() for w in weights)),
            pointers(*(None if b is None else b.data_ptr() for b in biases)),
            self.network.dtype == torch.bfloat16,
            self.rows.batch if torch.is_grad_enabled() else 1,
        )
        if not self.c.net:
            raise MemoryError("no memory for the update network")

    def kept_bytes(self) -> int:
        """Returns how many bytes a step of the present rows can save beside its states, to spare work on the way back."""
        return round(len(self.store.cells) * self.rule.fire_rate) * self.rows.code.kept_bytes(self.at)

    def keep(self, wanted: bool) -> None:
        """Says whether the next steps save that."""
        self.c.keeps = wanted

    @staticmethod
    def forward(parts: "list[NativePart]", steps: range, save: bool) -> list[list[Tensor | None]]:  # type: ignore[override]
        for part in parts:
            part._begin(steps, save)
        # A part stops where its tape is full; it gets another one and goes on.
        unfinished = parts
        while unfinished:
            for part in unfinished:
                if save:
                    part._new_tape()
            call(parts[0].rows.code.parts_forward, unfinished)
            unfinished = [part for part in unfinished if part.c.step < part.c.stop]
        return [part._finish(save) for part in parts]

    def _begin(self, steps: range, save: bool) -> None:
        """Sets C to the first of some steps."""
        c, store = self.c, self.store
        c.step, c.stop, c.rows = steps.start, steps.stop, len(store.cells)
        c.cells, c.x, c.alive = store.cells.data_ptr(), store.x.data_ptr(), store.alive.data_ptr()
        c.tape = c.records = None
        numbers = self.rows.code.record_bytes() // 8
        self.records = torch.zeros(len(steps) if save else 0, numbers, dtype=torch.int64)
        self.tapes: list[Tensor] = []
        self.tape_begun = -1

    def _new_tape(self) -> None:
        """Makes room for the steps that are left if the body stays as large as it is; if it grows, another tape follows."""
        c = self.c
        row = self.rows.stride * self.store.x.element_size()
        kept = self.kept_bytes() if c.keeps else 0
        room = (c.stop - c.step + 1) * (c.rows * (row + 4) + kept * c.rows // max(1, len(self.store.cells)) + 1024)
        room = min(room, LONG)
        # Not even one step found room on the last tape.
        if c.step == self.tape_begun:
            room = max(room, 2 * len(self.tapes[-1]))
        self.tape_begun = c.step
        # Eight sizes between powers of two: tapes of ever new sizes would leave the heap in pieces.
        grain = 1 << max(16, room.bit_length() - 4)
        room = -(-room // grain) * grain
        tape = TAPES.take(room)
        self.tapes.append(tape)
        c.tape, c.tape_room, c.tape_used, c.tape_number = tape.data_ptr(), room, 0, len(self.tapes) - 1
        c.records, c.recorded_from = self.records.data_ptr(), c.stop - len(self.records)

    def _finish(self, save: bool) -> list[Tensor | None]:
        """Copies the last store out of the tape or buffer that it lies in; returns what was saved."""
        c = self.c
        dtype = self.store.x.dtype
        x = torch.empty(c.rows, self.rows.stride, dtype=dtype)
        cells, alive = torch.empty(c.rows, dtype=torch.int32), torch.empty(c.rows, dtype=torch.uint8)
        for tensor, at in ((x, c.x), (cells, c.cells), (alive, c.alive)):
            ctypes.memmove(tensor.data_ptr(), at, tensor.nbytes)
        self.store = Store(cells, x, alive)
        c.tape = None
        return [self.records, *self.tapes] if save else []

    @staticmethod
    def backward(  # type: ignore[override]
        parts: "list[NativePart]", steps: range, saved: list[list[Tensor | None]], grads: list[Tensor], through_perception: bool
    ) -> list[Tensor]:
        # What C points to lives until the call is over.
        held: list[Any] = []
        for part, (records, *tapes), gradient in zip(parts, saved, grads, strict=True):
            assert records is not None
            pointers = (_P * len(tapes))(*(tape.data_ptr() for tape in tapes if tape is not None))
            # A copy: C adds to it in place, and the gradient belongs to autograd.
            start = gradient.clone()
            held += [pointers, start, records]
            c = part.c
            c.tapes, c.records, c.recorded_from = ctypes.addressof(pointers), records.data_ptr(), steps.start
            c.grad_x, c.grad_rows, c.step, c.stop, c.through_perception = (
                start.data_ptr(),
                len(start),
                steps.stop,
                steps.start,
                through_perception,
            )
        # All parts in one call: C deals them out to the cores.
        call(parts[0].rows.code.parts_backward, parts)
        results = []
        for part in parts:
            result = torch.empty(part.c.grad_rows, part.rows.stride, dtype=part.rows.dtype)
            ctypes.memmove(result.data_ptr(), part.c.grad_x, result.nbytes)
            results.append(result)
        del held
        return results

    def clear(self) -> None:
        self.rows.code.layers_clear(self.c.net)
        self.rows.grad_taps.zero_()

    @property
    def by_sample(self) -> bool:
        """Whether gradients of parameters are summed up for each sample alone."""
        return True

    def parameter_gradients(self, sample: int) -> list[Tensor]:
        parameters = trainable_parameters(self.rule)
        # New tensors each time: autograd keeps what it gets.
        gradients = {id(parameter): torch.zeros_like(parameter) for parameter in parameters}
        for place, layer in enumerate(linear_layers(self.rule) or []):
            grads = [gradients.get(id(parameter)) for parameter in (layer.weight, layer.bias)]
            self.rows.code.layers_collect(self.c.net, place, sample, *(None if g is None else g.data_ptr() for g in grads))
        return list(gradients.values())


def call(function: Callable[..., int], parts: Sequence[NativePart]) -> None:
    """Calls C for all parts at once, on as many cores as `cores()`."""
    pointers = (_P * len(parts))(*(part.at for part in parts))
    if function(pointers, len(parts), cores()):
        raise MemoryError("no memory for the rows of a rollout")
