"""Small animals, and a cactus, sculpted from round parts: bodies of 80 to 400 cells for a rule that grows many of them.

The first line of each function is its line in `nca3d.targets.catalogue()`. All take the lattice (D, H, W) and the free cells at
each face, and return straight RGBA (D, H, W, 4) with alpha 0 or 1. All face low y, and none is the same on both sides.
"""

import numpy as np

from nca3d.targets.sculpt import Shape, ball, carve, chain
from nca3d.targets.target import Size

INK, WHITE, ORANGE = (0.07, 0.07, 0.14), (0.98, 0.97, 0.93), (1.0, 0.58, 0.10)


def snail(size: Size, *, margin: int = 1) -> np.ndarray:
    """Snail: a striped shell on a long sandy foot, its feelers of two lengths.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    sand, dark = (0.93, 0.76, 0.50), (0.80, 0.58, 0.33)

    def shell(points: np.ndarray) -> np.ndarray:
        # Rings about the shell's axis, which lies across the body.
        radius = np.hypot(points[:, 1:2] - 6.4, points[:, 2:3] - 4.6)
        return np.where(radius % 2.2 < 1.1, (0.55, 0.25, 0.14), (0.95, 0.55, 0.22))

    parts: list[Shape] = chain(sand, [(0.0, 1.0, 1.2), (0.0, 6.0, 0.9), (0.3, 11.4, 0.5)], [1.5, 1.4, 0.7], (1.0, 1.0, 0.9))
    parts += chain(sand, [(0.0, 1.4, 1.4), (0.0, 0.4, 3.6)], [1.4, 1.3])
    parts += [ball(shell, (0.4, 6.4, 4.6), (2.4, 3.6, 3.6))]
    parts += chain(dark, [(-0.7, 0.0, 4.4), (-1.4, -1.0, 7.0)], [0.5, 0.6], least=0.6)
    parts += chain(dark, [(0.7, 0.0, 4.4), (1.6, -1.2, 5.8)], [0.5, 0.6], least=0.6)
    return carve(parts, size, margin)


def penguin(size: Size, *, margin: int = 1) -> np.ndarray:
    """Penguin: black and white, an orange beak and feet, one flipper lifted.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    black = (0.13, 0.15, 0.24)
    parts: list[Shape] = chain(ORANGE, [(-1.5, 1.0, 0.5), (-1.6, -1.4, 0.4)], [0.9, 0.8], (1.0, 1.0, 0.8), least=0.6)
    parts += chain(ORANGE, [(1.5, 1.0, 0.5), (1.6, -1.4, 0.4)], [0.9, 0.8], (1.0, 1.0, 0.8), least=0.6)
    parts += chain(black, [(0.0, 0.4, 3.2), (0.0, 0.2, 6.4), (0.0, -0.1, 9.4)], [2.9, 2.6, 2.1])
    parts += chain(WHITE, [(0.0, -1.5, 3.0), (0.0, -1.3, 6.2)], [2.0, 1.7])
    parts += chain(black, [(2.4, 0.4, 6.8), (4.6, 0.6, 8.6)], [1.0, 0.8], (1.0, 1.1, 1.0))
    parts += chain(black, [(-2.4, 0.4, 6.6), (-3.6, 0.8, 3.8)], [1.0, 0.8], (1.0, 1.1, 1.0))
    parts += chain(ORANGE, [(0.0, -1.6, 9.2), (0.2, -3.2, 8.9)], [0.9, 0.6], least=0.6)
    for x in (-1.2, 1.2):
        parts += [ball(WHITE, (x, -1.7, 9.6), 0.6, least=0.5, weight=1.2)]
    return carve(parts, size, margin)


