"""Minecraft's blocks: which names are blocks, and the colour that each has from afar.

One table (`block_table`) serves both ways: `nca3d.targets.readers.minecraft` reads bodies with it, and
`visualize.formats.minecraft` writes them.
"""

import colorsys
import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np

from visualize.formats import block_table as data
from visualize.frames import FloatArray


@cache
def _table() -> dict[str, tuple[float, float, float]]:
    """The colour (r, g, b), 0..1, of every block that is known by its whole name."""
    codes: dict[str, str] = {}
    for entry in data.BLOCKS.replace("\n", " | ").split(" | "):
        code, *names = entry.split() or [""]
        codes |= dict.fromkeys(names, code)
    for dye, shades in data.DYES.items():
        codes |= {f"{dye}_{thing}": shades.split()[which] for thing, which in data.DYED.items()}
    for wood, shades in data.WOODS.items():
        planks, trunk, leaves = shades.split()
        trunks, greens = {"bamboo": ((), ()), "crimson": data.FUNGUS, "warped": data.FUNGUS}.get(wood, data.TREE)
        codes |= {f"{wood}_{thing}": planks for thing in data.WOODEN.split()}
        codes |= {f"{wood}_{thing}": trunk for thing in trunks} | {f"stripped_{wood}_{thing}": planks for thing in trunks}
        codes |= {f"{wood}_{thing}": leaves for thing in greens}
    return {name: _rgb(code) for name, code in codes.items()}


@cache
def _pairs(text: str) -> dict[str, str]:
    """What "a=b c=d" says."""
    return dict(pair.split("=") for pair in text.split())


def _rgb(code: str) -> tuple[float, float, float]:
    return int(code[:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:], 16) / 255


def plain_name(name: str) -> str:
    """A block's name without "minecraft:" and without its properties: "minecraft:oak_stairs[facing=east]" is oak_stairs."""
    return name.partition("[")[0].strip().removeprefix("minecraft:")


def modern_name(name: str, hint: str = "") -> str:
    """The name that a block has since Minecraft 1.13; `hint` is the dye or the wood that was a property before."""
    known = _pairs(data.FORMER).get(plain_name(name), plain_name(name))
    hint = {"silver": "light_gray"}.get(hint, hint)
    if known == plain_name(name) or not hint:
        return known
    for kinds, usual in ((data.DYES, ("white_", "red_bed")), (data.WOODS, ("oak_", "acacia_"))):
        if hint in kinds and known.startswith(usual):
            # The first word is the usual kind's: "white_wool", "oak_planks".
            return f"{hint}_{known.partition('_')[2]}"
    return known


def is_block(name: str) -> bool:
    """Whether this is the name of a block that is seen, of today or of before 1.13; of a mod's, "mod:name", it is believed."""
    space, colon, _ = name.partition(":")
    return bool(colon and space != "minecraft") or _known(modern_name(name)) is not None


def block_colour(name: str, hint: str = "") -> tuple[float, float, float]:
    """The colour (r, g, b), 0..1, of a block: its own, its family's, or else one that its name alone decides.

    Args:
        name: of the block, with or without "minecraft:".
        hint: the dye or the wood that is among its properties, in files of before 1.13.
    """
    plain = modern_name(name, hint)
    known = _known(plain)
    if known is not None:
        return known
    words = plain.rpartition(":")[2].split("_")
    # The last word says most: a "sandstone_brick" is of bricks.
    for word in reversed(words):
        if word in _pairs(data.FAMILIES):
            return _table()[_pairs(data.FAMILIES)[word]]
    number = zlib.crc32(plain.encode())
    return colorsys.hsv_to_rgb(number % 360 / 360, 0.45 + (number >> 9) % 40 / 100, 0.6 + (number >> 15) % 35 / 100)


def _known(name: str) -> tuple[float, float, float] | None:
    """The colour of a block by its name, or by that of the block that it was cut from; None if neither is known."""
    table = _table()
    if name in table:
        return table[name]
    base = next((name.removesuffix(shape) for shape in data.SHAPES if name.endswith(shape)), name)
    base = next((base.removeprefix(before) for before in data.BEFORE if base.startswith(before) and base not in table), base)
    for whole in (base, f"{base}s", f"{base}_block", f"{base}_planks") if base != name else ():
        if whole in table:
            return table[whole]
    return None


@cache
def _cubes() -> tuple[list[str], FloatArray]:
    """Full blocks for cells of any colour, and their colours in Oklab (n,3)."""
    dyed = [f"{dye}_{thing}" for thing in ("concrete", "wool", "terracotta") for dye in data.DYES]
    names = [*dyed, *(f"{wood}_planks" for wood in data.WOODS if wood != "pale_oak"), *data.CUBES.split()]
    return names, _seen(np.array([_table()[name] for name in names], np.float32))


def nearest_blocks(colours: FloatArray, taken: Sequence[str] = ()) -> list[str]:
    """The full block nearest to each colour (n,3), 0..1, among those that aren't taken, if there are others."""
    names, places = _cubes()
    free = [index for index, name in enumerate(names) if name not in taken] or list(range(len(names)))
    near: list[str] = []
    for start in range(0, len(colours), 1 << 14):  # a piece at a time: each colour is compared with a hundred blocks
        part = _seen(colours[start : start + (1 << 14)])
        near += [names[free[index]] for index in np.linalg.norm(part[:, None] - places[free], axis=-1).argmin(1)]
    return near


def _seen(colours: FloatArray) -> FloatArray:
    """Display colours (n,3), 0..1, in Oklab (Ottosson 2020): a distance there is what the eye sees of it, in blues too."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_cones += [[0.0883024619, 0.2817188376, 0.6299787005]]
    # Lightness counts half: a red that has no block should become a darker red, and not an orange.
    to_lab = [[0.1052271277, 0.3968088925, -0.0020360234], [1.9779984951, -2.4285922050, 0.4505937099]]
    to_lab += [[0.0259040371, 0.7827717662, -0.8086757660]]
    return np.asarray(np.cbrt(linear @ np.array(to_cones).T) @ np.array(to_lab).T, np.float32)
