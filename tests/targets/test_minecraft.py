"""Minecraft's files as targets, written here by nbtlib, and bodies that come back from the ones that are saved."""

import gzip
import io
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from target_laws import check_laws, one_line

import visualize
from nca3d import targets
from nca3d.errors import InputError
from nca3d.targets.readers import nbt_files

nbtlib = pytest.importorskip("nbtlib")
ByteArray, Compound, Int, List = nbtlib.ByteArray, nbtlib.Compound, nbtlib.Int, nbtlib.List
LongArray, Short, String = nbtlib.LongArray, nbtlib.Short, nbtlib.String


def nbt(path: Path, tree: Mapping[str, Any], name: str = "", packed: bool = True) -> Path:
    stream = io.BytesIO()
    nbtlib.File(Compound(tree), root_name=name).write(stream)
    path.write_bytes(gzip.compress(stream.getvalue()) if packed else stream.getvalue())
    return path


def structure(size: Sequence[int], palette: Sequence[Any], blocks: Sequence[tuple[int, int, int, int]]) -> dict[str, Any]:
    """A structure whose blocks are x, y, z and a place in the palette of names or compounds."""
    return {
        "size": List[Int](size),
        "palette": entries(palette),
        "blocks": List[Compound]([Compound({"pos": List[Int](b[:3]), "state": Int(b[3])}) for b in blocks]),
        "entities": List[Compound]([]),
        "DataVersion": Int(3700),
    }


def entries(palette: Sequence[Any]) -> Any:
    return List[Compound]([one if isinstance(one, Compound) else Compound({"Name": String(one)}) for one in palette])


