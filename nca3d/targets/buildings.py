"""Bodies of many kinds, set block by block: a castle and a cathedral. Each kind of block is a class of its own.

The first line of each function is its line in `nca3d.targets.catalogue()`. Both take the lattice (D, H, W) and the free cells
at each face. In a lattice with room for them they keep their own cells; in a smaller or much larger one they are resampled.
"""

from collections.abc import Mapping

import numpy as np

from nca3d.targets.arrays import from_voxels
from nca3d.targets.labels import Labels
from nca3d.targets.target import Size, Target

# Where a block stands: one cell or a range of cells along z, y, x, counted from the corner of the body.
Span = int | slice


class Blocks:
    """Blocks of named kinds in a box of cells; later ones replace earlier ones.

    Args:
        extent: The cells of the box along z, y, x.
        kinds: The colour of each kind, "rrggbb".
    """

    def __init__(self, extent: Size, kinds: Mapping[str, str]) -> None:
        self.labels = np.zeros(extent, np.uint8)
        self.kinds = kinds
        self._numbers = {kind: number for number, kind in enumerate(kinds, start=1)}

    def set(self, kind: str, z: Span, y: Span, x: Span) -> None:
        """Fills a box of cells with one kind; "" empties it."""
        self.labels[z, y, x] = self._numbers[kind] if kind else 0

    def walls(self, kind: str, z: slice, y: slice, x: slice) -> None:
        """Fills the four walls of a room, one cell thick, with one kind."""
        for side in (y.start, y.stop - 1):
            self.set(kind, z, side, x)
        for side in (x.start, x.stop - 1):
            self.set(kind, z, y, side)

    def battlement(self, kind: str, z: int, y: slice, x: slice) -> None:
        """Sets every second block along the edge of a roof."""
        self.walls(kind, slice(z, z + 1), y, x)
        edge = (np.add.outer(np.arange(y.stop - y.start), np.arange(x.stop - x.start)) % 2).astype(bool)
        inside = np.zeros_like(edge)
        inside[1:-1, 1:-1] = True
        self.labels[z, y, x][edge & ~inside] = 0

    def target(self, size: Size, margin: int, name: str) -> Target:
        """Returns the body on a lattice: block for block where there is room for it, resampled where there is not."""
        room = np.array(size) - 2 * margin
        # Resampled where it would fill less than half of a larger lattice: whoever asks for 64 cells a side wants to see them.
        fits = (room >= self.labels.shape).all() and (2 * np.array(self.labels.shape) > room).any()
        colours = {number: tuple(bytes.fromhex(code)) for number, code in enumerate(self.kinds.values(), start=1)}
        palette = {number: tuple(part / 255 for part in colour) for number, colour in colours.items()}
        labels = Labels(self.labels, dict(enumerate(self.kinds, start=1)), palette)
        return from_voxels(labels, f"target {name!r}", name, size, margin=margin, fit=not fits)


CASTLE = {
    "stone": "8b8b88", "cobble": "6d6f70", "mossy": "5d7352", "brick": "9a5a45", "granite": "a5705c", "sandstone": "d9c995",
    "plank": "a7824c", "log": "5e4527", "door": "7c4a1e", "glass": "a9d8e8", "red_roof": "a2342c", "blue_roof": "33508f",
    "slate": "41464d", "gold": "f0c93c", "torch": "ffb347", "banner": "c8285a", "flag": "e8e04a", "grass": "62a044",
    "path": "b49a6a", "water": "3a6fd0", "lily": "2f8f4a", "hay": "d3b233", "wool": "ece7dc", "carpet": "8a2be2",
    "iron": "d8d8d8", "coal": "26262a", "lamp": "ffe28a", "vine": "3f7d2a", "flower": "e2558f", "marble": "f3efe8",
}  # fmt: skip


