"""Minecraft's files: a body as a structure (.nbt) or as a schematic of Sponge (.schem), block by block; nbtlib writes them.

Sources: https://minecraft.wiki/w/Structure_file and https://github.com/SpongePowered/Schematic-Specification, version 2,
which WorldEdit, Litematica and others read.
"""

import gzip
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from visualize.errors import ArgumentError, LossyWarning
from visualize.files import atomic_file
from visualize.formats.block_table import DYES, WOODS
from visualize.formats.blocks import block_colour, is_block, modern_name, nearest_blocks
from visualize.formats.content import Content, Numbers
from visualize.frames import BoolArray, FloatArray, occupied

if TYPE_CHECKING:
    from nbtlib import Compound

# Minecraft 1.20.4, whose names the blocks have: a newer game turns them into its own.
DATA_VERSION = 3700
# nbtlib makes a dozen objects for each block of a structure; a schematic takes a byte.
MOST_BLOCKS = 1 << 18
LONGEST = (1 << 15) - 1  # a side is a short
SHOWN = 6  # names in a line


class Blocks(NamedTuple):
    """The last frame as blocks: places in a palette (D,H,W), 0 = air, and the palette from 1 up."""

    states: Numbers
    names: list[str]


def write_structure(content: Content, path: Path) -> None:
    """Writes the last frame as a structure, for structure blocks and `/place template`; where nothing is, it holds no block.

    Our x, y, z are its x, -z, y: its up is y, its south is our low y, so that the body stands and isn't mirrored.

    Raises:
        ValueError: no cell of the last frame is occupied, or too many are.
    """
    from nbtlib import Compound, Int, List, String

    cells = int(_body(content).sum())
    if cells > MOST_BLOCKS:
        raise ArgumentError("save", "frames", f"{cells:,} cells", f"at most {MOST_BLOCKS:,} for .nbt; .schem holds more")
    blocks = _blocks(content, ".nbt", path)
    depth, height, width = content.size
    places = np.argwhere(blocks.states)
    states = blocks.states[tuple(places.T)] - 1
    placed = np.stack([places[:, 2], places[:, 0], height - 1 - places[:, 1]], axis=1)
    tree = {
        "DataVersion": Int(DATA_VERSION),
        "size": List[Int]([width, depth, height]),
        "palette": List[Compound]([Compound({"Name": String(name)}) for name in blocks.names]),
        "blocks": List[Compound](
            [
                Compound({"pos": List[Int](place), "state": Int(state)})
                for place, state in zip(placed.tolist(), states.tolist(), strict=True)
            ]
        ),
        "entities": List[Compound]([]),
    }
    _write(Compound(tree), "", path)


def write_schematic(content: Content, path: Path) -> None:
    """Writes the last frame as a schematic of Sponge, version 2, with air where nothing is; it lies as `write_structure` says.

    Raises:
        ValueError: no cell of the last frame is occupied, or a side is too long.
    """
    from nbtlib import ByteArray, Compound, Int, IntArray, List, Short

    if max(content.size) > LONGEST:
        raise ArgumentError("save", "frames", f"{max(content.size):,} cells a side", f"at most {LONGEST:,} for .schem")
    blocks = _blocks(content, ".schem", path)
    depth, height, width = content.size
    tree = {
        "Version": Int(2),
        "DataVersion": Int(DATA_VERSION),
        "Width": Short(width),
        "Height": Short(depth),
        "Length": Short(height),
        "Offset": IntArray([0, 0, 0]),
        "PaletteMax": Int(len(blocks.names) + 1),
        "Palette": Compound({name: Int(number) for number, name in enumerate(["minecraft:air", *blocks.names])}),
        # x runs fastest, then south, then up.
        "BlockData": ByteArray(_varints(blocks.states[:, ::-1].ravel()).view(np.int8)),
        "BlockEntities": List[Compound]([]),
    }
    _write(Compound(tree), "Schematic", path)


def _write(tree: "Compound", name: str, path: Path) -> None:
    """Writes a tree, packed as the game has it, without the time: the same body gives the same bytes."""
    from nbtlib import File

    stream = io.BytesIO()
    File(tree, root_name=name).write(stream)
    with atomic_file(path) as beside:
        beside.write_bytes(gzip.compress(stream.getvalue(), mtime=0))


