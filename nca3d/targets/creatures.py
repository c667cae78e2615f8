"""Creatures sculpted from round parts: the axolotl, which the default experiment grows, a toadstool and a toucan.

The first line of each function is its line in `nca3d.targets.catalogue()`. All take the lattice (D, H, W) and the free cells at
each face, and return straight RGBA (D, H, W, 4) with alpha 0 or 1. Later parts are painted over earlier ones.
"""

import numpy as np

from nca3d.targets.sculpt import Shape, ball, carve, chain
from nca3d.targets.target import Size

PINK, ROSE, MAGENTA = (1.0, 0.56, 0.70), (0.98, 0.40, 0.58), (0.86, 0.04, 0.42)
CREAM, LILAC, INK = (1.0, 0.90, 0.74), (0.56, 0.36, 0.95), (0.05, 0.03, 0.12)
CORAL, WHITE = (1.0, 0.42, 0.36), (1.0, 1.0, 1.0)


def axolotl(size: Size, *, margin: int = 1) -> np.ndarray:
    """Axolotl: pink, with magenta gills, one paw raised and a lilac tail swung to one side.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """

    def skin(points: np.ndarray) -> np.ndarray:
        # A pale belly: what lies below this height of the head and the trunk is cream.
        return np.where(points[:, 2:] >= 2.9, PINK, CREAM)

    # In cells of its home lattice (D, H, W) = (11, 20, 15): 13 wide, 18 long, 9 high, facing low y.
    parts: list[Shape] = []
    # tail: a lilac fin above and below a pink core, swinging to high x
    spine = [(6.6, 10.5, 4.5), (6.8, 13.0, 4.7), (8.4, 15.4, 5.0), (11.5, 16.7, 5.4)]
    parts += chain(LILAC, spine, [1.2, 1.15, 1.2, 1.2], (1.0, 1.0, 2.6))
    parts += chain(PINK, spine[:3], [2.0, 1.6, 1.0])
    parts += chain(skin, [(6.0, 6.0, 3.9), (6.5, 9.0, 4.1), (6.6, 11.2, 4.2)], [2.6, 2.7, 2.1])
    # legs: three on the ground, the left front paw raised
    parts += chain(CORAL, [(4.2, 8.2, 2.6), (2.2, 8.2, 1.0)], [1.0, 1.0])
    parts += chain(CORAL, [(8.4, 8.4, 3.4), (11.0, 8.6, 3.3), (12.0, 8.4, 5.0)], [1.0, 1.0, 0.9])
    parts += chain(CORAL, [(4.8, 11.8, 2.6), (2.8, 12.6, 1.0)], [1.0, 1.0])
    parts += chain(CORAL, [(8.4, 11.4, 2.6), (10.2, 12.2, 1.0)], [1.0, 1.0])
    # gills: three stubs each side, up, out and down
    for side in (-1, 1):
        root = 6.0 + side * 2.6
        for y, rise, out in ((5.4, 3.35, 1.2), (5.8, 1.0, 2.75), (4.6, -1.9, 2.75)):
            parts += chain(MAGENTA, [(root, 4.6, 5.0 + rise * 0.2), (root + side * out, y, 4.7 + rise)], [0.9, 0.95])
    # head, smile, eyes with a spark (smile and spark are seen on larger lattices only)
    parts += [ball(skin, (6.0, 3.2, 4.4), (4.1, 3.2, 2.6), power=2.4)]
    parts += chain(ROSE, [(3.8, 0.8, 4.0), (5.0, 0.15, 3.5), (7.0, 0.15, 3.5), (8.2, 0.8, 4.0)], [0.28] * 4, weight=0.6)
    for x, y, side in ((2.9, 1.4, -1), (9.0, 1.1, 1)):
        parts += [ball(INK, (x, y, 5.3), 0.95, least=0.75, weight=3.0)]
        parts += [ball(WHITE, (x + 0.1 * side, y - 0.75, 5.75), 0.33)]
    return carve(parts, size, margin)


