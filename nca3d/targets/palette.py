"""Colours by numpy alone: colour maps, hues, and a palette whose neighbours are easy to tell apart."""

import colorsys
from collections.abc import Iterable

import numpy as np

from nca3d.errors import InputError, nearest

# The colour maps, by their colours from low to high in hexadecimal.
COLORMAPS: dict[str, str] = {
    "sunset": "2b1a5a 6a1f7a b8326e ea5f56 fb9a4b ffdf8a",
    "reef": "10316b 0f6fa5 17a8a8 7ccf86 f5e663",
    "viridis": "440154 414487 2a788e 22a884 7ad151 fde725",
    "magma": "1b1044 50127b 932b80 d8456c fc8761 fcfdbf",
    "ice": "0b2a6b 2f6fc4 76b5e8 c4e6f5 ffffff",
    "moss": "24331c 4b6b2f 86a047 c9cf7a f3efc9",
    "grey": "303030 e8e8e8",
    "rainbow": "6b3fd4 2f7de1 19b7a0 7ac943 ffd23f ff8c42 e8384f",
}

# Colours of classes, in an order that puts unlike hues beside each other: classes with near numbers often touch.
DISTINCT = (
    "f26d6d 4c9be8 f7c948 6fcf7c b07ce8 ff9f59 42c6c0 e870b4 9c7a5b 5565d6 "
    "b8d84a d64550 8fd0f2 f4a6c6 2f8f6b e0b98c 7a4fb5 c7c7cf ffe08f 58707a"
)


def _rgb(code: str) -> tuple[float, float, float]:
    """Returns red, green and blue in 0..1 of a code such as "f26d6d"."""
    return int(code[:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:6], 16) / 255


def colormap(name: str, values: np.ndarray) -> np.ndarray:
    """Returns the colours of a colour map, interpolated between its stops.

    Args:
        name: A name in `COLORMAPS`.
        values: Positions on the map, (N,) or of any shape (...), 0..1.

    Returns:
        Colours, (N, 3) or (..., 3), 0..1.
    """
    stops = np.array([_rgb(code) for code in COLORMAPS[name].split()])
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, at, stops[:, c]) for c in range(3)], -1)


def hue(values: np.ndarray, saturation: float = 0.72, value: float = 0.97) -> np.ndarray:
    """Returns colours of the colour wheel.

    Args:
        values: Positions on the wheel, (N,) or of any shape (...); one unit is a whole turn.
        saturation: 0 (grey) .. 1.
        value: The brightness, 0 .. 1.

    Returns:
        Colours, (N, 3) or (..., 3), 0..1.
    """
    # HSV to RGB (Smith 1978) without branches: each channel is a clipped triangle wave of the hue.
    sector = (np.asarray(values)[..., None] * 6 + np.array([5, 3, 1])) % 6
    return value * (1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1))


def distinct(count: int) -> np.ndarray:
    """Returns a palette (count, 3) for classes whose neighbours are easy to tell apart; row 0 (empty) is black."""
    codes = DISTINCT.split()
    rows = [(0.0, 0.0, 0.0)] + [_rgb(code) for code in codes[: max(count - 1, 0)]]
    # The golden angle never comes back to a hue that it has used.
    rows += [colorsys.hsv_to_rgb((0.13 + 0.618034 * extra) % 1, 0.6, 0.85) for extra in range(count - len(rows))]
    return np.array(rows[:count], np.float64)


def parse_color(value: object, where: object, field: str = "color") -> tuple[float, float, float]:
    """Reads a colour: '#ff8040' or three numbers in 0..1.

    Raises:
        InputError: If it is anything else.
    """
    try:
        if isinstance(value, str) and len(code := value.removeprefix("#")) == 6:
            return _rgb(code)
        if isinstance(value, Iterable) and not isinstance(value, str):
            red, green, blue = (float(part) for part in value)
            if all(0 <= part <= 1 for part in (red, green, blue)):
                return red, green, blue
    except (TypeError, ValueError):  # not three of them, or no numbers: the error below says what is allowed
        pass
    raise InputError(where, field, repr(value), "'#rrggbb' or three numbers in 0..1")


def parse_palette(value: object, classes: int, where: object) -> np.ndarray:
    """Reads a palette.

    Args:
        value: A colour map's name, or one colour for each class, with or without the empty one; None = `distinct`.
        classes: The number of classes, the empty one included.
        where: The name that errors give the target.

    Returns:
        Colours (classes, 3) in 0..1; the first, of empty cells, is black unless it is among the colours.

    Raises:
        InputError: If the map is unknown, the number of colours is wrong, or one is no colour.
    """
    if value is None:
        return distinct(classes)
    if isinstance(value, str):
        if value not in COLORMAPS:
            raise InputError(where, "palette", repr(value), f"{', '.join(sorted(COLORMAPS))}{nearest(value, COLORMAPS)}")
        rows = colormap(value, np.linspace(0, 1, max(classes - 1, 1)))[: classes - 1]
        return np.concatenate([np.zeros((1, 3)), rows])
    if not isinstance(value, list | tuple | np.ndarray) or len(value) not in (classes, classes - 1):
        found = f"{len(value)} colours" if isinstance(value, list | tuple | np.ndarray) else repr(value)
        raise InputError(where, "palette", found, f"{classes - 1} colours (one a class), or a colour map's name")
    colours = [parse_color(item, where, f"palette[{i}]") for i, item in enumerate(value)]
    return np.array(([(0.0, 0.0, 0.0)] if len(colours) < classes else []) + colours)
