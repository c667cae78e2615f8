"""The C code in `native/`: its files, the functions that Python calls, and mirrors of its structs.

A mirror must have the fields of its C struct in the same order; loading the library compares them by name, offset and size.
"""

import ctypes
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from nca3d.executors.library import Code, Library, Signatures, load, unavailable
from nca3d.executors.shared_object import ZEROS

FOLDER = Path(__file__).with_name("native")
# Headers too: a change in any of these files makes a new library.
CODE = Code(
    "rows",
    tuple(FOLDER / name for name in ("rows.c", "network.c", "steps.c", "rows.h", "fields.h", "product.h", "half.h")),
    # Two rows of 64 numbers: whole vectors.
    ("scaled_rows", ZEROS, ZEROS, ZEROS, 2, 64, 64, 64, 1.0),
)

# pointer, count, int, double. Pointers are untyped: addresses of tensors come as numbers.
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
    "scaled_rows": (None, (_P, _P, _P, _N, _N, _N, _N, _D)),
    "grow_backward": (None, (_P, _P, _P, _N, _N)),
    "mark": (_I, (_P, _P, _P, _P, _P, _N, _N, _D, _P)),
    "ring": (_N, (_P, _P, _P, _P, _P, _N, _P, _N)),
    "ring_survivors": (None, (_P, _P, _P, _P, _N, _N, _N, _N, _D, _D, _P)),
    "next_rows": (_N, (_P, _P, _P, _P, _N, _I)),
    "grow": (None, (_P, _P, _P, _P, _P, _P, _N, _N, _I, _P, _P, _P, _P)),
    "layers_new": (_P, (_I, _P, _P, _P, _I, _N)),
    "layers_clear": (None, (_P,)),
    "layers_collect": (None, (_P, _I, _N, _P, _P)),
    "part_new": (_P, ()),
    "part_free": (None, (_P,)),
    "record_bytes": (_N, ()),
    "kept_bytes": (_N, (_P,)),
    "parts_forward": (_I, (_P, _I, _I)),
    "parts_backward": (_I, (_P, _I, _I)),
}


class Fire(ctypes.Structure):
    """Mirrors `Fire` of rows.h: which cells fire in one step."""

    _fields_ = (("mask", _P), ("seed", ctypes.c_uint32), ("step", ctypes.c_uint32), ("below", ctypes.c_uint64), ("ids", _P))


class Sight(ctypes.Structure):
    """Mirrors `Sight` of rows.h: which cells perceive what, and where it is written."""

    _fields_ = (
        ("lattice", _P),
        ("cells", _P),
        ("rows", _P),
        ("x", _P),
        ("taps", _P),
        ("place", _P),
        ("perception", _P),
        ("grad_taps", _P),
        ("kernels", _N),
        ("wide", _N),
        ("channels", _N),
        ("stride", _N),
        ("sobel", _I),
        ("away", ctypes.c_double * 4),
    )


class Part(ctypes.Structure):
    """Mirrors `Part` of steps.c: some samples of a batch on their way through a rollout."""

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
        ("buffers", _P * 2),
        ("buffers_room", _N * 2),
        ("turn", _I),
        ("space", _P),
        ("space_room", _N),
        ("step", _N),
        ("stop", _N),
        ("failed", _I),
        ("tapes", _P),
        ("grad_x", _P),
        ("grad_rows", _N),
        ("grad_buffers", _P * 2),
        ("grad_room", _N * 2),
        ("learns_kernels", _I),
        ("through_perception", _I),
        ("fixed", _I),
        ("keeps", _I),
        ("own_from", _N),
        ("own_to", _N),
    )


# By the C function that lists the fields of the struct.
MIRRORS = {"fire_fields": Fire, "sight_fields": Sight, "part_fields": Part}


# Once for each dtype: loading compares the mirrors, and may have to build.
@lru_cache
def library(dtype: torch.dtype) -> Library | None:
    """Returns the compiled code for float32 or float64; None where it can't be built."""
    return load(CODE, SIGNATURES, MIRRORS, dtype)


def available(like: Tensor) -> bool:
    """Returns whether compiled code can run states like this one, of any shape, on this machine."""
    return not unavailable(like, library)