def cactus(size: Size, *, margin: int = 1) -> np.ndarray:
    """Cactus in a clay pot: two arms of two heights, a pink flower on the higher one.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    clay, rim, pink = (0.72, 0.34, 0.20), (0.85, 0.46, 0.28), (1.0, 0.42, 0.66)

    def ribbed(points: np.ndarray) -> np.ndarray:
        return np.where((points[:, :1] + points[:, 1:2]) % 1.8 < 0.9, (0.16, 0.52, 0.27), (0.33, 0.70, 0.36))

    parts: list[Shape] = chain(clay, [(0.0, 0.0, 0.9), (0.0, 0.0, 1.7)], [2.2, 2.6])
    parts += [ball(rim, (0.0, 0.0, 2.6), (3.2, 3.2, 0.8))]
    parts += chain(ribbed, [(0.0, 0.0, 2.6), (0.0, 0.0, 8.2)], [2.1, 1.9])
    parts += chain(ribbed, [(0.0, 0.0, 4.6), (-3.6, 0.2, 4.8), (-3.8, 0.2, 6.6)], [1.2, 1.2, 1.1])
    parts += chain(ribbed, [(0.0, 0.0, 6.0), (3.4, -0.3, 6.1), (3.6, -0.3, 8.4)], [1.2, 1.2, 1.1])
    parts += [ball(pink, (3.6, -0.3, 9.6), 1.3, least=0.8, weight=1.5)]
    return carve(parts, size, margin)


def fish(size: Size, *, margin: int = 1) -> np.ndarray:
    """Fish: orange with white bands, a fan of a tail turned aside, a fin on its back.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """

    def banded(points: np.ndarray) -> np.ndarray:
        return np.where(np.abs((points[:, 1:2] - 3.4) % 4.4 - 2.2) < 0.8, WHITE, (0.98, 0.45, 0.09))

    fin = (0.90, 0.27, 0.10)
    parts: list[Shape] = chain(fin, [(0.2, 9.6, 4.6), (1.4, 12.2, 7.0)], [1.0, 1.2], (0.8, 1.0, 1.2))
    parts += chain(fin, [(0.2, 9.6, 4.2), (1.4, 12.2, 1.8)], [1.0, 1.2], (0.8, 1.0, 1.2))
    parts += chain(fin, [(0.0, 3.6, 6.8), (0.0, 6.6, 8.8)], [1.1, 0.8], (0.7, 1.0, 1.0))
    parts += chain(fin, [(1.6, 4.2, 3.4), (3.6, 6.0, 2.4)], [0.9, 0.7])
    parts += [ball(banded, (0.0, 4.6, 4.4), (2.3, 5.2, 3.3))]
    for side in (-1, 1):
        parts += [ball(WHITE, (1.7 * side, 1.3, 5.2), 1.0, least=0.6, weight=1.5)]
        parts += [ball(INK, (2.3 * side, 1.0, 5.2), 0.6, least=0.4, weight=1.5)]
    return carve(parts, size, margin)


def turtle(size: Size, *, margin: int = 1) -> np.ndarray:
    """Turtle: a patterned shell, a yellow-green head turned aside, four feet and a stub of a tail.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    skin, rim = (0.62, 0.78, 0.30), (0.36, 0.24, 0.13)

    def shell(points: np.ndarray) -> np.ndarray:
        tiles = (np.floor(points[:, :1] / 2.4) + np.floor(points[:, 1:2] / 2.4)) % 2
        return np.where(tiles < 1, (0.20, 0.42, 0.22), (0.42, 0.58, 0.22))

    parts: list[Shape] = []
    for x, y, out in ((-3.2, 3.0, -1), (3.2, 3.4, 1), (-3.0, 8.6, -1), (3.0, 8.2, 1)):
        parts += chain(skin, [(x, y, 1.6), (x + 1.5 * out, y - 0.6, 0.6)], [1.1, 0.9])
    parts += chain(skin, [(0.0, 10.0, 1.8), (-0.6, 12.0, 1.3)], [0.9, 0.6], least=0.6)
    parts += chain(skin, [(0.0, 2.2, 2.4), (0.8, -0.4, 3.2)], [1.3, 1.7])
    parts += [ball(rim, (0.0, 5.8, 2.2), (4.4, 5.0, 1.1)), ball(shell, (0.0, 5.8, 2.6), (3.9, 4.5, 3.3))]
    parts += [ball(INK, (-0.6, -1.2, 3.8), 0.6, least=0.5, weight=2.0), ball(INK, (2.2, -0.8, 3.8), 0.6, least=0.5, weight=2.0)]
    return carve(parts, size, margin)


def duck(size: Size, *, margin: int = 1) -> np.ndarray:
    """Duck: yellow, its head on a neck turned aside, an orange bill, a raised tail.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    yellow, wing = (1.0, 0.86, 0.20), (0.93, 0.70, 0.12)
    parts: list[Shape] = [ball(yellow, (0.0, 5.4, 2.6), (3.2, 4.6, 2.6))]
    parts += chain(yellow, [(0.0, 8.6, 3.4), (0.3, 11.0, 5.2)], [1.5, 0.8])
    parts += chain(yellow, [(0.0, 2.4, 3.6), (0.3, 1.8, 6.6)], [1.5, 1.3])
    parts += [ball(yellow, (0.4, 1.4, 7.8), 2.2)]
    parts += chain(ORANGE, [(0.8, -0.4, 7.4), (1.2, -2.4, 7.0)], [1.1, 0.8], (1.2, 1.0, 0.7), least=0.6)
    parts += [ball(wing, (2.7, 5.8, 3.4), (1.1, 2.7, 1.5)), ball(wing, (-2.7, 6.4, 3.0), (1.1, 2.7, 1.5))]
    parts += [ball(INK, (-1.4, -0.1, 8.3), 0.7, weight=3.0), ball(INK, (2.2, -0.1, 8.3), 0.7, weight=3.0)]
    return carve(parts, size, margin)
