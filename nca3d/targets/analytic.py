"""Bodies given by formulas and strokes: torus, gyroid, letters, cross, jack, sphere, heart.

The first line of each function is its line in `nca3d.targets.catalogue()`. All take the lattice (D, H, W) and the free cells at
each face, and return straight RGBA (D, H, W, 4) with alpha 0 or 1.
"""

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.options import is_number
from nca3d.targets.palette import colormap, hue
from nca3d.targets.sculpt import Shape, Solid, ball, carve, chain
from nca3d.targets.target import Size

# Strokes on a square of 7 x 7 points: pairs of digits are x and height, a dash draws, a space lifts the pen.
LETTERS = {
    "A": "00-36-60 13-53",
    "B": "00-06-46-55-54-43-03 43-52-51-40-00",
    "C": "61-40-20-02-04-26-46-65",
    "D": "00-06-36-64-62-30-00",
    "E": "60-00-06-66 03-43",
    "F": "00-06-66 03-43",
    "G": "65-46-26-04-02-20-40-62-63-33",
    "H": "00-06 60-66 03-63",
    "I": "10-50 16-56 30-36",
    "J": "66-62-40-20-02",
    "K": "00-06 66-03-60",
    "L": "06-00-60",
    "M": "00-06-33-66-60",
    "N": "00-06-60-66",
    "O": "20-02-04-26-46-64-62-40-20",
    "P": "00-06-46-65-64-43-03",
    "Q": "20-02-04-26-46-64-62-40-20 32-60",
    "R": "00-06-46-65-64-43-03 33-60",
    "S": "65-46-26-05-04-23-43-62-61-40-20-01",
    "T": "06-66 36-30",
    "U": "06-02-20-40-62-66",
    "V": "06-30-66",
    "W": "06-10-33-50-66",
    "X": "00-66 06-60",
    "Y": "06-33-66 33-30",
    "Z": "06-66-00-60",
    "0": "20-02-04-26-46-64-62-40-20",
    "1": "14-36-30 10-50",
    "2": "05-26-46-65-64-00-60",
    "3": "06-66-34-54-63-62-40-20-01",
    "4": "50-56-02-62",
    "5": "66-06-03-43-62-61-40-00",
    "6": "56-26-04-02-20-40-62-43-03",
    "7": "06-66-20",
    "8": "33-05-26-46-65-33-01-20-40-61-33",
    "9": "10-40-62-64-46-26-04-23-63",
}


def sphere(size: Size, *, margin: int = 1) -> np.ndarray:
    """Beach ball in six wedges of colour.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """

    def paint(points: np.ndarray) -> np.ndarray:
        # Half a wedge off, so that no border of two colours runs along the x axis, through the middle of a row of cells.
        wedge = np.floor((np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) * 6 + 0.5) % 6)
        return hue(wedge / 6 + 0.02)

    return carve([ball(paint, (0, 0, 0), 1.0)], size, margin)


def torus(size: Size, *, margin: int = 1) -> np.ndarray:
    """Ring lying flat, once round the colour wheel.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """

    # A tube of radius 0.42 around a circle of radius 1.
    def test(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return (np.hypot(x, y) - 1) ** 2 + z**2 <= 0.42**2

    def paint(points: np.ndarray) -> np.ndarray:
        return hue(np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi))

    return carve([Solid(paint, test, (1.42, 1.42, 0.42))], size, margin)