def castle(size: Size, *, margin: int = 1) -> Target:
    """Castle of thirty kinds of blocks: walls, four unlike towers, a keep, a moat (1,300 cells at 20 × 18 × 18).

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Raises:
        InputError: If the lattice leaves no room inside the margin.
    """
    b = Blocks((18, 16, 16), CASTLE)
    # ground: grass with a moat on two sides, and a path to the gate
    b.set("grass", 0, slice(0, 16), slice(0, 16))
    b.set("water", 0, slice(0, 16), 0)
    b.set("water", 0, 15, slice(0, 16))
    b.set("lily", 0, 4, 0)
    b.set("lily", 0, 15, 11)
    b.set("path", 0, slice(0, 9), slice(7, 9))
    # the wall around the yard, weathered on one side, with a gate
    b.walls("stone", slice(1, 6), slice(2, 14), slice(2, 15))
    b.set("cobble", slice(1, 3), slice(2, 14), 14)
    b.set("mossy", slice(1, 2), 13, slice(2, 15))
    b.set("vine", slice(3, 6), 13, 9)
    b.battlement("stone", 6, slice(2, 14), slice(2, 15))
    b.set("", slice(1, 4), 2, slice(7, 9))
    b.set("door", slice(1, 4), 2, 7)
    b.set("iron", slice(1, 4), 2, 8)
    b.set("torch", 4, 1, 6)
    b.set("torch", 4, 1, 9)
    b.set("banner", slice(4, 6), 1, slice(7, 9))
    # four towers of four heights and roofs
    for y, x, top, wall, roof in ((1, 1, 13, "brick", "red_roof"), (1, 12, 10, "granite", "blue_roof"),
                                  (11, 1, 9, "sandstone", "slate"), (11, 12, 12, "cobble", "red_roof")):  # fmt: skip
        b.walls(wall, slice(1, top), slice(y, y + 4), slice(x, x + 4))
        b.set("plank", top - 1, slice(y + 1, y + 3), slice(x + 1, x + 3))
        b.set("glass", top - 3, y, x + 1)
        b.set("glass", top - 4, y + 1, x + (0 if x < 8 else 3))
        b.set(roof, top, slice(y, y + 4), slice(x, x + 4))
        b.set(roof, top + 1, slice(y + 1, y + 3), slice(x + 1, x + 3))
    b.set("gold", 15, 2, 2)
    b.set("log", slice(12, 14), 2, 13)
    b.set("flag", 13, 1, 13)
    b.set("lamp", 11, 12, 2)
    # the keep, off the middle, with a hall inside
    b.walls("marble", slice(1, 10), slice(6, 12), slice(6, 12))
    b.set("carpet", 1, slice(7, 11), slice(7, 11))
    b.set("plank", 5, slice(7, 11), slice(7, 11))
    b.set("wool", 2, 10, slice(7, 11))
    b.set("gold", 2, 9, 8)
    b.set("lamp", 6, 8, 8)
    b.set("glass", slice(6, 8), 6, slice(8, 10))
    b.set("glass", slice(7, 9), slice(8, 10), 11)
    b.set("", slice(1, 3), 6, 8)
    for step in range(3):
        b.set("slate", 10 + step, slice(6 + step, 12 - step), slice(6 + step, 12 - step))
    b.set("log", slice(13, 17), 8, 9)
    b.set("flag", slice(15, 17), 9, 9)
    b.set("gold", 17, 8, 9)
    # life in the yard
    b.set("hay", slice(1, 3), slice(4, 6), slice(3, 5))
    b.set("coal", 1, 4, 12)
    b.set("log", slice(1, 4), 9, 4)
    b.set("vine", slice(4, 6), slice(8, 11), slice(3, 6))
    b.set("flower", 1, slice(6, 10, 2), 13)
    b.set("flower", 1, 3, 10)
    return b.target(size, margin, "castle")


CATHEDRAL = {
    "limestone": "d8d0bd", "ashlar": "b9b09a", "pier": "a39a86", "buttress": "8d8673", "plinth": "77705f", "floor": "5f5a52",
    "nave": "7f3f3a", "door": "5a3a1c", "tracery": "efe9da", "rose": "c2364f", "blue_glass": "2f5fc4", "green_glass": "3f9d5f",
    "amber_glass": "e4a33a", "lead": "4b535c", "copper": "5fa893", "ridge": "33393f", "bell": "c99b34", "cross": "f2d14b",
    "altar": "f6f3ec", "candle": "ffcf70", "pew": "8a6236", "organ": "9aa0a8", "lawn": "6aa04d", "gargoyle": "3c4245",
}  # fmt: skip


