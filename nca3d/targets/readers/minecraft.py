"""Minecraft's files: structures (.nbt), schematics of Sponge (.schem) and Litematica (.litematic); a class a kind of block.

nbtlib reads the tree of values, `block_numbers` unpacks the blocks in it. Which of the formats a file is, is asked of its
content and not of its name. Sponge: https://github.com/SpongePowered/Schematic-Specification, versions 1 to 3.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.options import MAX_CELLS
from nca3d.targets.readers.block_numbers import packed_bits, varints
from nca3d.targets.readers.guard import parsing
from nca3d.targets.readers.nbt_files import read_nbt
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, VolumeOptions, from_volume

Tree = Mapping[str, Any]
# What is to be exported instead of what can't be read.
INSTEAD = "a structure (.nbt), a Sponge schematic (.schem) or a Litematica file (.litematic)"
# Properties in which files from before 1.13 kept the dye or the wood of a block.
HINTS = ("color", "variant", "type")


class Block(NamedTuple):
    """An entry of a palette: a block's name without "minecraft:", and the dye or wood among its properties."""

    name: str
    hint: str = ""


class Build(NamedTuple):
    """Blocks as a file holds them.

    Attributes:
        states: The place of each block's entry in the palette, int32 (y, z, x); -1 = nothing.
        palette: The entries.
        notes: What was decided, without the name of the file.
    """

    states: np.ndarray
    palette: Sequence[Block]
    notes: tuple[str, ...] = ()


def read_minecraft(path: Path, size: Wanted, *, region: str | None = None, **options: Unpack[VolumeOptions]) -> Target:
    """Reads a target from one of Minecraft's files: blocks of one name are one class, whatever their properties.

    Minecraft's y is up, x is east and z is south: (x, y, z) becomes (x, -z, y), so that a house stands and isn't mirrored.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = its own cells and the margin.
        region: The name of one region of a Litematica file; None = all of them, where they stand.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If the file is unreadable, truncated or too large, there is no such region, or nothing is in it.
    """
    root: Tree = read_nbt(path)
    with parsing(path, INSTEAD):
        build = _build(root, region, path)
        volume = _volume(build, path)
    return from_volume(volume, size, path, path.stem, **options)


def _build(root: Tree, region: str | None, path: Path) -> Build:
    """Returns the blocks of whichever format it is."""
    inner = root.get("Schematic")
    tree: Tree = inner if isinstance(inner, Mapping) else root
    if region is not None and "Regions" not in tree:
        raise InputError(path, "region", repr(region), "only with several regions, in a Litematica file")
    if "Regions" in tree:
        return _litematica(tree, region, path)
    if "BlockData" in tree or isinstance(tree.get("Blocks"), Mapping):
        return _sponge(tree, path)
    if "blocks" in tree and "size" in tree:
        return _structure(tree, path)
    if "Blocks" in tree:
        allowed = f"{INSTEAD}; WorldEdit 7 turns it into one: //schem load NAME, then //schem save NAME"
        raise InputError(path, "file", "a schematic of MCEdit, with numbers for blocks", allowed)
    raise InputError(path, "file", f"no blocks among {', '.join(list(tree)[:8]) or 'nothing'}", INSTEAD)


def _structure(tree: Tree, path: Path) -> Build:
    """Reads what structure blocks save: a list of blocks with their places."""
    several = tree.get("palettes")
    palette = tree["palette"] if several is None else several[0]
    x, y, z = _sides([int(n) for n in tree["size"]], path)
    blocks = tree["blocks"]
    places = np.array([[int(n) for n in block["pos"]] for block in blocks], np.int64).reshape(-1, 3)
    outside = ((places < 0) | (places >= (x, y, z))).any(1)
    if outside.any():
        raise InputError(path, "pos", places[outside][0].tolist(), f"places inside {x} × {y} × {z}")
    states = np.full((y, z, x), -1, np.int32)
    states[places[:, 1], places[:, 2], places[:, 0]] = _checked([int(b["state"]) for b in blocks], len(palette), path)
    notes = _left_out(len(tree.get("entities", ())), sum("nbt" in block for block in blocks))
    if several is not None and len(several) > 1:
        notes += (f"the first of {len(several)} palettes",)
    return Build(states, [_entry(one) for one in palette], notes)


def _sponge(tree: Tree, path: Path) -> Build:
    """Reads a schematic of Sponge: x runs fastest, then z, then y."""
    version = int(tree.get("Version", 1))
    if not 1 <= version <= 3:
        raise InputError(path, "Version", version, "1 to 3")
    inside: Tree = tree["Blocks"] if version == 3 else tree
    # Shorts without a sign, which NBT doesn't know.
    x, y, z = _sides([int(tree[side]) & 0xFFFF for side in ("Width", "Height", "Length")], path)
    named = {int(number): str(name) for name, number in inside["Palette"].items()}
    known = np.array(sorted(named), np.int64)
    numbers = varints(np.asarray(inside["Data" if version == 3 else "BlockData"]).view(np.uint8), x * y * z, path)
    states = np.searchsorted(known, numbers).astype(np.int32)
    wrong = known[np.minimum(states, len(known) - 1)] != numbers if len(known) else np.ones(1, bool)
    if wrong.any():
        raise InputError(path, "palette", f"block {numbers[wrong.argmax()]}", f"one of the {len(known)} in the palette")
    inner = inside.get("BlockEntities", inside.get("TileEntities", ()))
    entries = [_block(*named[number].partition("[")[::2]) for number in known.tolist()]
    return Build(states.reshape(y, z, x), entries, _left_out(len(tree.get("Entities", ())), len(inner)))


