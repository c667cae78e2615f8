"""The compiled code of cells that have weights of their own: what lies in `cube/native`, and how it is called.

There a state is (chunks, cells, channels, samples of a chunk), flat, here called columns: the samples of a chunk are the lanes
of vector registers, so that one weight is read once and multiplies all of them.
"""

import ctypes
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from nca3d.cube.cell import GMLPRule, split_inputs
from nca3d.cube.executor.buffers import allocate
from nca3d.executors.cores import cores
from nca3d.executors.library import Code, Library, Signatures, load, unavailable
from nca3d.executors.native_code import FOLDER as SHARED
from nca3d.executors.network import unknown_arithmetic
from nca3d.executors.shared_object import ZEROS
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact

FOLDER = Path(__file__).parents[1] / "native"
SOURCES = ("gmlp.c", "gmlp_cell.c", "gmlp_layers.c", "gmlp_work.c", "gmlp_learn.c", "gmlp.h", "smooth.h")
CODE = Code(
    "gmlp",
    (*(FOLDER / name for name in SOURCES), *(SHARED / name for name in ("rows.h", "fields.h", "product.h", "half.h"))),
    ("gmlp_turn", ZEROS, 64, 64, ZEROS),
)

# Types of C as in gmlp.h: pointers, int64_t, int, double.
_P, _N, _I, _D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_double

# The matrices of a cell, in the order of gmlp.h.
LINEARS = (
    "enter",
    "split",
    "widen",
    "narrow",
    "reset_in",
    "reset_of",
    "update_in",
    "update_of",
    "candidate_in",
    "candidate_of",
    "recall",
    "last",
    "around",
    "look",
    "weigh",
    "across",
)
# All weights of a cell in the order of gmlp.h: matrices with their biases, layer norms, the gate over positions. A rule without
# `mixing` leaves the last four matrices out, and their pointers stay null.
SLOTS = (
    *(f"{name}{part}" for name in LINEARS for part in ("", "_bias")),
    *(f"{name}_{part}" for name in ("seen", "gate", "last") for part in ("scale", "shift")),
    "positions",
    "positions_bias",
)


# Samples that fill half of the largest registers: so many or fewer run in vectors of half the size, whose lanes they fill.
FEW = 8


class Cube(ctypes.Structure):
    """The arguments of compiled code, as `Cube` of gmlp.h: `library` checks that both have the same fields."""

    _fields_ = (
        ("cells", _N),
        ("batch", _N),
        ("features", _N),
        ("memory", _N),
        ("external", _N),
        ("widened", _N),
        ("front", _N),
        ("start", _N),
        ("count", _N),
        ("reach", _N),
        ("mixing", _I),
        ("leaky", _I),
        ("half", _I),
        ("shared", _I),
        ("assign", _I),
        ("learns", _I),
        ("step_size", _D),
        ("neighbours", _P),
        ("weights", _P * len(SLOTS)),
        ("grad_weights", _P * len(SLOTS)),
        ("narrow", _P * len(SLOTS)),
        ("fire", _P),
        ("x", _P),
        ("face", _P),
        ("outside", _P),
        ("after", _P),
        ("grad_after", _P),
        ("grad_x", _P),
        ("grad_face", _P),
        ("grad_outside", _P),
        ("near", _P),
    )


class AdamStep(ctypes.Structure):
    """What Adam needs to move the weights of a block of cells, as `Adam` of gmlp.h."""

    _fields_ = (
        ("weights", _P * len(SLOTS)),
        ("first", _P * len(SLOTS)),
        ("second", _P * len(SLOTS)),
        ("largest", _P),
        ("rate", _D),
        ("beta1", _D),
        ("beta2", _D),
        ("eps", _D),
        ("decay", _D),
        ("correction1", _D),
        ("correction2", _D),
        ("decoupled", _I),
    )


SIGNATURES: Signatures = {
    "gmlp_forward": (_I, (_P, _I)),
    "gmlp_backward": (_I, (_P, _I)),
    "gmlp_learn": (_I, (_P, _N, _P, _I)),
    "gmlp_turn": (None, (_P, _N, _N, _P)),
    "gmlp_huge_pages": (None, (_P, _N)),
    "gmlp_chunk": (_N, ()),
    "gmlp_lanes": (_N, ()),
    "gmlp_rounds": (_N, ()),
}