def cathedral(size: Size, *, margin: int = 1) -> Target:
    """Cathedral of 24 kinds of blocks: two unlike towers, nave, aisles, a spire (about 3,400 cells at 31 × 20 × 34).

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.

    Raises:
        InputError: If the lattice leaves no room inside the margin.
    """
    b = Blocks((29, 18, 32), CATHEDRAL)
    b.set("lawn", 0, slice(0, 18), slice(0, 32))
    b.set("plinth", 0, slice(2, 16), slice(1, 31))
    b.set("floor", 0, slice(6, 12), slice(2, 30))
    b.set("nave", 0, slice(8, 10), slice(0, 28))
    # aisles, lower, with buttresses; then the nave between them
    b.walls("ashlar", slice(1, 7), slice(2, 16), slice(6, 28))
    b.set("lead", 7, slice(2, 16), slice(6, 28))
    for x in range(7, 28, 3):
        b.set("buttress", slice(1, 9), 1, x)
        b.set("buttress", slice(1, 8), 16, x)
        b.set("gargoyle", 9, 1, x)
        b.set("pier", slice(1, 13), slice(5, 13, 7), x)
        for z, glass in ((2, "blue_glass"), (3, "green_glass"), (4, "amber_glass")):
            b.set(glass, z, 2, x + 1)
            b.set(glass if x < 20 else "rose", z, 15, x + 1)
    b.walls("limestone", slice(8, 14), slice(5, 13), slice(5, 29))
    b.set("", 7, slice(6, 12), slice(6, 28))
    for x in range(7, 28, 3):
        b.set("tracery", slice(9, 12), slice(5, 13, 7), x)
        b.set("blue_glass", slice(9, 12), slice(5, 13, 7), x + 1)
    for rise in range(4):
        for y in (5 + rise, 12 - rise):
            b.set("ridge" if rise == 3 else "lead", 14 + rise, y, slice(5, 29))
    # the choir's end, round, and the altar
    b.walls("limestone", slice(1, 14), slice(6, 12), slice(28, 31))
    b.set("copper", 14, slice(6, 12), slice(29, 31))
    b.set("rose", slice(5, 9), slice(8, 10), 30)
    b.set("altar", slice(1, 3), slice(8, 10), 26)
    b.set("candle", 3, slice(8, 10), 26)
    b.set("pew", 1, slice(6, 8), slice(9, 24, 2))
    b.set("pew", 1, slice(10, 12), slice(9, 24, 2))
    b.set("organ", slice(8, 12), slice(7, 11), 6)
    # the front: rose window, three doors, two towers of different heights
    b.set("limestone", slice(1, 17), slice(5, 13), 4)
    b.set("tracery", slice(8, 14), slice(6, 12), 4)
    b.set("rose", slice(9, 13), slice(7, 11), 4)
    for y, top, cap in ((2, 23, "copper"), (12, 19, "lead")):
        b.walls("limestone", slice(1, top), slice(y, y + 4), slice(1, 6))
        b.set("tracery", top - 1, slice(y, y + 4), slice(1, 6))
        b.set("amber_glass", slice(top - 6, top - 3), y + 1, 1)
        b.set("bell", top - 3, y + 2, 3)
        b.set("ashlar", 8, slice(y, y + 4), slice(1, 6))
        for step in range(2):
            b.set(cap, top + step, slice(y + step, y + 4 - step), slice(1 + step, 6 - step))
        b.set("cross", slice(top + 2, top + 4), y + 1, 3)
    for y in (3, 8, 13):
        b.set("door", slice(1, 4 if y == 8 else 3), slice(y, y + 2), 1 if y != 8 else 4)
    # the spire over the crossing
    b.walls("limestone", slice(14, 20), slice(7, 11), slice(19, 23))
    b.set("green_glass", slice(16, 18), 7, 20)
    for step, z in enumerate(range(20, 26, 2)):
        b.set("copper", slice(z, z + 2), slice(7 + step // 2, 11 - step // 2), slice(19 + (step + 1) // 2, 23 - step // 2))
    b.set("cross", slice(26, 29), 9, 21)
    b.set("cross", 27, slice(8, 11), 21)
    return b.target(size, margin, "cathedral")
