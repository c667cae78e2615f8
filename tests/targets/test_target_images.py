"""Images: a flat body, upright and unmirrored, and only what is meant of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from target_laws import check_laws, one_line

from nca3d import targets

RED, BLUE, WHITE, CLEAR = (220, 30, 40, 255), (30, 60, 200, 255), (255, 255, 255, 255), (0, 0, 0, 0)


def letter(ground: tuple[int, ...] = CLEAR, scale: int = 1) -> np.ndarray:
    """An F of 7 × 5 pixels with a blue foot, on 10 × 9 ones: no mirror image and no turn of it is the same."""
    pixels = np.full((10, 9, 4), ground, np.uint8)
    pixels[1:8, 2:4] = pixels[1, 2:7] = pixels[4, 2:6] = RED
    pixels[7, 2:4] = BLUE
    return pixels.repeat(scale, 0).repeat(scale, 1)


def saved(folder: Path, pixels: np.ndarray, name: str = "f.png") -> Path:
    image = Image.fromarray(pixels)
    (image.convert("RGB") if name.endswith(("jpg", "gif")) else image).save(folder / name)
    return folder / name


@pytest.mark.parametrize(("size", "plane"), [("auto", 0), ((1, 9, 7), 0), ((9, 1, 7), 1), ((9, 7, 1), 2)])
def test_it_stands_upright_in_any_plane(tmp_path: Path, size, plane: int) -> None:
    """The picture's top is at high y, or high z where it stands; its right is at high x, or high y across x."""
    target = targets.load(saved(tmp_path, letter()), size)
    check_laws(target, (1, 9, 7) if size == "auto" else size, margin=0)
    shown = np.rint(255 * target.rgba().squeeze(plane)[::-1])
    np.testing.assert_array_equal(shown[1:-1, 1:-1], letter()[1:8, 2:7] * (letter()[1:8, 2:7, 3:] > 0))
    if size == "auto":
        assert target.notes == ("size = 1 × 9 × 7: the 1 × 7 × 5 cells of f.png and a margin of 1",)


def test_a_large_picture_is_resampled(tmp_path: Path) -> None:
    path = saved(tmp_path, letter(scale=40))
    target = targets.load(path, "auto")
    assert max(target.size) == 40 and target.size[0] == 1
    check_laws(target, target.size, margin=0)
    assert target.notes[1] == "f.png: resampled from 200 × 280 pixels"
    exact = targets.load(path, (1, 9, 7))
    small = targets.load(saved(tmp_path, letter(), "small.png"), (1, 9, 7))
    np.testing.assert_allclose(exact.values.numpy(), small.values.numpy(), atol=1e-5)
    assert targets.load(tmp_path / "small.png", (1, 30, 30), fit=True).occupied.sum() > 250
    one_line(lambda: targets.load(path, (1, 9, 7), fit=False), "(1, 280, 200)", "(1, 9, 7)")
    assert targets.load(tmp_path / "small.png", (3, 9, 9)).occupied[1].any(), "in the middle layer"


@pytest.mark.parametrize("name", ["f.png", "f.jpg", "f.gif", "f.webp"])
def test_without_transparency_the_corners_are_the_ground(tmp_path: Path, name: str) -> None:
    target = targets.load(saved(tmp_path, letter(WHITE, 8), name), (1, 9, 7))
    wanted = targets.load(saved(tmp_path, letter(), "clear.png"), (1, 9, 7))
    assert target.occupied.equal(wanted.occupied)
    assert (target.values - wanted.values).abs().max() < 0.2
    assert any("no transparency; its corners' #ff" in note for note in target.notes)


def test_a_ground_of_several_colours_is_refused_with_the_way_on(tmp_path: Path) -> None:
    pixels = letter(WHITE)
    pixels[0, 0] = (0, 200, 0, 255)
    path = saved(tmp_path, pixels)
    one_line(lambda: targets.load(path, "auto"), "ground", "#00c800", "alpha", "background='#ffffff'")
    target = targets.load(path, "auto", background="#ffffff")
    assert int(target.occupied.sum()) == int((letter()[..., 3] > 0).sum()) + 1 and len(target.notes) == 1
    one_line(lambda: targets.load(path, "auto", background="white"), "background", "'white'")
    one_line(lambda: targets.load(path, "auto", colour=1), "'colour'", "background")


def test_what_is_no_picture_of_a_body(tmp_path: Path) -> None:
    one_line(lambda: targets.load(saved(tmp_path, np.zeros((5, 5, 4), np.uint8)), "auto"), "f.png", "transparent")
    one_line(lambda: targets.load(saved(tmp_path, np.full((5, 5, 4), 255, np.uint8)), "auto"), "transparent")
    whole = saved(tmp_path, letter(scale=9)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("<html>")
    for name in ("cut.png", "text.png"):
        one_line(lambda name=name: targets.load(tmp_path / name, "auto"), name, "unreadable")
    frames = [Image.fromarray(letter(shade)).convert("P") for shade in (RED, WHITE)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    one_line(lambda: targets.load(tmp_path / "film.gif", "auto"), "film.gif", "frames", "2")
    Image.new("L", (8192, 4096)).save(tmp_path / "bomb.png")
    one_line(lambda: targets.load(tmp_path / "bomb.png", "auto"), "8192 × 4096", "16,777,216")
    Image.fromarray(np.arange(9, dtype=np.uint16).reshape(3, 3)).save(tmp_path / "deep.png")
    one_line(lambda: targets.load(tmp_path / "deep.png", "auto"), "mode", "8 bits")
