"""The options of a target as they come from a config: names, types and ranges are checked here."""

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeGuard, Unpack, get_args, get_origin

import numpy as np

from nca3d.errors import ErrorCollector, InputError, nearest
from nca3d.targets.fit import parse_orientation
from nca3d.targets.palette import COLORMAPS, parse_color
from nca3d.targets.pieces import MENDS
from nca3d.targets.target import Wanted

# 256 x 256 x 256: a lattice beyond it needs more memory than a rule could be trained in.
MAX_CELLS = 1 << 24

# A target of a gibibyte fills more cells than any lattice here: a larger file is a mistake or a bomb.
MAX_BYTES = 1 << 30

# What to do where a package is missing.
VIZ = "the extra: pip install 'nca3d[viz]'"


def check_wanted(size: object, where: object) -> Wanted:
    """Returns a lattice size of three whole numbers (D, H, W), 1 or more, with at most 2^24 cells; "auto" as it is.

    Raises:
        InputError: If it is anything else.
    """
    if isinstance(size, str) and size == "auto":
        return "auto"
    if isinstance(size, list | tuple) and len(size) == 3 and all(_whole(n) and n >= 1 for n in size):
        depth, height, width = (int(n) for n in size)
        if depth * height * width <= MAX_CELLS:
            return depth, height, width
    allowed = f"three whole numbers (D, H, W), 1 or more, at most {MAX_CELLS:,} cells in all, or 'auto'"
    raise InputError(where, "size", repr(size), allowed)


def _whole(value: object) -> bool:
    """Whether a value is a whole number; True and False, which Python counts as 1 and 0, are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is an int or a float; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(value: object) -> bool:
    """Whether a value is None or a list of strings, one or more."""
    return value is None or (isinstance(value, list | tuple) and bool(value) and all(isinstance(name, str) for name in value))


# Option name -> (whether a value is allowed, the words for what is); options of a single target are checked by that target.
CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "margin": (lambda v: _whole(v) and v >= 0, "a whole number of cells, 0 or more"),
    "fit": (
        lambda v: isinstance(v, bool) or v == "auto",
        "'auto', true (resample to fill the room) or false (keep the size)",
    ),
    "fill": (
        lambda v: isinstance(v, bool) or v == "auto",
        "'auto' (solid, small holes closed), true (every opening closed) or false (surface only)",
    ),
    "thicken": (lambda v: isinstance(v, bool), "true (thin parts stay whole) or false"),
    "key": (lambda v: v is None or isinstance(v, str), "the name of an array in the file"),
    "colormap": (lambda v: isinstance(v, str) and v in COLORMAPS, ", ".join(sorted(COLORMAPS))),
    "pieces": (lambda v: isinstance(v, str) and v in MENDS, ", ".join(MENDS)),
    "nan": (lambda v: v is None or (is_number(v) and math.isfinite(v)), "the number that NaN is read as, such as 0"),
    "names": (_names, "a list of class names, the first of them for empty cells"),
}


def check_options(builder: Callable[..., Any], options: dict[str, Any], where: object) -> None:
    """Checks that every option is one of every target or a keyword parameter of the builder, and that its value is allowed.

    Args:
        builder: The builder of a target; its first parameter is the lattice.
        options: The user's options by name.
        where: The name that errors give the target.

    Raises:
        InputError: If a name is unknown (the nearest one is suggested), or a type or range is wrong. Several errors are shown
            together.
    """
    parameters = list(inspect.signature(builder).parameters.values())[1:]
    known = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)} | {"orientation", "pieces"}
    takes_any = False
    for rest in (p.annotation for p in parameters if p.kind is p.VAR_KEYWORD):
        if get_origin(rest) is Unpack:  # the names of a TypedDict
            known |= get_args(rest)[0].__annotations__.keys()
        else:
            takes_any = True
    with ErrorCollector() as errors:
        for name, value in options.items():
            if name in known or takes_any:
                errors.of(_check_value, name, value, where)
            else:
                errors.add(True, where, "option", repr(name), f"{', '.join(sorted(known))}{nearest(name, known)}")


def _check_value(name: str, value: object, where: object) -> None:
    """Checks the value of one option by its name; options without a check here pass."""
    if name == "orientation":
        parse_orientation(value, where)
    elif name == "color" and value is not None:
        parse_color(value, where)
    elif name in CHECKS and not CHECKS[name][0](value):
        raise InputError(where, name, repr(value), CHECKS[name][1])


def check_fraction(value: object, where: object, field: str = "threshold") -> float:
    """Returns a share of a cell's volume, above 0 and at most 1.

    Raises:
        InputError: If it is anything else.
    """
    if not is_number(value) or not 0 < value <= 1:
        raise InputError(where, field, repr(value), "a share of a cell's volume, above 0 and at most 1")
    return float(value)
