"""The animal in all three styles against stored pictures in tests/golden.

After a change that is meant to be seen, draw them anew and look at them before they are committed:

    python tests/visualize/test_golden.py

A picture passes when its mean difference from the stored one (0..255, over all pixels and colours) is under a limit.
The tests below show that each limit still rejects a mirrored body, swapped axes and a blank picture.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
from animal import SIZE, little_animal
from PIL import Image

import visualize
from visualize.render import probe

GOLDEN = Path(__file__).parents[1] / "golden"
STYLES = ("voxels", "surface", "activity")
# Ray-marched pictures may differ by rounding and by the font alone; a driver draws its own edges.
LIMITS = {"raymarch": 0.4, "opengl": 1.2}


def glow() -> np.ndarray:
    """(13,11,17): the animal thinks in its head and moves its left legs."""
    z, y, x = np.mgrid[: SIZE[0], : SIZE[1], : SIZE[2]]
    head = np.exp(-((x - 13) ** 2 + (y - 4) ** 2 + (z - 8) ** 2) / 5)
    legs = 0.6 * np.exp(-((y - 3) ** 2 + (z - 1) ** 2) / 3)
    return np.where(little_animal()[..., 3] > 0, np.maximum(head, legs), 0).astype(np.float32)


def draw(style: str, renderer: str, body: np.ndarray, field: np.ndarray) -> np.ndarray:
    extra = {"activity": field, "activity_range": (0, 1)} if style == "activity" else {}
    return visualize.volume(body, style, size=(160, 160), renderer=renderer, **extra)


@functools.cache
def golden(style: str) -> np.ndarray:
    with Image.open(GOLDEN / f"still_{style}.png") as image:
        return np.asarray(image.convert("RGB")).astype(int)


def distance(picture: np.ndarray, style: str) -> float:
    return float(np.abs(picture - golden(style)).mean())


@pytest.fixture(params=["raymarch", pytest.param("opengl", marks=pytest.mark.slow)])
def renderer(request: pytest.FixtureRequest) -> str:
    if request.param == "opengl" and probe.opengl_trouble():
        pytest.skip(f"no OpenGL here: {probe.opengl_trouble()}")
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_pictures_are_the_stored_ones(style: str, renderer: str) -> None:
    picture = draw(style, renderer, little_animal(), glow())
    assert picture.shape == golden(style).shape
    assert distance(picture, style) < LIMITS[renderer]


def wrong_bodies() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    body, field = little_animal(), glow()
    mirrored = {f"mirrored {'zyx'[axis]}": (np.flip(body, axis), np.flip(field, axis)) for axis in range(3)}
    orders = {"swapped xy": (0, 2, 1), "swapped xz": (2, 1, 0), "swapped yz": (1, 0, 2), "rotated xyz": (1, 2, 0)}
    swapped = {word: (body.transpose(*order, 3), field.transpose(order)) for word, order in orders.items()}
    return {**mirrored, **swapped, "empty": (np.zeros_like(body), np.zeros_like(field))}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", wrong_bodies())
@pytest.mark.parametrize("style", STYLES)
def test_the_limits_reject_wrong_pictures(style: str, wrong: str, renderer: str) -> None:
    picture = draw(style, renderer, *wrong_bodies()[wrong])
    assert distance(picture, style) > 1.5 * max(LIMITS.values())


@pytest.mark.parametrize("style", STYLES)
def test_the_limits_reject_blank_and_dull_pictures(style: str) -> None:
    picture = golden(style)
    for shade in (picture[0, 0], np.zeros(3, int), np.full(3, 255)):
        assert distance(np.broadcast_to(shade, picture.shape), style) > 3 * max(LIMITS.values())
    assert distance(picture.mean(axis=-1, keepdims=True), style) > 1.5 * max(LIMITS.values())  # without its colours
    assert distance(np.roll(picture, 2, axis=1), style) > LIMITS["opengl"]  # two pixels aside


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in STYLES:
        Image.fromarray(draw(name, "raymarch", little_animal(), glow())).save(GOLDEN / f"still_{name}.png", optimize=True)
        print(f"drew {GOLDEN / f'still_{name}.png'}")
