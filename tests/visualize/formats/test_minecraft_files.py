"""Structures and schematics of Minecraft, read back by nbtlib: blocks, places, names, and what a file can't hold is said."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visualize.errors import LossyWarning
from visualize.formats import save
from visualize.formats.blocks import block_colour, is_block, modern_name, nearest_blocks

nbtlib = pytest.importorskip("nbtlib")


def saved(*args: Any, **options: Any) -> tuple[Path, list[str]]:
    """What `save` gives back, and the lines that it says."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        path = save(*args, **options)
    assert all(one.category is LossyWarning and one.filename == __file__ and "\n" not in str(one.message) for one in heard)
    return path, [str(one.message) for one in heard]


def blocks_of(path: Path) -> dict[tuple[int, int, int], str]:
    """The names of the blocks at x, y, z of the file, without air."""
    tree = nbtlib.load(path)
    assert tree["DataVersion"] == 3700
    if path.suffix == ".nbt":
        return {tuple(map(int, b["pos"])): str(tree["palette"][b["state"]]["Name"]) for b in tree["blocks"]}
    assert tree.root_name == "Schematic" and tree["Version"] == 2 and tree["PaletteMax"] == len(tree["Palette"])
    names = {int(number): str(name) for name, number in tree["Palette"].items()}
    data = iter(np.asarray(tree["BlockData"]).view(np.uint8).tolist())
    numbers = [number & 127 | next(data) << 7 if number > 127 else number for number in data]
    shape = [int(tree[side]) for side in ("Height", "Length", "Width")]
    states = np.array(numbers).reshape(shape)
    return {(x, y, z): names[states[y, z, x]] for y, z, x in np.argwhere(states).tolist()}


@pytest.fixture
def stair() -> np.ndarray:
    """Labels (2,3,4): 1 at the low corner and beside it along x, 2 north of it, 3 above it, 4 in the far corner."""
    labels = np.zeros((2, 3, 4), int)
    labels[0, 0, :2], labels[0, 1, 0], labels[1, 0, 0], labels[1, 2, 3] = 1, 2, 3, 4
    return labels


def body(labels: np.ndarray, colour: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    return (labels > 0)[..., None] * np.array([*colour, 1.0])


@pytest.mark.parametrize("suffix", [".nbt", ".schem"])
def test_classes_are_the_blocks_that_they_are_named_after(stair: np.ndarray, tmp_path: Path, suffix: str) -> None:
    names = ("empty", "oak_planks", "minecraft:stone", "mod:thing", "red_wool")
    film = np.stack([body(stair) * 0, body(stair)])
    path, said = saved(film, tmp_path / f"a{suffix}", labels=np.stack([stair * 0, stair]), names=names)
    assert not said
    # North of the low corner is up in our y, and down in Minecraft's z, of which three rows make 0..2.
    assert blocks_of(path) == {
        (0, 0, 2): "minecraft:oak_planks",
        (1, 0, 2): "minecraft:oak_planks",
        (0, 0, 1): "minecraft:stone",
        (0, 1, 2): "mod:thing",
        (3, 1, 0): "minecraft:red_wool",
    }
    again = save(film, tmp_path / f"b{suffix}", labels=np.stack([stair * 0, stair]), names=names)
    assert again.read_bytes() == path.read_bytes()  # no time in it


def test_other_names_get_blocks_of_their_own_near_in_colour_and_that_is_said(stair: np.ndarray, tmp_path: Path) -> None:
    names, red = ("empty", "head", "tail", "log", "wool"), (160, 40, 30)
    path, said = saved(
        body(stair), tmp_path / "a.nbt", labels=stair, names=names, palette=[(0, 0, 0), red, red, (59, 38, 18), red]
    )
    found = blocks_of(path)
    # "log" and "wool" were names once, of any wood and dye; two classes of one colour stay two.
    assert found[0, 1, 2] == "minecraft:spruce_log" and found[3, 1, 0] == "minecraft:red_wool"
    assert len(set(found.values())) == 4
    assert any("no blocks' names" in line and "head as " in line and "tail as " in line for line in said)
    assert any("before Minecraft 1.13" in line and "log as spruce_log" in line for line in said) and len(said) == 2


def test_colours_become_the_nearest_blocks_and_that_is_said(stair: np.ndarray, tmp_path: Path) -> None:
    frame = body(stair, (0.95, 0.98, 0.99))
    frame[1, 0, 0, :3] = block_colour("gold_block")
    frame[0, 0, 1, 3] = 0.05  # too thin to be a cell
    path, (line,) = saved(frame, tmp_path / "a.schem")
    assert blocks_of(path) == {
        (0, 0, 2): "minecraft:snow_block",
        (0, 0, 1): "minecraft:snow_block",
        (0, 1, 2): "minecraft:gold_block",
        (3, 1, 0): "minecraft:snow_block",
    }
    assert "a.schem: 2 colours" in line and "snow_block" in line and "gold_block" in line


def test_many_kinds_take_two_bytes_each(tmp_path: Path) -> None:
    labels = np.arange(1, 301).reshape(3, 10, 10)
    path, said = saved(
        body(labels), tmp_path / "a.schem", labels=labels, names=["empty", *(f"mod:b{n}" for n in range(1, 301))]
    )
    assert not said and blocks_of(path) == {(x, z, 9 - y): f"mod:b{labels[z, y, x]}" for z, y, x in np.ndindex(3, 10, 10)}


def test_what_no_file_of_minecraft_holds_is_one_line(tmp_path: Path) -> None:
    bad = [
        (np.zeros((2, 2, 2, 4)), ".nbt", "no cell"),
        (np.zeros((2, 2, 2, 4)), ".schem", "no cell"),
        (np.ones((65, 65, 65, 4), np.float32), ".nbt", ".schem holds more"),
        (np.ones((1, 1, 1 << 15, 4), np.float32), ".schem", "at most 32,767"),
    ]
    for frame, suffix, word in bad:
        with pytest.raises(ValueError, match=r"save: frames: found .*, allowed") as error:
            save(frame, tmp_path / f"a{suffix}")
        assert word in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_block_has_the_colour_of_what_it_is_made_of() -> None:
    made = {
        "minecraft:oak_stairs[facing=east]": "oak_planks",
        "stone_brick_wall": "stone_bricks",
        "cut_copper_slab": "cut_copper",
        "purpur_stairs": "purpur_block",
        "stripped_birch_log": "birch_planks",
        "waxed_oxidized_cut_copper_stairs": "oxidized_copper",
        "stonebrick": "stone_bricks",
        "mod:blue_leaves": "oak_leaves",
    }
    assert {name: block_colour(name) for name in made} == {name: block_colour(whole) for name, whole in made.items()}
    assert modern_name("wool", "silver") == "light_gray_wool" and modern_name("planks", "dark_oak") == "dark_oak_planks"
    assert block_colour("mod:qwerty") == block_colour("mod:qwerty") != block_colour("mod:asdfgh")
    assert [is_block(name) for name in ("oak_stairs", "stonebrick", "mod:any", "head", "air", "minecraft:head")] == [
        True
    ] * 3 + [False] * 3
    assert nearest_blocks(np.array([block_colour("lime_wool")], np.float32), taken=["lime_wool"]) == ["lime_concrete"]