def schematic(version: int, states: np.ndarray, palette: Sequence[str]) -> dict[str, Any]:
    """A schematic of Sponge of states (y, z, x)."""
    numbers = Compound({name: Int(place) for place, name in enumerate(palette)})
    data = ByteArray(np.frombuffer(b"".join(map(varint, states.ravel().tolist())), np.int8))
    sides = dict(zip(("Height", "Length", "Width"), map(Short, states.shape), strict=True))
    if version == 3:
        return {"Schematic": Compound({"Version": Int(3), **sides, "Blocks": Compound({"Palette": numbers, "Data": data})})}
    return {"Version": Int(version), **sides, "Palette": numbers, "BlockData": data}


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def region(position: Sequence[int], size: Sequence[int], states: np.ndarray, palette: Sequence[str]) -> Compound:
    """A region of Litematica of states (y, z, x); a negative size runs towards lower places."""
    bits = max(2, (len(palette) - 1).bit_length())
    number = sum(state << bits * place for place, state in enumerate(states.ravel().tolist()))
    longs = np.frombuffer(number.to_bytes(8 * -(-states.size * bits // 64), "little"), "<i8")
    return Compound(
        {
            "Position": Compound(dict(zip("xyz", map(Int, position), strict=True))),
            "Size": Compound(dict(zip("xyz", map(Int, size), strict=True))),
            "BlockStatePalette": entries(palette),
            "BlockStates": LongArray(longs),
        }
    )


def cells(target: targets.Target) -> set[tuple[int, ...]]:
    """The occupied cells (x, y, z) of a target."""
    return {tuple(place) for place in np.argwhere(target.occupied.numpy())[:, ::-1].tolist()}


def classes(target: targets.Target) -> dict[tuple[int, ...], str]:
    """The names of the occupied cells (x, y, z)."""
    labels = target.values[:-1].argmax(0).numpy()
    return {(x, y, z): target.names[labels[z, y, x]] for z, y, x in np.argwhere(labels).tolist()}


def test_a_structure_stands_and_is_not_mirrored(tmp_path: Path) -> None:
    stairs = Compound({"Name": String("minecraft:oak_stairs"), "Properties": Compound({"facing": String("east")})})
    turned = Compound({"Name": String("minecraft:oak_stairs"), "Properties": Compound({"facing": String("west")})})
    palette = ["minecraft:stone", stairs, turned, "minecraft:cave_air", "minecraft:jigsaw", "mod:thing"]
    # Two blocks of stairs east of a stone, one thing south of it, one stone above.
    blocks = [(0, 0, 0, 0), (1, 0, 0, 1), (2, 0, 0, 2), (0, 0, 1, 5), (0, 1, 0, 0), (1, 1, 1, 3), (2, 1, 1, 4)]
    tree = structure((3, 2, 2), palette, blocks)
    tree["blocks"][0]["nbt"] = Compound({"Text": String("hello")})
    target = targets.load(nbt(tmp_path / "house.nbt", tree), "auto", margin=0)
    check_laws(target, (2, 2, 3), 0)
    # East is x; south is low y, so that the row in the north lies at y = 1; up is z.
    expected = {
        (0, 1, 0): "stone",
        (1, 1, 0): "oak_stairs",
        (2, 1, 0): "oak_stairs",
        (0, 0, 0): "mod:thing",
        (0, 1, 1): "stone",
    }
    assert classes(target) == expected and target.names == ("empty", "mod:thing", "oak_stairs", "stone")
    assert len({tuple(colour) for colour in target.palette.tolist()}) == 4
    said = " ".join(target.notes)
    assert "1 block's contents" in said and "1 block that only builders see" in said
    for packed in (False, True):
        same = targets.load(nbt(tmp_path / "again.nbt", tree, packed=packed), (2, 2, 3))
        assert classes(same) == expected
    several = {**tree, "palettes": List[List[Compound]]([tree["palette"], entries(["minecraft:dirt"] * 6)])}
    del several["palette"]
    mixed = targets.load(nbt(tmp_path / "palettes.nbt", several), (2, 2, 3))
    assert classes(mixed) == expected and "the first of 2 palettes" in " ".join(mixed.notes)


def test_wool_of_before_1_13_has_the_colour_of_most_of_it(tmp_path: Path) -> None:
    dyed = [
        Compound({"Name": String("minecraft:wool"), "Properties": Compound({"color": String(dye)})}) for dye in ("white", "red")
    ]
    blocks = [(x, 0, 0, int(x > 0)) for x in range(4)]
    target = targets.load(nbt(tmp_path / "wool.nbt", structure((4, 1, 1), dyed, blocks)), "auto")
    red, green, blue = target.palette[1]
    assert target.names == ("empty", "wool") and red > 2 * max(green, blue)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_schematic_of_sponge_is_read(tmp_path: Path, version: int) -> None:
    # 200 entries: numbers of two bytes among those of one.
    palette = ["minecraft:air", *(f"mod:thing_{n}" for n in range(198)), "minecraft:oak_log[axis=y]"]
    states = np.random.default_rng(version).choice([0, 1, 127, 128, 199], (3, 4, 5))
    states[0, 0, 0] = states[2, 3, 4] = 199
    path = nbt(tmp_path / "a.schem", schematic(version, states, palette), name="Schematic")
    read = classes(targets.load(path, (3, 4, 5)))
    names = [name.partition("[")[0].removeprefix("minecraft:") for name in palette]
    assert read == {(x, 3 - z, y): names[states[y, z, x]] for y, z, x in np.argwhere(states).tolist()}


def test_regions_of_litematica_stand_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    palette = [
        "minecraft:air",
        *(f"minecraft:{dye}_wool" for dye in ("red", "blue", "lime", "pink")),
    ]  # three bits: over borders
    house, tree = rng.integers(0, 5, (4, 5, 3)), rng.integers(0, 2, (3, 2, 2))
    tree[0, 0, 0] = tree[2, 1, 1] = 1
    regions = {
        "house": region((0, 0, 0), (3, 4, 5), house, palette),
        # From (-1, 2, 0) two towards the west and two towards the north, three up.
        "tree": region((-1, 2, 0), (-2, 3, -2), tree, ["minecraft:air", "minecraft:oak_log"]),
    }
    path = nbt(tmp_path / "two.litematic", {"Version": Int(6), "Regions": Compound(regions)})
    names = [name.removeprefix("minecraft:") for name in palette]
    whole = {(x, y, z): names[house[y, z, x]] for y, z, x in np.argwhere(house).tolist()}
    whole |= {(x - 2, y + 2, z - 1): "oak_log" for y, z, x in np.argwhere(tree).tolist()}
    target = targets.load(path, (5, 6, 5))
    assert classes(target) == {(x + 2, 4 - z, y): name for (x, y, z), name in whole.items()}
    assert "2 regions together (house, tree)" in " ".join(target.notes)
    alone = targets.load(path, (3, 2, 2), region="tree")
    assert set(classes(alone).values()) == {"oak_log"} and len(cells(alone)) == int(tree.sum())
    one_line(lambda: targets.load(path, "auto", region="hous"), "region", "'house'")
    one_line(
        lambda: targets.load(nbt(tmp_path / "a.nbt", structure((1, 1, 1), ["stone"], [])), "auto", region="a"),
        "region",
    )


BAD_TREES = {
    "nothing.nbt": {"hello": Int(1)},
    "place.nbt": structure((2, 2, 2), ["minecraft:stone"], [(2, 0, 0, 0)]),
    "below.nbt": structure((2, 2, 2), ["minecraft:stone"], [(0, -1, 0, 0)]),
    "state.nbt": structure((2, 2, 2), ["minecraft:stone"], [(0, 0, 0, 1)]),
    "air.nbt": structure((2, 2, 2), ["minecraft:air"], [(0, 0, 0, 0)]),
    "none.nbt": structure((2, 2, 2), ["minecraft:stone"], []),
    "huge.nbt": structure((30000, 30000, 30000), ["minecraft:stone"], [(0, 0, 0, 0)]),
    "minus.nbt": structure((-2, 2, 2), ["minecraft:stone"], [(0, 0, 0, 0)]),
    "pos.nbt": {"size": List[Int]([1, 1, 1]), "palette": entries(["a"]), "blocks": List[Compound]([Compound({})])},
    "version.schem": {**schematic(2, np.zeros((1, 1, 1), int), ["minecraft:stone"]), "Version": Int(9)},
    "few.schem": {**schematic(2, np.zeros((2, 2, 2), int), ["minecraft:stone"]), "Width": Short(3)},
    "wide.schem": {**schematic(2, np.zeros((2, 2, 2), int), ["a"]), **dict.fromkeys(("Width", "Height"), Short(-1))},
    "unknown.schem": schematic(2, np.full((1, 1, 1), 7), ["minecraft:stone"]),
    "endless.schem": {**schematic(2, np.zeros((1, 1, 1), int), ["a"]), "BlockData": ByteArray([-1] * 9 + [1])},
    "unended.schem": {**schematic(2, np.zeros((1, 1, 1), int), ["a"]), "BlockData": ByteArray([0, -1])},
    "old.schematic": {"Materials": String("Alpha"), "Blocks": ByteArray([1]), **dict.fromkeys(("Width", "Height"), Short(1))},
    "short.litematic": {"Regions": Compound({"a": region((0, 0, 0), (9, 9, 9), np.ones((1, 1, 1), int), ["air", "stone"])})},
    "empty.litematic": {"Regions": Compound({})},
}


@pytest.mark.parametrize("name", BAD_TREES)
def test_what_is_no_build_is_one_line(tmp_path: Path, name: str) -> None:
    one_line(lambda: targets.load(nbt(tmp_path / name, BAD_TREES[name]), "auto"), name)


def test_bombs_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = b"\0" * 64
    bombs = {
        "deep.nbt": b"\x0a\0\0" + b"\x0a\0\1a" * 100_000,
        "lists.nbt": b"\x0a\0\0\x09\0\1a" + b"\x09\0\0\0\1" * 100_000,
        "longs.nbt": b"\x0a\0\0\x0c\0\1a\x7f\xff\xff\xff" + end,
        "negative.nbt": b"\x0a\0\0\x0c\0\1a\xff\xff\xff\xff" + end,
        "nothings.nbt": b"\x0a\0\0\x09\0\1a\0\x7f\xff\xff\xff" + end,
        "cut.nbt": b"\x0a\0\0\x03\0\1a\0\0",
        "odd.nbt": b"\x78\x01hello",
        "text.nbt": b"hello",
    }
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
        one_line(lambda name=name: targets.load(tmp_path / name, "auto"), name)
    path = nbt(tmp_path / "many.nbt", {"a": ByteArray(np.zeros(5000, np.int8))})
    monkeypatch.setattr(nbt_files, "MAX_UNPACKED", 4096)
    one_line(lambda: targets.load(path, "auto"), "4,096")
    monkeypatch.setattr(nbt_files, "MAX_VALUES", 100)
    one_line(lambda: targets.load(nbt(path, {"a": List[Int](range(200))}), "auto"), "at most 100", ".schem")


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3), elements=st.integers(0, 3)), st.sampled_from([".nbt", ".schem"]))
def test_any_body_of_blocks_comes_back_from_minecraft(
    tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray, suffix: str
) -> None:
    labels[0, 0, 0] = 1
    body = np.repeat((labels > 0)[..., None], 4, axis=-1).astype(np.float32)
    names = ("empty", "oak_planks", "stone", "glass")
    path = visualize.save(body, tmp_path_factory.mktemp("games") / f"body{suffix}", labels=labels, names=names)
    read = targets.load(path, labels.shape)
    assert classes(read) == {(x, y, z): names[labels[z, y, x]] for z, y, x in np.argwhere(labels).tolist()}


