"""A little animal without any symmetry, for every test that draws."""

import numpy as np
import pytest

SIZE = (13, 11, 17)


def little_animal() -> np.ndarray:
    """(13,11,17,4): it looks along +x, its head is higher than its tail, its left ear is longer than its right one."""
    body = np.zeros((*SIZE, 4), np.float32)
    z, y, x = np.mgrid[: SIZE[0], : SIZE[1], : SIZE[2]]

    def paint(where: np.ndarray, colour: tuple[float, float, float]) -> None:
        body[where] = (*colour, 1.0)

    paint(((x - 7) / 5.2) ** 2 + ((y - 5) / 3.2) ** 2 + ((z - 5.2) / 2.8) ** 2 <= 1, (0.93, 0.5, 0.15))
    paint(((x - 13) / 2.7) ** 2 + ((y - 5) / 2.7) ** 2 + ((z - 8) / 2.5) ** 2 <= 1, (0.98, 0.72, 0.22))
    for side in (3, 7):
        paint((x == 15) & (y == side) & (z == 9), (0.1, 0.1, 0.14))
        for foot in (4, 10):
            paint((x == foot) & (y == side) & (z <= 3), (0.72, 0.32, 0.12))
    paint((x == 12) & (y == 3) & (z == 11), (0.85, 0.35, 0.12))
    paint((x == 12) & (y == 7) & (z >= 10), (0.85, 0.35, 0.12))
    paint((x <= 2) & (y == 5) & (z == 7), (0.2, 0.45, 0.65))
    paint((x == 6) & (y < 5) & (body[..., 3] > 0), (0.2, 0.45, 0.65))
    return body


@pytest.fixture(scope="session")
def animal() -> np.ndarray:
    return little_animal()


@pytest.fixture(scope="session")
def growing(animal: np.ndarray) -> np.ndarray:
    """(6,13,11,17,4): the animal appears around its middle; the first frame is one black cell."""
    places = np.indices(SIZE) - np.array([6, 5, 8]).reshape(3, 1, 1, 1)
    radius = np.abs(places).max(axis=0)
    frames = np.stack([np.where((radius <= reach)[..., None], animal, 0) for reach in (0, 2, 4, 6, 7, 8)])
    frames[0] = 0
    frames[0, 6, 5, 8] = (0, 0, 0, 1)
    return frames.astype(np.float32)
