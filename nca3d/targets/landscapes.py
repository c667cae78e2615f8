"""Bodies of more than a thousand cells that are hard in one way each: an oak (ragged), a coral (thin), an island (large).

The first line of each function is its line in `nca3d.targets.catalogue()`. All take the lattice (D, H, W) and the free cells at
each face. What looks random is drawn with a fixed number, so that a body is the same everywhere.
"""

import numpy as np

from nca3d.targets.arrays import from_voxels
from nca3d.targets.fit import room_for
from nca3d.targets.labels import Labels
from nca3d.targets.palette import colormap
from nca3d.targets.sculpt import Point, Shape, Solid, ball, carve, chain, label_pieces
from nca3d.targets.target import Size, Target

BARK, DARK, LEAF, LIGHT = (0.36, 0.25, 0.15), (0.23, 0.40, 0.14), (0.36, 0.58, 0.20), (0.62, 0.76, 0.30)


def oak(size: Size, *, margin: int = 1) -> Target:
    """Oak with a ragged crown, one side blown thin, in four kinds (1,600 cells at 24 × 20 × 21).

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.
    """
    limbs: list[tuple[Point, Point, float]] = [
        ((0, 0, 0), (0.4, 0.2, 7.0), 1.5),
        ((0.4, 0.2, 7.0), (-3.6, 2.0, 12.5), 1.0),
        ((0.4, 0.2, 6.0), (4.6, -1.2, 10.5), 1.0),
        ((0.4, 0.2, 7.0), (0.9, -3.4, 13.0), 0.9),
        ((0.4, 0.2, 7.0), (1.2, 3.2, 16.0), 0.9),
    ]
    parts: list[Shape] = []
    for start, end, radius in limbs:
        parts += chain(BARK, [start, end], [radius, 0.7 * radius], least=0.6)
    for root in ((-2.6, 0.6, -0.6), (1.9, 2.2, -0.6), (1.4, -2.4, -0.6)):
        parts += chain(BARK, [(0, 0, 0.9), root], [1.1, 0.7], least=0.5)
    clumps = (
        ((-4.2, 2.4, 13.2), (4.3, 4.0, 3.2)),
        ((5.0, -1.6, 11.4), (3.9, 3.6, 2.7)),
        ((1.0, -4.0, 13.6), (3.6, 3.6, 3.0)),
        ((1.4, 3.6, 17.2), (4.8, 4.4, 3.4)),
        ((-1.0, -0.4, 16.4), (4.4, 4.2, 3.4)),
    )
    leaves = [ball(LEAF, centre, radii) for centre, radii in clumps]
    whole = carve([*leaves, *parts], size, margin)
    solid = whole[..., 3] > 0
    bark = solid & (whole[..., 1] < 0.5 * (BARK[1] + LEAF[1]))
    # A third of the outer leaves is missing, as a tree has it that was placed leaf by leaf.
    draw = np.random.default_rng(20).random(solid.shape)
    depth = sum(np.roll(solid, step, axis) for axis in range(3) for step in (-1, 1))
    windward = np.linspace(0.68, 0.4, solid.shape[2])[None, None, :]
    kept = bark | (solid & ((depth == 6) & (draw > 0.1) | (draw > windward)))
    kinds = np.where(bark, 1, np.where(draw < 0.5, 2, np.where(draw < 0.85, 3, 4))) * kept
    pieces = label_pieces(kept)
    kinds *= pieces == np.bincount(pieces[kept]).argmax()
    names = {1: "bark", 2: "dark leaf", 3: "leaf", 4: "light leaf"}
    palette = {1: BARK, 2: DARK, 3: LEAF, 4: LIGHT}
    return from_voxels(Labels(kinds.astype(np.uint8), names, palette), "target 'oak'", "oak", size)


