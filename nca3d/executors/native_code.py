"""The C code of `native/`: where it lies, what is called, and its structs mirrored field by field."""

import ctypes
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from nca3d.executors.library import Code, Signatures, load, unavailable

FOLDER = Path(__file__).with_name("native")
CODE = Code(
    "rows",
    tuple(FOLDER / name for name in ("rows.c", "network.c", "steps.c", "rows.h", "fields.h", "product.h", "half.h")),
)

_P, _N, _I, _D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_double
SIGNATURES: Signatures = {
    "lattice_new": (_P, (_I, _I, _I, _I, _I)),
    "lanes": (_I, ()),
    "lattice_free": (None, (_P,)),
    "map_set": (None, (_P, _P, _N)),
    "map_clear": (None, (_P, _P, _N)),
    "fire_rows": (_N, (_P, _P, _P, _P, _N, _P)),
    "perceive": (None, (_P, _N)),
    "perceive_backward": (None, (_P, _N)),
    "taps_backward": (None, (_P, _N)),
    "add_rows": (None, (_P, _P, _P, _N, _N, _N, _N, _D)),
    "take_rows": (None, (_P, _P, _P, _N, _N, _N, _N, _D)),
    "grow_backward": (None, (_P, _P, _P, _N, _N)),
    "mark": (_I, (_P, _P, _P, _P, _P, _N, _N, _D, _P)),
    "ring": (_N, (_P, _P, _P, _P, _P, _N, _P, _N)),
    "ring_keeps": (None, (_P, _P, _P, _P, _N, _N, _N, _N, _D, _D, _P)),
    "next_rows": (_N, (_P, _P, _P, _P, _N, _I)),
    "grow": (None, (_P, _P, _P, _P, _P, _P, _N, _N, _I, _P, _P, _P, _P)),
    "layers_new": (_P, (_I, _P, _P, _P, _I)),
    "layers_clear": (None, (_P,)),
    "layers_collect": (None, (_P, _I, _P, _P)),
    "part_new": (_P, ()),
    "part_free": (None, (_P,)),
    "record_bytes": (_N, ()),
    "parts_forward": (_I, (_P, _I, _I)),
    "parts_backward": (_I, (_P, _I, _I)),
}


class Fire(ctypes.Structure):
    """`Fire` of rows.h."""

    _fields_ = (("mask", _P), ("seed", ctypes.c_uint32), ("step", ctypes.c_uint32), ("below", ctypes.c_uint64), ("ids", _P))


class Sight(ctypes.Structure):
    """`Sight` of rows.h."""

    _fields_ = (
        ("lattice", _P),
        ("cells", _P),
        ("rows", _P),
        ("x", _P),
        ("taps", _P),
        ("place", _P),
        ("seen", _P),
        ("grad_taps", _P),
        ("kernels", _N),
        ("wide", _N),
        ("channels", _N),
        ("stride", _N),
        ("gradient", _I),
    )


class Part(ctypes.Structure):
    """`Part` of steps.c."""

    _fields_ = (
        ("lattice", _P),
        ("net", _P),
        ("sight", Sight),
        ("fire", Fire),
        ("masks", _P),
        ("mask_step", _N),
        ("first_step", _N),
        ("alpha", _N),
        ("factor", _D),
        ("threshold", _D),
        ("rows", _N),
        ("cells", _P),
        ("x", _P),
        ("alive", _P),
        ("tape", _P),
        ("tape_number", _N),
        ("tape_room", _N),
        ("tape_used", _N),
        ("cells_at", _N),
        ("records", _P),
        ("recorded_from", _N),
        ("turns", _P * 2),
        ("turns_room", _N * 2),
        ("turn", _I),
        ("space", _P),
        ("space_room", _N),
        ("step", _N),
        ("stop", _N),
        ("failed", _I),
        ("tapes", _P),
        ("grad_x", _P),
        ("grad_rows", _N),
        ("grad_turns", _P * 2),
        ("grad_room", _N * 2),
        ("learns_kernels", _I),
        ("through_perception", _I),
        ("fixed", _I),
    )


MIRRORS = {"fire_fields": Fire, "sight_fields": Sight, "part_fields": Part}


@lru_cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The compiled code for float32 or float64; None where it can't be built."""
    return load(CODE, SIGNATURES, MIRRORS, dtype)


def available(like: Tensor) -> bool:
    """Whether states like this, of any shape, can be run by compiled code on this machine."""
    return not unavailable(like, library)