@pytest.mark.parametrize("suffix", [".nbt", ".schem", ".litematic"])
def test_any_broken_byte_is_a_body_or_one_line(tmp_path: Path, suffix: str) -> None:
    states = np.arange(8).reshape(2, 2, 2) % 3
    palette = ["minecraft:air", "minecraft:stone", "minecraft:oak_log[axis=y]"]
    tree = {
        ".nbt": structure((2, 2, 2), palette, [(0, 0, 0, 1), (1, 1, 1, 2)]),
        ".schem": schematic(2, states, palette),
        ".litematic": {"Regions": Compound({"a": region((0, 0, 0), (2, 2, 2), states, palette)})},
    }[suffix]
    data = nbt(tmp_path / "whole", tree, packed=False).read_bytes()
    path, draw, refused = tmp_path / f"broken{suffix}", random.Random(suffix), 0
    for _ in range(100):
        broken = bytearray(data)
        broken[draw.randrange(len(data))] = draw.choice((0, 1, 127, 128, 255))
        path.write_bytes(broken[: draw.choice((len(data), draw.randrange(1, len(data))))])
        try:
            targets.load(path, "auto")
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20


def test_without_nbtlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nbt(tmp_path / "a.nbt", structure((1, 1, 1), ["minecraft:stone"], [(0, 0, 0, 0)]))
    monkeypatch.setitem(sys.modules, "nbtlib", None)
    one_line(lambda: targets.load(path, "auto"), "nbtlib", "pip install 'nca3d[games]'")