def coral(size: Size, *, margin: int = 1) -> np.ndarray:
    """Staghorn coral: branches one cell thick that fork ever again (about 1,200 cells at 32 × 32 × 32).

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.

    Raises:
        InputError: If the lattice leaves no room inside the margin.
    """
    room = np.array(room_for(size, margin, "target 'coral'"))
    body = np.zeros(room, bool)
    rank = np.zeros(room)
    draw = np.random.default_rng(7)
    tips = [(np.array([0.0, 0.52, 0.44]), np.array([1.0, 0.1, -0.1]), 0)]
    for start, along, level in tips:
        length = 0.34 * 0.82**level
        end = start + length * along / np.linalg.norm(along)
        for point in np.linspace(start, end, 4 * max(room)):
            cell = np.floor(point * (room - 1) + 0.5).astype(int)
            if ((cell >= 0) & (cell < room)).all():
                body[tuple(cell)] = True
                rank[tuple(cell)] = max(rank[tuple(cell)], level)
        if level < 7:
            for _ in range(3 if level < 4 else 2):
                turn = draw.normal(size=3) * (0.9, 1.3, 1.3)
                tips.append((end, along / np.linalg.norm(along) + turn, level + 1))
    pieces = label_pieces(body)
    body &= pieces == np.bincount(pieces[body]).argmax()
    colour = colormap("reef", (rank / 7).ravel()).reshape(*room, 3)
    rgba = np.concatenate([colour * body[..., None], body[..., None]], -1).astype(np.float32)
    return np.pad(rgba, [(margin, margin)] * 3 + [(0, 0)])


def island(size: Size, *, margin: int = 1) -> Target:
    """Island: a solid of rock, earth, grass and snow in six kinds, with a crater and a bay (10,400 cells at 34 × 52 × 50).

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.
    """

    def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        peak = 1.15 * np.exp(-((x - 0.25) ** 2 + (y + 0.15) ** 2) / 0.18)
        ridge = 0.55 * np.exp(-((x + 0.45) ** 2 / 0.08 + (y - 0.2) ** 2 / 0.5))
        crater = 0.5 * np.exp(-((x - 0.27) ** 2 + (y + 0.13) ** 2) / 0.012)
        return peak + ridge - crater + 0.06 * np.sin(7 * x + 3 * y) + 0.12

    def test(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        round_shore = x**2 + (y / 1.08) ** 2 <= 0.95 - 0.12 * np.sin(3 * np.arctan2(y, x) + 0.6)
        bay = (x + 0.75) ** 2 + (y + 0.62) ** 2 < 0.16
        keel = -0.62 * (1 - x**2 - (y / 1.08) ** 2).clip(0) ** 0.5
        return round_shore & ~bay & (z <= height(x, y)) & (z >= keel)

    def kind(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        under, banded = height(x, y) - z, np.sin(9 * z + 2 * x) > 0
        base = np.where(under > 0.28, np.where(banded, 2, 1), np.where(banded, 4, 3))
        return np.where(under < 0.12, np.where(z > 0.72, 6, 5), base)

    def part(number: int) -> Solid:
        # Its number is carried through `carve` as if it were a colour's red.
        return Solid(
            (number / 6, 0, 0), lambda x, y, z: test(x, y, z) & (kind(x, y, z) == number), (1.05, 1.1, 1.0), (0, 0, 0.32)
        )

    carved = carve([part(number) for number in range(1, 7)], size, margin)
    kinds = np.rint(6 * carved[..., 0]) * (carved[..., 3] > 0)
    names = {1: "rock", 2: "pale rock", 3: "earth", 4: "pale earth", 5: "grass", 6: "snow"}
    palette = {
        1: (0.36, 0.37, 0.42), 2: (0.50, 0.51, 0.55), 3: (0.43, 0.30, 0.18), 4: (0.57, 0.42, 0.27), 5: (0.36, 0.62, 0.24),
        6: (0.96, 0.97, 1.0),
    }  # fmt: skip
    return from_voxels(Labels(kinds.astype(np.uint8), names, palette), "target 'island'", "island", size)