def unsupported(rule: Rule, state: Tensor | Compact) -> str:
    """Returns why compiled code can't run a rule in this arithmetic on this machine; "" where it can.

    Args:
        rule: A `GMLPRule`, alone or with its inputs.
        state: The state that it would run from, (B, C, D, H, W), or compact.
    """
    (cube, _), values = split_inputs(rule), state.values if isinstance(state, Compact) else state
    # Compiled code knows these methods as GMLPRule writes them; of a subclass that overrides one it would run the wrong cell.
    parts = ("cell", "_mixed", "_remember", "next_rows", "perception", "visible_features")
    if any(getattr(type(cube), name) is not getattr(GMLPRule, name) for name in parts):
        return "has a cell of its own, which is not compiled"
    if any(weight.dtype != values.dtype or weight.device != values.device for weight in cube.cells.own.values()):
        return "has weights of another dtype or device than the state"
    if cube.training and cube.dropout:
        return "has dropout in training"
    if not state.shape[0]:
        return "has an empty batch to run"
    return unavailable(values, library) or unknown_arithmetic(values)


@lru_cache
def library(dtype: torch.dtype, narrow: bool = False) -> Library | None:
    """Returns the compiled code for float32 or float64; None where it can't be built.

    Args:
        dtype: The type of states and weights.
        narrow: Whether vectors have half the size of the largest registers (see `nca3d.executors.library.load`).
    """
    return load(CODE, SIGNATURES, {"cube_fields": Cube, "adam_fields": AdamStep}, dtype, narrow)


class Step:
    """One step of a block of cells: the arguments of compiled code, and the tensors that they point into.

    Args:
        rule: The rule; its sizes and neighbours are read.
        half: Whether products are computed in bfloat16, as under autocast.
        rows: A tensor (cells, B, N) of the step's batch and dtype; its values are not read.
        cells: Which cells the block is.
        fires: The cells that update in each step, bool (T, B, cells); None = all in all steps.
        number: Which of the T steps this is.
        x: The state before the step, as columns.
        front: The input at the front face, columns of (H·W, B, F), or None.
        outside: The external input, columns of (cells, B, E), or None.
    """

    def __init__(
        self,
        rule: GMLPRule,
        half: bool,
        rows: Tensor,
        cells: slice,
        fires: Tensor | None,
        number: int,
        x: Tensor,
        front: Tensor | None,
        outside: Tensor | None,
    ) -> None:
        (depth, height, width), share = rule.size, rule.cells.share
        table = rule.neighbours.to(torch.int32).contiguous()
        # Compiled code gets addresses alone: what they point into must live as long as this object.
        self.references: list[object] = [table]
        self.code = library(rows.dtype)
        if rows.shape[1] <= FEW and not half and self.code is not None and self.code.gmlp_lanes() == 2 * FEW:
            self.code = library(rows.dtype, narrow=True) or self.code
        self.c = Cube(
            cells=len(table),
            batch=rows.shape[1],
            features=rule.features,
            memory=rule.memory,
            external=rule.external,
            widened=rule.widened,
            front=height * width if share is None else share.front,
            start=cells.start,
            count=cells.stop - cells.start,
            # How far from a cell, in the order of cells, a neighbour can be: which cells a block's gradients can touch.
            # Seen cells of other ranks stand at the end, wherever they are.
            reach=len(table) if share is not None else height * width if depth > 1 else width if height > 1 else 1,
            mixing=rule.mixing,
            leaky=rule.preset == "cube",
            half=half,
            shared=rule.cells.mode == "shared",
            step_size=rule.step_size,
            neighbours=table.data_ptr(),
            fire=None if fires is None else fires[number].data_ptr(),
            x=x.data_ptr(),
            face=address(front),
            outside=address(outside),
        )

    def set_weights(
        self, weights: Mapping[str, Tensor], grads: Mapping[str, Tensor] | None = None, assign: bool = False
    ) -> None:
        """Sets the block's weights, and where the backward pass puts their gradients.

        Args:
            weights: By slot, (n, *shape), or (*shape) where all cells share them; contiguous.
            grads: By slot, tensors of the same shapes; None = weights need no gradient.
            assign: Whether gradients overwrite `grads`, which may then be uninitialised, instead of being added to it.
        """
        self.references += [weights, grads]
        self.c.learns, self.c.assign = grads is not None, assign
        for place, name in enumerate(SLOTS):
            if name in weights:
                self.c.weights[place] = weights[name].data_ptr()
                self.c.grad_weights[place] = None if grads is None else grads[name].data_ptr()

    def set_narrow(self, weights: Mapping[str, Tensor]) -> None:
        """Sets the block's weights in bfloat16, in place of `set_weights`: half the memory to read; forward steps only.

        Args:
            weights: By slot, bfloat16 (n, *shape), or (*shape) where all cells share them; contiguous.
        """
        self.references.append(weights)
        for place, name in enumerate(SLOTS):
            if name in weights:
                self.c.narrow[place] = weights[name].data_ptr()

    def run(self, name: str) -> None:
        """Calls a function of compiled code, "gmlp_forward" or "gmlp_backward".

        Raises:
            MemoryError: There is no memory for its work space.
        """
        if getattr(self.code, name)(ctypes.addressof(self.c), cores()):
            raise MemoryError("no memory for the work space of a step")