def mushroom(size: Size, *, margin: int = 1) -> np.ndarray:
    """Toadstool: a leaning stalk under a red cap with cream spots, moss at its foot.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    red, moss = (0.90, 0.13, 0.16), (0.36, 0.62, 0.25)
    parts: list[Shape] = [ball(moss, (0.2, 0.1, 0.2), (3.2, 2.8, 1.2))]
    parts += chain(CREAM, [(0.2, 0.0, 0.4), (-0.5, 0.2, 5.0)], [1.9, 1.4])
    parts += [ball(CREAM, (-0.8, 0.2, 5.8), (4.4, 4.4, 1.0)), ball(red, (-0.9, 0.2, 6.8), (5.2, 5.2, 2.6), power=2.2)]
    parts += [ball(red, (-1.0, 0.2, 8.2), (3.8, 3.8, 2.2))]
    # The spots are placed by hand: even ones would give the cap a symmetry, and growth an easy way.
    for x, y, z in (
        (-1.6, -4.2, 7.2),
        (2.6, -3.4, 7.3),
        (-4.8, -1.8, 7.1),
        (0.2, -1.6, 10.0),
        (3.3, 1.0, 8.2),
        (-3.4, 1.8, 9.4),
        (0.8, 3.6, 8.6),
        (-2.6, 4.7, 7.2),
        (3.4, 3.6, 7.0),
    ):
        parts += [ball((1.0, 0.95, 0.86), (x, y, z), 1.1, least=0.6, weight=1.3)]
    return carve(parts, size, margin)


def toucan(size: Size, *, margin: int = 1) -> np.ndarray:
    """Toucan: black and white, a great orange beak turned aside, a blue-ringed eye, a red patch under the tail.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    black, orange, red, blue = (0.10, 0.10, 0.17), (1.0, 0.58, 0.08), (0.93, 0.16, 0.18), (0.16, 0.55, 0.95)
    white, yellow, wood = (1.0, 0.97, 0.86), (1.0, 0.84, 0.20), (0.50, 0.33, 0.20)
    parts: list[Shape] = chain(wood, [(-5.0, 0.6, 0.9), (5.2, 0.2, 0.7)], [0.9, 0.8], least=0.7)
    parts += chain(black, [(0.2, 3.2, 3.6), (0.5, 6.0, 1.2), (0.7, 7.4, -0.4)], [1.7, 1.2, 0.9], (1.2, 1.0, 1.0))
    parts += [ball(red, (0.2, 3.4, 2.6), 1.7)]
    parts += chain(black, [(0.0, 1.9, 4.4), (0.0, 0.0, 6.8)], [2.9, 2.6])
    parts += chain(black, [(-0.2, -0.6, 8.4), (-0.3, -1.0, 9.2)], [2.3, 2.3])
    parts += [ball(white, (-0.2, -1.9, 6.9), (1.9, 1.5, 2.1))]
    parts += chain(orange, [(-0.4, -2.4, 9.2), (-1.0, -5.2, 9.3), (-1.9, -7.6, 8.2)], [1.7, 1.55, 0.9], (0.8, 1.0, 1.0))
    parts += chain(yellow, [(-0.4, -2.4, 10.3), (-1.0, -5.2, 10.3)], [0.9, 0.7], (0.8, 1.0, 0.8))
    parts += [ball(red, (-2.1, -8.0, 7.8), 0.95, weight=1.3)]
    for side in (-1, 1):
        parts += [ball(blue, (-0.3 + 1.9 * side, -1.6, 9.5), 0.95, least=0.6, weight=1.5)]
        parts += [ball(INK, (-0.3 + 2.6 * side, -1.8, 9.6), 0.5, weight=1.2)]
        parts += chain((0.18, 0.20, 0.34), [(2.3 * side, 0.8, 5.6), (1.9 * side, 4.0, 3.0)], [1.2, 0.8])
    return carve(parts, size, margin)
