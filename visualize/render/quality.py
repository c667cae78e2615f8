"""What "fast" and "high" mean: how many rays, samples and pixels a picture is made of. Neither uses chance."""

from typing import NamedTuple

import numpy as np

from visualize.frames import FloatArray


class Quality(NamedTuple):
    """Budgets of one picture; more costs time and memory alone."""

    face_rays: int  # rays for the light on all faces of cubes: few faces get many each
    face_most: int  # rays for one corner of a face at most
    scale: int  # OpenGL draws this many times larger on each side and shrinks
    rough: int  # rays for one pixel on the border of a cube where there is no OpenGL; a Fibonacci number
    rim: int  # the same on the border of a skin
    fine: int  # samples of the skin's field a cell, on each axis, at most
    fine_samples: int  # samples of the whole field; large lattices have two a cell, or one
    sky_rays: int  # rays for the light around a skin; 0 guesses it from how crowded a place is
    floor_rays: int  # rays for the shadow on the floor; 0 guesses it from the body's height above
    coarse: int  # a glow is drawn with one ray for a square of pixels of this side
    stride: float  # cells between two samples of a glow


FAST = Quality(
    face_rays=400_000,
    face_most=32,
    scale=2,
    rough=5,
    rim=13,
    fine=3,
    fine_samples=1_000_000,
    sky_rays=0,
    floor_rays=0,
    coarse=2,
    stride=0.5,
)
HIGH = Quality(
    face_rays=2_000_000,
    face_most=128,
    scale=4,
    rough=21,
    rim=34,
    fine=3,
    fine_samples=24_000_000,
    sky_rays=1_200_000,
    floor_rays=900_000,
    coarse=1,
    stride=0.25,
)
QUALITIES = {"fast": FAST, "high": HIGH}


def scattered(count: int) -> tuple[FloatArray, FloatArray]:
    """Where rays (count,) pass through a pixel, from its middle: a Fibonacci lattice, even in every direction.

    Args:
        count: a Fibonacci number from 5 on.
    """
    before, last = 3, 5
    while last < count:
        before, last = last, before + last
    step = np.arange(count)
    across, down = (step + 0.5) / count - 0.5, (step * before % count + 0.5) / count - 0.5
    return across.astype(np.float32), down.astype(np.float32)