def learn(steps: Sequence[Step], adam: AdamStep | None = None) -> None:
    """Forms the gradient of a block's weights over some steps, and moves the weights or writes the gradient.

    Args:
        steps: The steps in the order of time, all of one block, with their weights and what flows into the states after them.
        adam: How to move the weights; None = write the gradients where the steps say.

    Raises:
        MemoryError: There is no memory for the work space.
    """
    blocks = (Cube * len(steps))(*(step.c for step in steps))
    if steps[0].code.gmlp_learn(blocks, len(steps), None if adam is None else ctypes.addressof(adam), cores()):  # type: ignore[union-attr]
        raise MemoryError("no memory for the work space of a step")


def fresh(count: int, dtype: torch.dtype) -> Tensor:
    """Returns (count,) uninitialised numbers, in huge pages where the system has them."""
    code = library(dtype)
    assert code is not None
    return allocate(count, dtype, lambda piece: code.gmlp_huge_pages(piece.data_ptr(), piece.nbytes))


def columns(rows: Tensor) -> Tensor:
    """Returns rows (cells, B, N) as columns, flat (chunks, cells, N, samples)."""
    # One number that stands for all, as in the gradient of a sum, stays one number through `reshape`: hence `contiguous`.
    return _transposed(rows.transpose(0, 1).reshape(-1).contiguous(), rows.shape[1])


def rows_of(flat: Tensor, shape: Sequence[int]) -> Tensor:
    """Returns columns, flat (chunks, cells, N, samples), as rows of a shape (cells, B, N)."""
    cells, batch, numbers = shape
    return _transposed(flat, batch, back=True).view(batch, cells, numbers).transpose(0, 1)


def cells_of(flat: Tensor, cells: int, batch: int) -> list[Tensor]:
    """Returns views of columns, (chunks, cells, N, samples): of whole chunks, and of a last one with fewer samples.

    Args:
        flat: The columns.
        cells: How many cells they are of.
        batch: How many samples.
    """
    code = library(flat.dtype)
    assert code is not None
    size, width = code.gmlp_chunk(), len(flat) // batch
    whole = batch // size * size
    parts = ((flat[: whole * width], size), (flat[whole * width :], batch - whole))
    return [part.view(-1, cells, width // cells, samples) for part, samples in parts if len(part)]


def _transposed(flat: Tensor, batch: int, back: bool = False) -> Tensor:
    """Transposes each chunk of samples: flat (B, N) to flat (chunks, N, samples), or back."""
    code = library(flat.dtype)
    assert code is not None
    result, width, size = fresh(len(flat), flat.dtype), len(flat) // batch, code.gmlp_chunk()
    for start in range(0, batch, size):
        # The last chunk may hold fewer samples. Chunks follow each other, so both forms begin at the same place.
        samples = min(size, batch - start)
        sides = (width, samples) if back else (samples, width)
        code.gmlp_turn(flat[start * width :].data_ptr(), *sides, result[start * width :].data_ptr())
    return result


def address(tensor: Tensor | None) -> int | None:
    """Returns the address of a tensor's numbers, whatever its shape (…,); None for None."""
    return None if tensor is None else tensor.data_ptr()
