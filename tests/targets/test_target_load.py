"""The door: names, files, options, orientation, and bodies of one's own."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from target_laws import check_laws, one_line

from nca3d import targets
from nca3d.errors import InputError
from nca3d.targets.fit import parse_orientation, source_size, turn

ORIENTATIONS = [
    "".join(sign + axis for sign, axis in zip(signs, axes, strict=True))
    for axes in itertools.permutations("xyz")
    for signs in itertools.product(("", "-"), repeat=3)
]


@pytest.mark.slow
@settings(max_examples=examples(48))
@given(st.sampled_from(ORIENTATIONS), st.tuples(*[st.integers(2, 5)] * 3))
def test_orientation_says_what_each_lattice_axis_is_in_the_source(text: str, size: tuple[int, int, int]) -> None:
    axes = parse_orientation(text, "test")
    before = source_size(size, axes)
    coordinate = dict(zip("zyx", np.indices(before), strict=True))
    letters = [part for part in text.replace("-", " -").replace("x", "x ").replace("y", "y ").replace("z", "z ").split()]
    for lattice_axis, letter in zip((2, 1, 0), letters, strict=True):  # the letters are lattice x, y, z
        turned = turn(coordinate[letter[-1]], axes)
        assert turned.shape == size
        along = np.arange(size[lattice_axis])
        along = along[::-1] if letter.startswith("-") else along
        shape = [1, 1, 1]
        shape[lattice_axis] = -1
        np.testing.assert_array_equal(turned, np.broadcast_to(along.reshape(shape), size))


def test_orientation_turns_bodies_of_every_kind(tmp_path: Path) -> None:
    plain = targets.load("cross", (9, 14, 12))
    turned = targets.load("cross", (14, 9, 12), orientation="+x-z+y")
    check_laws(turned, (14, 9, 12), margin=1)
    expected = np.flip(plain.values.numpy().transpose(0, 2, 1, 3), 2)  # z comes from y, y from -z
    np.testing.assert_array_equal(turned.values.numpy(), expected)
    np.save(tmp_path / "own.npy", np.arange(24).reshape(2, 3, 4))
    labels = targets.load(tmp_path / "own.npy", (4, 3, 2), orientation="zyx").values[:-1].argmax(0).numpy()
    np.testing.assert_array_equal(labels, np.arange(24).reshape(2, 3, 4).transpose(2, 1, 0))
    for bad in ("xy", "xxz", "x+-yz", "XYZ", 7, None, "xyzx"):
        one_line(lambda bad=bad: targets.load("cross", (9, 9, 9), orientation=bad), "orientation", repr(bad))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"margn": 1}, ("'margn'", "did you mean 'margin'")),
        ({"colormap": "reef"}, ("'colormap'", "margin, orientation")),
        ({"margin": -1}, ("margin", "-1", "0 or more")),
        ({"margin": 1.5}, ("margin", "1.5")),
        ({"margin": True}, ("margin", "True")),
        ({"margin": 4}, ("margin", "4", "0..3", "(8, 8, 8)")),
    ],
)
def test_options_are_checked(options: dict, words: tuple[str, ...]) -> None:
    one_line(lambda: targets.load("axolotl", (8, 8, 8), **options), "axolotl", *words)


def test_own_options_of_a_body_are_checked_and_several_errors_shown_together() -> None:
    for text in ("", "ab-c", "lowercase", 5, None):
        one_line(lambda text=text: targets.load("letter", (9, 9, 9), text=text), "text", repr(text))
    one_line(lambda: targets.load("gyroid", (9, 9, 9), periods="many"), "periods", "'many'")
    one_line(lambda: targets.load("frog", (9, 9, 9), threshold=0), "threshold", "0")
    with pytest.raises(InputError) as caught:
        targets.load("axolotl", (9, 9, 9), margin=-1, colour=1)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("size", [(8, 8), (8, 8, 0), (8, 8, 8.0), "888", 8, (True, 8, 8), (4096, 4096, 4096), None])
def test_sizes_are_checked(size: object) -> None:
    one_line(lambda: targets.load("axolotl", size), "size", repr(size), "(D, H, W)")  # type: ignore[arg-type]


def test_names_and_paths_that_lead_nowhere(tmp_path: Path) -> None:
    one_line(lambda: targets.load("axolotol"), "'axolotol'", "did you mean 'axolotl'")
    one_line(lambda: targets.load(str(tmp_path / "no.npy")), "no.npy", "nothing there")
    one_line(lambda: targets.load(tmp_path), "none an image")
    one_line(lambda: targets.load(""), "name")
    one_line(lambda: targets.load(None), "name", "None")  # type: ignore[arg-type]
    other = tmp_path / "body.xyz"
    other.write_bytes(b"BM")
    one_line(lambda: targets.load(other), "body.xyz", "'.xyz'", ".npy")
    os.mkfifo(tmp_path / "pipe.npy")
    one_line(lambda: targets.load(tmp_path / "pipe.npy"), "pipe.npy", "no regular file")


@pytest.mark.parametrize("name", ["hydrogen", "nut", "globe", "airplane"])
def test_bodies_that_are_gone_are_refused_with_the_names_there_are(name: str) -> None:
    one_line(lambda: targets.load(name, (9, 9, 9)), repr(name), "ant, axolotl", "letter, mushroom", "torus, toucan")
    assert name not in targets.catalogue()


@pytest.mark.parametrize(
    ("name", "option"), [("ant", "threshold"), ("ant", "color"), ("ant", "colormap"), ("channels", "threshold")]
)
def test_options_that_are_gone_are_refused_with_those_there_are(name: str, option: str) -> None:
    one_line(lambda: targets.load(name, (9, 9, 9), **{option: 0.5}), repr(option), "margin, orientation")


def test_one_line_registers_a_body_of_ones_own(registries: None) -> None:
    @targets.TARGETS.register("test stick")
    def stick(size, *, length=3, **options):  # type: ignore[no-untyped-def]
        """Stick."""
        labels = np.zeros(size, int)
        labels[:length, size[1] // 2, size[2] // 2] = 4
        return labels

    target = targets.load("test stick", (7, 5, 6), length=4, anything=1)
    check_laws(target, (7, 5, 6), margin=0)
    assert target.name == "test stick" and target.names == ("empty", "4") and int(target.occupied.sum()) == 4
    turned = targets.load("test stick", (5, 6, 7), orientation="zxy")
    assert turned.occupied[2, 3, :3].all() and turned.size == (5, 6, 7)
    assert targets.catalogue()["test stick"] == "Stick."
    targets.TARGETS["test stick"] = lambda size: torch.ones(size)[..., None].expand(*size, 4)
    assert targets.load("test stick", (2, 3, 4)).occupied.all(), "of torch as well as of numpy"
    targets.TARGETS["test stick"] = lambda size: np.ones((9, 9, 9), bool)
    one_line(lambda: targets.load("test stick", (7, 5, 6)), "test stick", "(9, 9, 9)", "(7, 5, 6)")
    targets.TARGETS["test stick"] = lambda size: targets.load("cross", (9, 9, 9))
    one_line(lambda: targets.load("test stick", (7, 5, 6)), "test stick", "(9, 9, 9)", "(7, 5, 6)")