def gyroid(size: Size, *, margin: int = 1, periods: float = 1.2) -> np.ndarray:
    """Gyroid: its winding wall, cut out of a rounded cube (option periods: how many fit across).

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.
        periods: The number of periods that fit across, 0.5..8.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.

    Raises:
        InputError: If periods is out of range.
    """
    if not is_number(periods) or not 0.5 <= periods <= 8:
        raise InputError("target 'gyroid'", "periods", repr(periods), "a number in 0.5..8")
    wave = np.pi * periods

    def test(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        # Schoen's minimal surface is where the level is 0 (Schoen 1970); a band around it gives the wall its thickness.
        a, b, c = x * wave, y * wave, z * wave
        level = np.sin(a) * np.cos(b) + np.sin(b) * np.cos(c) + np.sin(c) * np.cos(a)
        return (x**6 + y**6 + z**6 <= 1) & (np.abs(level) <= 0.6)

    def paint(points: np.ndarray) -> np.ndarray:
        return colormap("reef", 0.5 + 0.45 * points[:, 2] + 0.2 * points[:, 0])

    return carve([Solid(paint, test, (1, 1, 1))], size, margin)


def heart(size: Size, *, margin: int = 1) -> np.ndarray:
    """Heart, red and swelling at the top (Taubin's surface).

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """

    # Taubin 1994, IEEE Computer Graphics and Applications 14: the level 0 of a polynomial of degree six.
    def test(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return (x**2 + 2.25 * y**2 + z**2 - 1) ** 3 - x**2 * z**3 - 0.1125 * y**2 * z**3 <= 0

    def paint(points: np.ndarray) -> np.ndarray:
        light = np.clip(0.55 + 0.3 * points[:, 2] - 0.35 * points[:, 0], 0, 1)[:, None]
        return (1 - light) * np.array([0.62, 0.0, 0.22]) + light * np.array([1.0, 0.36, 0.42])

    return carve([Solid(paint, test, (1.14, 0.67, 1.12), (0.0, 0.0, 0.125))], size, margin)


def cross(size: Size, *, margin: int = 1) -> np.ndarray:
    """Lopsided cross: six arms of six lengths and colours, with no symmetry at all.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    # Six different lengths: a body that grows mirrored or turned can't be taken for the right one.
    arms = [
        ((0, -8.5, 0), (0.95, 0.26, 0.30)),
        ((0, 6.5, 0), (0.20, 0.52, 0.95)),
        ((5.5, 0, 0), (1.00, 0.78, 0.20)),
        ((-7, 0, 0), (0.25, 0.76, 0.46)),
        ((0, 0, 4.8), (0.68, 0.40, 0.92)),
        ((0, 0, -3.6), (1.00, 0.53, 0.22)),
    ]
    parts: list[Shape] = []
    for end, colour in arms:
        parts += chain(colour, [(0.0, 0.0, 0.0), end], [1.45, 1.45], least=0.8)
    return carve([*parts, ball((0.97, 0.95, 0.90), (0, 0, 0), 1.75)], size, margin)


def jack(size: Size, *, margin: int = 1) -> np.ndarray:
    """Jack: six equal arms with round ends, the same after every turn and mirroring of the cube (on an odd, cubic lattice).

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    core, stem, knob = (0.99, 0.90, 0.55), (0.93, 0.45, 0.25), (0.35, 0.25, 0.65)
    parts: list[Shape] = [ball(core, (0, 0, 0), 2.3, weight=2.0)]
    for end in ((-5.0, 0.0, 0.0), (5.0, 0.0, 0.0), (0.0, -5.0, 0.0), (0.0, 5.0, 0.0), (0.0, 0.0, -5.0), (0.0, 0.0, 5.0)):
        parts += chain(stem, [(0.0, 0.0, 0.0), end], [1.2, 1.2], least=0.8)
        parts += [ball(knob, end, 1.75, least=1.2, weight=1.5)]
    return carve(parts, size, margin)


def letter(size: Size, *, margin: int = 1, text: str = "R") -> np.ndarray:
    """Letter drawn with a thick pen, facing low y (option text: one to six of A-Z and 0-9, on a shared bar).

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.
        text: One to six of A-Z and 0-9, set in a row.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.

    Raises:
        InputError: If the text has other letters, or too many.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= 6 or not set(text.upper()) <= set(LETTERS):
        raise InputError("target 'letter'", "text", repr(text), "one to six of A-Z and 0-9")

    def paint(points: np.ndarray) -> np.ndarray:
        return colormap("rainbow", np.clip(points[:, 0] / (9 * len(text)) * 0.6 + points[:, 2] / 20, 0, 1))

    parts: list[Shape] = []
    for index, sign in enumerate(text.upper()):
        left = index * 9.0  # six units of the square, and three between two signs
        for stroke in LETTERS[sign].split():
            points = [(left + int(p[0]), 0.0, 1.2 * int(p[1])) for p in stroke.split("-")]
            parts += chain(paint, points, [0.8] * len(points), (1.0, 1.4, 1.0), least=0.75)
    if len(text) > 1:  # one cell grows one piece: separate letters need something to stand on
        parts += chain((0.30, 0.24, 0.42), [(-0.5, 0, -1.4), (left + 6.5, 0, -1.4)], [0.9, 0.9], (1.0, 1.4, 1.0), least=0.7)
    return carve(parts, size, margin)
