"""Cells that have weights of their own in compiled code: what lies in `cube/native`, and how it is called.

There states are (chunks, cells, channels, samples of a chunk), flat, here called columns: samples are the lanes of vectors.
"""

import ctypes
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nca3d.cube.cell import GMLPRule, split_inputs
from nca3d.cube.executor.buffers import allocate
from nca3d.executors.cores import cores
from nca3d.executors.library import Code, Signatures, load, unavailable
from nca3d.executors.native_code import FOLDER as SHARED
from nca3d.executors.network import unknown_arithmetic
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact

FOLDER = Path(__file__).parents[1] / "native"
OWN = ("gmlp.c", "gmlp_cell.c", "gmlp_layers.c", "gmlp_work.c", "gmlp.h", "smooth.h")
CODE = Code(
    "gmlp",
    (*(FOLDER / name for name in OWN), *(SHARED / name for name in ("rows.h", "fields.h", "product.h", "half.h"))),
)

_P, _N, _I, _D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_double

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
# A cell's weights in the order of gmlp.h.
SLOTS = (
    *(f"{name}{part}" for name in LINEARS for part in ("", "_bias")),
    *(f"{name}_{part}" for name in ("seen", "gate", "last") for part in ("scale", "shift")),
    "positions",
    "positions_bias",
)


# Samples that fill half of the largest registers: so many or less are run in vectors of half their size.
FEW = 8


class Cube(ctypes.Structure):
    """`Cube` of gmlp.h."""

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


SIGNATURES: Signatures = {
    "gmlp_forward": (_I, (_P, _I)),
    "gmlp_backward": (_I, (_P, _I)),
    "gmlp_turn": (None, (_P, _N, _N, _P)),
    "gmlp_huge_pages": (None, (_P, _N)),
    "gmlp_chunk": (_N, ()),
    "gmlp_lanes": (_N, ()),
    "gmlp_rounds": (_N, ()),
}


def unsupported(rule: Rule, state: Tensor | Compact) -> str:
    """Why compiled code can't run the rule in the arithmetic asked for, on this machine, or ""."""
    (cube, _), values = split_inputs(rule), state.values if isinstance(state, Compact) else state
    parts = ("cell", "_mixed", "_remember", "moved", "seen", "shown")
    if any(getattr(type(cube), name) is not getattr(GMLPRule, name) for name in parts):
        return "has a cell of its own, which nobody compiled"
    if any(weight.dtype != values.dtype or weight.device != values.device for weight in cube.cells.own.values()):
        return "has weights of another dtype or device than the state"
    if cube.training and cube.dropout:
        return "drops out in training"
    if not state.shape[0]:
        return "is asked by nobody: the batch is empty"
    return unavailable(values, library) or unknown_arithmetic(values)


@lru_cache
def library(dtype: torch.dtype, narrow: bool = False) -> ctypes.CDLL | None:
    """The compiled code for float32 or float64; None where it can't be built. narrow: see `build`."""
    return load(CODE, SIGNATURES, {"cube_fields": Cube}, dtype, narrow)


class Step:
    """One step of a block of cells: the arguments of compiled code, and the tensors that they point into."""

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
        depth, height, width = rule.size
        table = rule.neighbours.to(torch.int32).contiguous()
        self.kept: list[Any] = [table]
        self.code = library(rows.dtype)
        if rows.shape[1] <= FEW and not half and self.code is not None and self.code.gmlp_lanes() == 2 * FEW:
            self.code = library(rows.dtype, narrow=True) or self.code
        self.c = Cube(
            cells=rule.cells.cells,
            batch=rows.shape[1],
            features=rule.features,
            memory=rule.memory,
            external=rule.external,
            widened=rule.widened,
            front=height * width,
            start=cells.start,
            count=cells.stop - cells.start,
            reach=height * width if depth > 1 else width if height > 1 else 1,
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

    def weigh(self, weights: Mapping[str, Tensor], into: Mapping[str, Tensor] | None = None, assign: bool = False) -> None:
        """The block's weights by slot, and where what flows into them goes: written, or added to what is there."""
        self.kept += [weights, into]
        self.c.learns, self.c.assign = into is not None, assign
        for place, name in enumerate(SLOTS):
            if name in weights:
                self.c.weights[place] = weights[name].data_ptr()
                self.c.grad_weights[place] = None if into is None else into[name].data_ptr()

    def run(self, name: str) -> None:
        """Calls compiled code.

        Raises:
            MemoryError: no work space.
        """
        if getattr(self.code, name)(ctypes.addressof(self.c), cores()):
            raise MemoryError("no memory for the work space of a step")


def fresh(count: int, dtype: torch.dtype) -> Tensor:
    """(count,) numbers, not written yet."""
    code = library(dtype)
    assert code is not None
    return allocate(count, dtype, lambda made: code.gmlp_huge_pages(made.data_ptr(), made.nbytes))


def columns(rows: Tensor) -> Tensor:
    """(cells, B, N) -> flat (chunks, cells, N, samples)."""
    return _turned(rows.transpose(0, 1).reshape(-1), rows.shape[1])


def rows_of(turned: Tensor, shape: Sequence[int]) -> Tensor:
    """Back to (cells, B, N) of this shape."""
    cells, batch, numbers = shape
    return _turned(turned, batch, back=True).view(batch, cells, numbers).transpose(0, 1)


def _turned(flat: Tensor, batch: int, back: bool = False) -> Tensor:
    """Flat (B, N) -> flat (chunks, N, samples), or back."""
    code = library(flat.dtype)
    assert code is not None
    turned, wide, size = fresh(len(flat), flat.dtype), len(flat) // batch, code.gmlp_chunk()
    for start in range(0, batch, size):
        some = min(size, batch - start)
        sides = (wide, some) if back else (some, wide)
        code.gmlp_turn(flat[start * wide :].data_ptr(), *sides, turned[start * wide :].data_ptr())
    return turned


def address(tensor: Tensor | None) -> int | None:
    """Where its numbers lie."""
    return None if tensor is None else tensor.data_ptr()
