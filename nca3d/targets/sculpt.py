"""Bodies built from round parts, painted one over another and divided into cells at any size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nca3d.targets.target import Size

# (x, y, z) in the body's own units, z up.
Point = tuple[float, float, float]
# Red, green and blue, 0..1.
Colour = tuple[float, float, float]
# One colour, or a function from points (N, 3) to colours (N, 3).
Paint = Colour | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Part:
    """A rounded cone between two balls, stretched along the axes; points are (x, y, z) in the body's own units.

    Attributes:
        paint: The part's colour, or a function of points.
        ends: The centres of the two balls (one point twice makes a ball).
        radii: The radii of the two balls.
        stretch: The factors by which the whole part is longer along x, y, z (a ball becomes an ellipsoid).
        least: The least radius in cells, so that small details stay visible on a small lattice.
        weight: The factor by which its sample points count in a cell that it shares with other parts.
        power: The exponent of the distance: 2 is round, more is boxier.
    """

    paint: Paint
    ends: tuple[Point, Point]
    radii: tuple[float, float]
    stretch: Point = (1, 1, 1)
    least: float = 0.0
    weight: float = 1.0
    power: float = 2.0

    def bounds(self, cell: float = 0.0) -> np.ndarray:
        """Returns the box around the part, low and high corner, (2, 3), for cells `cell` units wide."""
        ends, radii = np.array(self.ends, float), self._radii(cell)
        reach = radii[:, None] * np.array(self.stretch)
        return np.stack([(ends - reach).min(0), (ends + reach).max(0)])

    def _radii(self, cell: float) -> np.ndarray:
        """Returns the two radii, at least `least` cells each."""
        return np.maximum(np.array(self.radii, float), self.least * cell)

    def inside(self, points: np.ndarray, cell: float) -> np.ndarray:
        """Returns which points lie in the part, bool (D, H, W) for points (D, H, W, 3), with cells `cell` units wide."""
        # Measured in a space where the stretched part is a plain one.
        stretch = np.array(self.stretch)
        start, end = np.array(self.ends, float) / stretch
        first, last = self._radii(cell)
        along = end - start
        offset = points / stretch - start
        # How far along the axis the nearest point of it lies; the radius changes evenly from end to end.
        share = np.clip(offset @ along / max(float(along @ along), 1e-12), 0, 1)
        gap = offset - share[..., None] * along
        return (np.abs(gap) ** self.power).sum(-1) <= (first + share * (last - first)) ** self.power


@dataclass(frozen=True)
class Solid:
    """A body given by a test of points.

    Attributes:
        paint: The body's colour, or a function of points.
        test: Takes x, y and z as arrays and returns which points lie in the body, bool.
        reach: The half-widths of the box around the body along x, y, z.
        centre: The middle of that box.
        weight: The factor by which its sample points count in a cell that it shares with other parts.
    """

    paint: Paint
    test: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    reach: Point
    centre: Point = (0, 0, 0)
    weight: float = 1.0

    def bounds(self, cell: float = 0.0) -> np.ndarray:
        """Returns the box around the body, low and high corner, (2, 3), whatever the width of a cell."""
        return np.array(self.centre) + np.array([[-1.0], [1.0]]) * np.array(self.reach)

    def inside(self, points: np.ndarray, cell: float) -> np.ndarray:
        """Returns which points lie in the body, bool (D, H, W) for points (D, H, W, 3), whatever the width of a cell."""
        return self.test(points[..., 0], points[..., 1], points[..., 2])


Shape = Part | Solid


def ball(
    paint: Paint, centre: Point, radii: Point | float, least: float = 0.0, weight: float = 1.0, power: float = 2.0
) -> Shape:
    """Returns an ellipsoid along the axes (a rounded box with power > 2).

    Args:
        paint: Its colour, or a function of points.
        centre: Its centre.
        radii: Its radii along x, y, z, or one radius.
        least: The least radius in cells.
        weight: See `Part`.
        power: See `Part`.
    """
    stretch = (radii, radii, radii) if isinstance(radii, int | float) else radii
    return Part(paint, (centre, centre), (1.0, 1.0), stretch, least / min(stretch), weight, power)


def chain(
    paint: Paint,
    points: Sequence[Point],
    radii: Sequence[float],
    stretch: Point = (1, 1, 1),
    least: float = 0.0,
    weight: float = 1.0,
) -> list[Shape]:
    """Returns a limb or a tail: rounded cones from point to point.

    Args:
        paint: Its colour, or a function of points.
        points: The points along its axis.
        radii: The radius at each point.
        stretch: See `Part`.
        least: The least radius in cells.
        weight: See `Part`.
    """
    pairs = zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
    return [Part(paint, (a, b), (r, s), stretch, least, weight) for a, b, r, s in pairs]


def carve(parts: Sequence[Shape], size: Size, margin: int = 1, coverage: float = 0.5) -> np.ndarray:
    """Divides a body into cells, fitted (aspect kept) and centred.

    A cell is filled where at least `coverage` of its sample points lie in the body, and takes the mean colour of the part
    that has most of them (times its weight), so that neighbouring parts don't smear into each other. Only the largest
    face-connected piece is kept: growth can't jump over gaps.

    Args:
        parts: The parts; later ones are painted over earlier ones.
        size: The lattice (D, H, W).
        margin: The cells left free at each face.
        coverage: The share of sample points from which a cell is filled, above 0 to 1.

    Returns:
        Straight RGBA, float32 (D, H, W, 4), with alpha 0 or 1.
    """
    room = np.array(size[::-1], float) - 2 * margin
    boxes = np.stack([part.bounds() for part in parts])
    low, high = boxes[:, 0].min(0), boxes[:, 1].max(0)
    cell = float(((high - low) / room).max())
    # Sample points of a cell along each axis: small lattices need more of them for smooth edges, and can afford them.
    fine = int(np.clip(np.ceil(64 / max(size)), 2, 5))
    counts = [int(n) for n in room]
    corner = (low + high) / 2 - room * cell / 2
    axes = [corner[i] + (np.arange(counts[i] * fine) + 0.5) * cell / fine for i in range(3)]
    owner = np.full((counts[2] * fine, counts[1] * fine, counts[0] * fine), -1, np.int16)
    for index, part in enumerate(parts):
        box = part.bounds(cell)  # only the points in its box can lie in a part
        spans = [slice(*np.searchsorted(axes[i], box[:, i])) for i in range(3)]
        z, y, x = np.meshgrid(axes[2][spans[2]], axes[1][spans[1]], axes[0][spans[0]], indexing="ij")
        hit = part.inside(np.stack([x, y, z], -1), cell)
        owner[spans[2], spans[1], spans[0]][hit] = index
    rgba = _paint(parts, owner, axes, fine, coverage)
    return np.pad(rgba, [(margin, margin)] * 3 + [(0, 0)])


def _paint(parts: Sequence[Shape], owner: np.ndarray, axes: list[np.ndarray], fine: int, coverage: float) -> np.ndarray:
    """Returns the cells (D, H, W, 4) with their colours.

    Args:
        parts: The parts of the body.
        owner: The number of the part that each sample point lies in, -1 where there is none.
        axes: The coordinates of the sample points along x, y, z.
        fine: The sample points of a cell along each axis.
        coverage: The share of sample points from which a cell is filled.
    """
    shape = tuple(n // fine for n in owner.shape)
    z, y, x = np.nonzero(owner >= 0)
    index = owner[z, y, x].astype(np.int64)
    cell = np.ravel_multi_index((z // fine, y // fine, x // fine), shape)
    points = np.stack([axes[0][x], axes[1][y], axes[2][z]], -1)
    filled = np.bincount(cell, minlength=int(np.prod(shape))) >= coverage * fine**3
    best = np.zeros(filled.size)
    rgba = np.zeros((filled.size, 4), np.float32)
    for i, part in enumerate(parts):
        mine = index == i
        count = np.bincount(cell[mine], minlength=filled.size)
        colour = part.paint(points[mine]) if callable(part.paint) else np.broadcast_to(part.paint, (int(mine.sum()), 3))
        total = np.stack([np.bincount(cell[mine], colour[:, c], filled.size) for c in range(3)], -1)
        wins = count * part.weight > best
        best[wins] = (count * part.weight)[wins]
        rgba[wins, :3] = total[wins] / count[wins, None]
    rgba[:, 3] = 1
    rgba[~filled] = 0
    rgba = rgba.reshape(*shape, 4)
    pieces = label_pieces(rgba[..., 3] > 0)
    if pieces.max() > 1:
        rgba *= (pieces == np.bincount(pieces[pieces > 0]).argmax())[..., None]
    return rgba


def label_pieces(occupied: np.ndarray) -> np.ndarray:
    """Numbers the face-connected pieces of a bool (D, H, W) array from 1; 0 is empty.

    Every cell begins with a number of its own, and the largest number spreads through its piece.
    """
    ids = np.where(occupied, np.arange(1, occupied.size + 1).reshape(occupied.shape), 0)
    while True:
        before = ids
        ids = ids.copy()
        for axis in range(3):
            first, last = [slice(None)] * 3, [slice(None)] * 3
            first[axis], last[axis] = slice(None, -1), slice(1, None)
            a, b = tuple(first), tuple(last)
            np.copyto(ids[b], ids[a], where=(ids[a] > ids[b]) & (ids[b] > 0))
            np.copyto(ids[a], ids[b], where=(ids[b] > ids[a]) & (ids[a] > 0))
        # Following each cell's number to that number's own number halves the path: long thin bodies end quickly.
        flat = ids.ravel()
        ids = np.where(ids > 0, np.maximum(ids, flat[ids - 1]), 0)
        if (ids == before).all():
            return np.unique(ids, return_inverse=True)[1].reshape(ids.shape) + (0 if (ids == 0).any() else 1)