def _varints(numbers: Numbers) -> Numbers:
    """Whole numbers (n,) as bytes: seven bits each, the lowest first, the highest bit set in all but a number's last."""
    left = numbers.astype(np.int64)
    lengths = np.maximum(1, sum(((left >> 7 * place) > 0).astype(np.int64) for place in range(5)))
    ends = np.cumsum(lengths)
    data = np.zeros(int(ends[-1]), np.uint8)
    for place in range(int(lengths.max())):
        there = lengths > place
        more = (lengths[there] > place + 1).astype(np.int64) << 7
        data[(ends - lengths)[there] + place] = left[there] >> 7 * place & 127 | more
    return data


def _body(content: Content) -> BoolArray:
    """The cells of the last frame that are written, (D,H,W): occupied, and of a class if there are any."""
    body = occupied(content.frames[-1])
    return body if content.labels is None else body & (content.labels[-1] > 0)


def _blocks(content: Content, suffix: str, path: Path) -> Blocks:
    """The blocks of the last frame: those that its classes are named after, or else the nearest in colour, which it says.

    Raises:
        ValueError: no cell is occupied.
    """
    body = _body(content)
    if not body.any():
        raise ArgumentError("save", "frames", "no cell with alpha above 0.1 in the last frame", f"one or more for {suffix}")
    colours = content.frames[-1][body][:, :3]
    if content.labels is None:
        # One number a colour: sorting rows of three takes ten times as long.
        numbers, index = np.unique(np.rint(255 * colours).astype(np.int64) @ [1 << 16, 1 << 8, 1], return_inverse=True)
        kinds = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1)
        chosen = nearest_blocks(kinds.astype(np.float32) / np.float32(255))
        near = _listed(dict.fromkeys(chosen))
        said = [f"{len(kinds):,} colour{'s' * (len(kinds) > 1)}, written as the blocks nearest in colour: {near}"]
    else:
        labels, index = np.unique(content.labels[-1][body], return_inverse=True)
        chosen, said = _named(content, labels.tolist(), _looks(content, colours, labels, index))
    for line in said:
        warnings.warn(f"{path.name}: {line}", LossyWarning, stacklevel=4)
    names = list(dict.fromkeys(chosen))
    places = np.array([names.index(name) + 1 for name in chosen])
    states = np.zeros(content.size, np.int64)
    states[body] = places[index.reshape(-1)]
    return Blocks(states, [name if ":" in name else f"minecraft:{name}" for name in names])


def _looks(content: Content, colours: FloatArray, labels: Numbers, index: Numbers) -> FloatArray:
    """The colour (n,3), 0..1, of each label: that of the palette, or the mean of its cells."""
    if content.palette is not None:
        return content.palette[labels].astype(np.float32) / np.float32(255)
    sums = np.stack([np.bincount(index.reshape(-1), colours[:, channel], len(labels)) for channel in range(3)], axis=1)
    return (sums / np.bincount(index.reshape(-1), minlength=len(labels))[:, None]).astype(np.float32)


def _named(content: Content, labels: list[int], looks: FloatArray) -> tuple[list[str], list[str]]:
    """The block of each label, and the lines that say which of them its name is not."""
    given = [content.names[label] if content.names else str(label) for label in labels]
    chosen = {place: _today(name, looks[place]) for place, name in enumerate(given) if is_block(name)}
    renamed = {given[place]: name for place, name in chosen.items() if name != given[place].removeprefix("minecraft:")}
    others = [place for place in range(len(given)) if place not in chosen]
    for place in others:
        # Each class has a block of its own as long as there are any.
        chosen[place] = nearest_blocks(looks[place : place + 1], taken=list(chosen.values()))[0]
    said = []
    if others:
        pairs = {given[place]: chosen[place] for place in others}
        said.append(f"no blocks' names, written as blocks of a near colour: {_listed(pairs)}")
    if renamed:
        said.append(f"names from before Minecraft 1.13, written as today's: {_listed(renamed)}")
    return [chosen[place] for place in range(len(given))], said


def _today(name: str, look: FloatArray) -> str:
    """The name that a block has today; one that was of any dye or wood becomes that of the nearest colour."""
    ours = dict.fromkeys([modern_name(name), *(modern_name(name, hint) for hint in (*DYES, *WOODS))])
    return min(ours, key=lambda one: float(np.abs(np.array(block_colour(one)) - look).sum()))


def _listed(names: dict[str, str] | dict[str, None]) -> str:
    """The first few of some names, and of what each became."""
    shown = [f"{name} as {became}" if became else name for name, became in list(names.items())[:SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