def _litematica(tree: Tree, region: str | None, path: Path) -> Build:
    """Reads a file of Litematica: its regions are put together where they stand; where two overlap, the later one shows."""
    from visualize.formats.block_table import AIR

    regions: Mapping[str, Tree] = tree["Regions"]
    if region is not None and region not in regions:
        raise InputError(path, "region", repr(region), f"{', '.join(map(str, regions)) or 'none'}{nearest(region, regions)}")
    chosen = {name: one for name, one in regions.items() if region in (None, name)}
    if not chosen:
        raise InputError(path, "Regions", "none", "one or more")
    corners, sides = [], []
    for one in chosen.values():
        size = np.array([int(one["Size"][axis]) for axis in "xyz"], np.int64)
        place = np.array([int(one["Position"][axis]) for axis in "xyz"], np.int64)
        # A negative size runs from its corner towards lower places.
        corners.append(place + np.minimum(size + 1, 0))
        sides.append(_sides(np.abs(size).tolist(), path))
    low = np.min(corners, axis=0)
    x, y, z = _sides((np.max(np.array(corners) + sides, axis=0) - low).tolist(), path)
    states, palette = np.full((y, z, x), -1, np.int32), list[Block]()
    for one, corner, (width, height, length) in zip(chosen.values(), corners, sides, strict=True):
        entries = [_entry(entry) for entry in one["BlockStatePalette"]]
        own = _checked(
            packed_bits(np.asarray(one["BlockStates"]), width * height * length, len(entries), path), len(entries), path
        )
        own = own.reshape(height, length, width)
        solid = np.array([entry.name not in AIR for entry in entries])[own]
        a, b, c = (corner - low).tolist()
        room = states[b : b + height, c : c + length, a : a + width]
        room[solid] = own[solid] + len(palette)
        palette += entries
    beings, inner = (sum(len(one.get(kind, ())) for one in chosen.values()) for kind in ("Entities", "TileEntities"))
    notes = _left_out(beings, inner)
    if len(chosen) > 1:
        notes += (f"{len(chosen)} regions together ({', '.join(map(str, chosen))}); region = one of them alone",)
    return Build(states, palette, notes)


def _sides(sides: Sequence[int], path: Path) -> tuple[int, int, int]:
    """Returns a size (x, y, z) that a lattice can have, before room is made for it."""
    x, y, z = sides
    if min(x, y, z) < 1 or x * y * z > MAX_CELLS:
        raise InputError(path, "size", f"{x} × {y} × {z} blocks (x × y × z)", f"1 or more a side, {MAX_CELLS:,} in all")
    return x, y, z


def _checked(states: np.ndarray | Sequence[int], count: int, path: Path) -> np.ndarray:
    """Returns places in a palette of so many entries, int32, once all of them are in it."""
    places = np.asarray(states, np.int64)
    if len(places) and not 0 <= places.min() <= places.max() < count:
        wrong = places[(places < 0) | (places >= count)][0]
        raise InputError(path, "palette", f"block {wrong}", f"0 to {count - 1}, the places in the palette")
    return places.astype(np.int32)


def _entry(entry: Tree) -> Block:
    """Returns an entry of a palette that is a name and its properties."""
    properties = entry.get("Properties", {})
    hint = next((str(properties[key]) for key in HINTS if key in properties), "")
    return _block(str(entry["Name"]), hint)


def _block(name: str, hint: str = "") -> Block:
    """Returns a block by its name; `hint` may be more than a dye or a wood, which are then looked for in vain."""
    return Block(name.strip().removeprefix("minecraft:"), hint)


def _left_out(beings: int, inner: int) -> tuple[str, ...]:
    """Returns the line about what is in a file besides blocks, if there is anything."""
    whose = "blocks'" if inner > 1 else "block's"
    kinds = [f"{inner:,} {whose} contents (chests, signs, ...)"] * bool(inner)
    kinds += [f"{beings:,} {'entities' if beings > 1 else 'entity'}"] * bool(beings)
    return (f"{' and '.join(kinds)} left out",) if kinds else ()


def _volume(build: Build, path: Path) -> Volume:
    """Returns the labels of blocks with their names and colours: a label for each name, in the order of the alphabet."""
    from visualize.formats.block_table import AIR, MARKERS
    from visualize.formats.blocks import block_colour

    # One more at the end, which -1 finds.
    counts = np.bincount(build.states.ravel() + 1, minlength=len(build.palette) + 1)[1:]
    used = [(entry, int(count)) for entry, count in zip(build.palette, counts, strict=True) if count]
    names = sorted({entry.name for entry, _ in used} - {*AIR, *MARKERS})
    label = {name: number for number, name in enumerate(names, 1)}
    lookup = np.array([label.get(entry.name, 0) for entry in build.palette] + [0], np.int32)
    # The colour is that of most of its blocks: wool of before 1.13 may have any.
    hints = {entry.name: entry.hint for entry, _ in sorted(used, key=lambda pair: pair[1])}
    notes = build.notes
    marks = sum(count for entry, count in used if entry.name in MARKERS)
    if marks:
        what, are = ("blocks", "are") if marks > 1 else ("block", "is")
        notes += (f"{marks:,} {what} that only builders see ({', '.join(MARKERS)}) {are} empty",)
    return Volume(
        # South is our low y.
        lookup[build.states][:, ::-1],
        cells=True,
        names=dict(enumerate(["empty", *names])),
        palette={0: (0.0, 0.0, 0.0)} | {number: block_colour(name, hints[name]) for name, number in label.items()},
        labels=True,
        notes=tuple(f"{path.name}: {note}" for note in notes),
    )
