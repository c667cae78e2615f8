"""A cube's layers on paper and in films. One film picture is stored; after a change that is meant to be seen, draw it anew:

python tests/visualize/charts/test_layers.py
"""

from pathlib import Path

import numpy as np
import pytest
from films import read
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from visualize import layers, layers_film
from visualize.charts.figure import COLOURS
from visualize.fields import colour_map
from visualize.film.encode import SUFFIXES, has_ffmpeg
from visualize.film.layers_screen import Screen
from visualize.frames import as_colour

GOLDEN = Path(__file__).parents[2] / "golden" / "layers.png"
LIMIT = 0.4  # mean difference, 0..255: rounding and the font alone
SHAPE = (11, 15, 13)
LABEL = "activity (RMS)"


def wave() -> np.ndarray:
    """(5,11,15,13): a spot that runs from the front face to the back face and to the right, without any symmetry."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    spots = [np.exp(-((x - 2 - z * 0.8) ** 2 + (y - 11 + z / 3) ** 2) / 9 - (z - 2.5 * t) ** 2 / 8) for t in range(5)]
    return np.stack(spots).astype(np.float32)


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def words(figure: Figure) -> set[str]:
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)}


@pytest.mark.slow
def test_every_layer_stands_in_its_place_with_its_name() -> None:
    values = wave()[2]
    figure = layers(values, label=LABEL, title="a question")
    found = panels(figure)
    names = [axes.get_title(loc="left") for axes in found]
    assert names == ["front face · layer 0", *(f"layer {i}" for i in range(1, 10)), "back face · layer 10"]
    for axes, layer in zip(found, values, strict=True):
        image = axes.images[0]
        assert np.array_equal(image.get_array(), layer) and image.origin == "lower"
        assert image.get_clim() == (0, pytest.approx(values.max()))
    places = [axes.get_position() for axes in found]
    assert [place.y0 for place in places] == sorted((place.y0 for place in places), reverse=True)  # reading order
    assert len({round(place.y0, 6) for place in places}) == 3 and places[0].x0 < places[1].x0 < places[2].x0
    wide, tall = figure.get_size_inches()
    assert wide == pytest.approx(7.2)
    cell = {(round(place.width * wide / 13, 4), round(place.height * tall / 15, 4)) for place in places}
    assert len(cell) == 1 and len(set(next(iter(cell)))) == 1  # square, and all of one size
    assert {LABEL, "a question", "x (cells)", "y (cells)"} <= words(figure)
    assert sum(bool(axes.get_xlabel()) for axes in found) == 1


@pytest.mark.slow
def test_the_right_panel_changes_and_no_other() -> None:
    values = wave()[2]
    before = drawn(layers(values, limits=(0, 1)))
    values[6] = 1 - values[6]
    after = drawn(layers(values, limits=(0, 1)))
    box = panels(layers(values))[6].get_position()
    height, width = before.shape[:2]
    inside = np.zeros((height, width), bool)
    inside[
        round((1 - box.y1) * height) - 1 : round((1 - box.y0) * height) + 1,
        round(box.x0 * width) - 1 : round(box.x1 * width) + 1,
    ] = True
    changed = (before != after).any(axis=-1)
    assert changed[inside].mean() > 0.9 and not changed[~inside].any()


def drawn(figure: Figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def test_limits_hold_for_all_and_what_lies_beyond_is_said() -> None:
    figure = layers(wave()[2], limits=(0.1, 0.5), colours="viridis")
    for axes in panels(figure):
        assert axes.images[0].get_clim() == (0.1, 0.5) and axes.images[0].get_cmap().name == "viridis"
        assert axes.images[0].get_cmap().colorbar_extend == "both"
    assert panels(layers(wave()[2]))[0].images[0].get_cmap().colorbar_extend is False
    broken = wave()[2]
    broken[3, 4, 5] = np.nan
    image = panels(layers(broken))[3].images[0]
    assert np.allclose(image.to_rgba(image.get_array())[4, 5], (1, 0, 1, 1))


def test_kinds_have_colours_that_fade_to_paper() -> None:
    kinds, strength = np.indices((2, 3, 4))[2] % 3, np.full((2, 3, 4), 0.5)
    strength[0, 0, 0], strength[0, 0, 1], strength[1, 2, 3] = 0, 1, np.nan
    figure = layers(strength, categories=kinds, names=["what", "where", "why $x$"], label="share explained")
    page = np.asarray(panels(figure)[0].images[0].get_array())
    assert np.allclose(page[0, 0], 1)
    assert np.allclose(page[0, 1], as_colour(COLOURS[1], "here"))
    assert np.allclose(page[1, 2], 0.5 + 0.5 * as_colour(COLOURS[2], "here"))
    assert np.allclose(np.asarray(panels(figure)[1].images[0].get_array())[2, 3], (1, 0, 1))
    assert {"what", "where", "why $x$", "share explained", "0", "1"} <= words(figure)
    full = layers(categories=kinds, names=["what", "where", "why"], limits=(0, 0.5))
    assert np.allclose(np.asarray(panels(full)[0].images[0].get_array())[0, 0], as_colour(COLOURS[0], "here"))
    assert "0" not in words(full) - {text.get_text() for axes in panels(full) for text in axes.get_xticklabels()}
    twice = layers(strength, categories=kinds, names=["what", "where", "why"], limits=(0, 0.5))
    assert np.allclose(np.asarray(panels(twice)[0].images[0].get_array())[1, 2], as_colour(COLOURS[2], "here"))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 15, 15), (2, 3, 40), (5, 40, 3), (13, 9, 9)])
@pytest.mark.parametrize("columns", [None, 9])
def test_nothing_overlaps_and_nothing_leaves_the_paper(shape: tuple[int, int, int], columns: int | None) -> None:
    for figure in (
        layers(np.random.default_rng(0).random(shape), label="what these numbers are, and their unit", columns=columns),
        layers(np.ones(shape), categories=np.zeros(shape, int), names=list("abcdefgh"), label="strength", columns=columns),
    ):
        drawn(figure)
        paper = figure.bbox
        boxes = [axes.get_window_extent() for axes in figure.axes]
        boxes += [text.get_window_extent() for axes in panels(figure) for text in [axes._left_title]]
        boxes += [text.get_window_extent() for text in figure.texts]
        assert all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= paper.x1 + 1 and b.y1 <= paper.y1 + 1 for b in boxes)
        for index, box in enumerate(boxes):
            for other in boxes[index + 1 :]:
                across = min(box.x1, other.x1) - max(box.x0, other.x0)
                up = min(box.y1, other.y1) - max(box.y0, other.y0)
                assert across < 2 or up < 2, (box, other)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_film_shows_every_step(tmp_path: Path, suffix: str) -> None:
    if suffix == ".mp4" and not has_ffmpeg():
        pytest.skip("no ffmpeg here")
    path = layers_film(wave(), tmp_path / f"film{suffix}", label=LABEL, steps=range(0, 10, 2), title="a question", size=321)
    film = read(path).astype(int)
    assert film.shape[0] == 5 and film.shape[2] == 320 and film.shape[1] % 2 == 0
    assert (np.abs(np.diff(film[:, :-40], axis=0)).max(axis=-1) > 60).sum(axis=(1, 2)).min() > 300  # the wave moves
    assert (np.abs(np.diff(film[:, -40:, :80], axis=0)).max(axis=(1, 2, 3)) > 60).all()  # and the counter
    assert film[:, 0, 0].min() > 240


def test_a_film_keeps_one_scale_and_every_layer_its_place() -> None:
    values = wave()
    screen = Screen(values, label=LABEL, size=320)
    high = values.max()
    pictures = [screen.draw(tick) for tick in range(screen.count)]
    for tick, (picture, frame) in enumerate(zip(pictures, values, strict=True)):
        for layer, (top, left) in enumerate(screen._places):
            y, x = np.unravel_index(frame[layer].argmax(), frame[layer].shape)
            cell = screen._cell
            seen = picture[top + (14 - y) * cell + cell // 2, left + x * cell + cell // 2]  # y is up
            wanted = np.asarray(colour_map()(frame[layer, y, x] / high))[:3] * 255
            assert np.abs(seen - wanted).max() < 8, (tick, layer)
    broken = values.copy()
    broken[1, 0, 14, 0] = np.inf
    top, left = screen._places[0]
    assert Screen(broken, label=LABEL, size=320).draw(1)[top, left].tolist() == [255, 0, 255]


def test_errors_are_one_line_and_write_nothing(tmp_path: Path) -> None:
    good = wave()[0]
    for arguments, said in (
        ({"values": None}, "layers: values"),
        ({"values": good[0]}, "layers: values: found shape (15, 13)"),
        ({"values": [["a"]]}, "layers: values: found dtype"),
        ({"values": good, "limits": (1, 1)}, "layers: limits"),
        ({"values": good, "limits": (0, np.nan)}, "layers: limits"),
        ({"values": good, "limits": 3}, "layers: limits"),
        ({"values": good, "colours": "mud"}, "layers: colours: found 'mud'"),
        ({"values": good, "columns": 0}, "layers: columns"),
        ({"values": good, "names": ["a"]}, "layers: names"),
        ({"values": good, "categories": good > 0.5}, "layers: names"),
        ({"values": good, "categories": good > 0.5, "names": ["a", "a"]}, "layers: names"),
        ({"values": good, "categories": good > 0.5, "names": ["a"]}, "layers: categories: found 1, allowed 0..0"),
        ({"values": good, "categories": good * 0 + 0.5, "names": ["a", "b"]}, "layers: categories: found 0.5"),
        ({"values": good[:2], "categories": good > 2, "names": ["a"]}, "layers: values: found shape (2, 15, 13)"),
    ):
        with pytest.raises(ValueError, match=r"found .*, allowed") as error:
            layers(**arguments)
        assert said in str(error.value) and "\n" not in str(error.value)
    for change, said in (
        ({"values": good}, "layers_film: values: found shape (11, 15, 13)"),
        ({"steps": [1]}, "layers_film: steps"),
        ({"limits": (2, 1)}, "layers_film: limits"),
        ({"colours": 3}, "layers_film: colours"),
        ({"fps": 0}, "layers_film: fps"),
        ({"size": 1e9}, "layers_film: size"),
        ({"path": tmp_path / "film.avi"}, "layers_film: path"),
    ):
        with pytest.raises(ValueError, match=r"found .*, allowed") as error:
            layers_film(**{"values": wave(), "path": tmp_path / "film.gif", "label": LABEL, **change})
        assert said in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def stored(values: np.ndarray) -> np.ndarray:
    return Screen(values, label=LABEL, steps=range(0, 10, 2), title="a question", size=320, limits=(0, 0.9)).draw(2)


def test_the_picture_is_the_stored_one_and_the_limit_rejects_others() -> None:
    with Image.open(GOLDEN) as image:
        golden = np.asarray(image.convert("RGB")).astype(int)

    def distance(values: np.ndarray) -> float:
        return float(np.abs(stored(values) - golden).mean())

    assert distance(wave()) < LIMIT
    for axis in (1, 2, 3):
        assert distance(np.flip(wave(), axis)) > 3 * LIMIT, axis
    for wrong in (wave()[::-1] * 0.5, np.roll(wave(), 1, axis=0), np.roll(wave(), 1, axis=1), wave() * 0):
        assert distance(wrong) > 3 * LIMIT


if __name__ == "__main__":
    Image.fromarray(stored(wave())).save(GOLDEN, optimize=True)
    print(f"drew {GOLDEN}")
