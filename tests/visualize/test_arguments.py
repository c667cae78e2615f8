"""What isn't meant is one clear line; numbers of NumPy are numbers; words are drawn letter by letter."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import visualize
from visualize.film.strips import TimeStrip, name_strip
from visualize.render.lettering import load_font

SMALL = {"size": (48, 48), "renderer": "raymarch"}
FILM = {"size": 48, "renderer": "raymarch"}
PRICE = "cost $5 _{ and $6"


def refuse(call: Callable[..., Any], words: str, *args: Any, **options: Any) -> None:
    with pytest.raises(ValueError, match=r"^\w+: [\w ]+: found .*, allowed ") as error:
        call(*args, **options)
    assert words in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"box": ((0, 0, 0), (0, 0, 0))}, "box: found ((0, 0, 0), (0, 0, 0)), allowed two corners"),
        ({"box": ((0, 0, 0), (3, 3, np.inf))}, "box"),
        ({"box": [[0], [1, 2]]}, "box"),
        ({"box": "all"}, "box: found 'all'"),
        ({"legend": ["a"]}, "legend: found ['a'], allowed a mapping"),
        ({"legend": {"a": np.zeros((40, 40))}}, "legend"),
        ({"background": np.zeros((40, 40))}, "background"),
        ({"azimuth": None}, "azimuth: found None, allowed finite degrees"),
        ({"azimuth": "90"}, "azimuth: found '90'"),
        ({"elevation": 95}, "elevation: found 95, allowed -89..89 degrees"),
        ({"elevation": True}, "elevation"),
        ({"size": ("a", 48)}, "size: found 'a'"),
        ({"size": 48}, "size: found 48, allowed (width, height)"),
        ({"style": ["voxels"]}, "style"),
        ({"quality": ["fast"]}, "quality"),
    ],
)
def test_volume_refuses(animal: np.ndarray, change: dict[str, Any], words: str) -> None:
    refuse(visualize.volume, words, animal, **{**SMALL, **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fps": 0.001}, "fps: found 0.001, allowed 0.1 to 60"),
        ({"fps": 1e-6}, "fps"),
        ({"fps": 61}, "fps"),
        ({"fps": "12"}, "fps: found '12'"),
        ({"fps": [12]}, "fps"),
        ({"orbit": "90"}, "orbit: found '90', allowed finite degrees"),
        ({"orbit": None}, "orbit"),
        ({"azimuth": None}, "azimuth"),
        ({"elevation": "high"}, "elevation"),
        ({"size": "48"}, "size"),
        ({"size": np.nan}, "size"),
        ({"steps": np.full((300, 300), np.nan)}, "steps"),
        ({"damage_at": np.inf}, "damage_at"),
    ],
)
def test_films_refuse(growing: np.ndarray, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    refuse(visualize.animate, words, growing, tmp_path / "film.gif", **{**FILM, **change})
    refuse(visualize.side_by_side, words, {"a": growing}, tmp_path / "film.gif", **{**FILM, **change})
    assert not list(tmp_path.iterdir())


def test_figures_refuse(growing: np.ndarray) -> None:
    strip = visualize.film_strip
    for labels, words in (
        ([None] * 6, "labels: found None"),
        ([0.5] * 6, "labels: found 0.5"),
        ("abcdef", "labels"),
        (6, "labels: found 6"),
    ):
        refuse(strip, words, growing, labels=labels, view="top")
    for change in ({"view": 3}, {"columns": "two"}, {"columns": 1.5}, {"size": "big"}):
        refuse(strip, next(iter(change)), growing, **{"view": "top", **change})
    for change in ({"axis": ["x"]}, {"count": "a"}, {"columns": "a"}):
        refuse(visualize.cuts, next(iter(change)), growing[-1], **change)
    refuse(visualize.slices, "mode", growing[-1], mode=["middle"])
    refuse(visualize.kymograph, "axis", growing, axis=3)
    refuse(visualize.kymograph, "different shapes", [[1], [1, 2]])
    refuse(visualize.recovery, "columns", {}, columns="a")


def test_saving_refuses(growing: np.ndarray, tmp_path: Path) -> None:
    labels = np.ones(growing.shape[:4], int)
    for change, words in (
        ({"steps": [[1], [2, 3], [4], [5], [6], [7]]}, "steps: found rows"),
        ({"labels": [[1], [1, 2]]}, "labels: found rows"),
        ({"labels": labels, "palette": [[1], [1, 2]]}, "palette: found rows"),
        ({"labels": labels, "names": 3}, "names: found 3"),
        ({"cell_size": "2"}, "cell_size: found '2'"),
        ({"cell_size": np.inf}, "cell_size"),
    ):
        refuse(visualize.save, words, growing, tmp_path / "a.npz", **change)
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_numbers(growing: np.ndarray, tmp_path: Path) -> None:
    options = {"fps": np.float32(5), "size": np.int64(48), "orbit": np.float64(40), "azimuth": np.array(3)}
    visualize.animate(growing, tmp_path / "film.gif", renderer="raymarch", steps=np.arange(6), **options)
    visualize.animate(growing[:2], tmp_path / "slow.gif", fps=0.1, **FILM)
    visualize.animate(growing[:2], tmp_path / "slow.webp", fps=0.1, **FILM)
    box = np.array([[0, 0, 0], [17, 11, 13]])
    size = np.array([48, 48])
    picture = visualize.volume(growing[-1], size=size, elevation=np.int8(89), box=box, renderer="raymarch")
    assert np.array_equal(picture, visualize.volume(growing[-1], elevation=89, box=((0, 0, 0), (17, 11, 13)), **SMALL))
    strip = visualize.film_strip(growing, np.arange(6), view="top", size=np.int32(80), columns=np.int64(3))
    assert [axes.texts[0].get_text() for axes in strip.axes] == [f"step {step}" for step in range(6)]
    path = visualize.save(growing, tmp_path / "a.npz", cell_size=np.float32(2), steps=np.arange(6.0))
    assert np.load(path)["cell_size"] == 2
    named = visualize.save(growing, tmp_path / "b.npz", labels=growing[..., 3] > 0, names=np.array(["empty", "body"]))
    assert np.load(named)["names"].tolist() == ["empty", "body"]


FIGURES: dict[str, Callable[[np.ndarray], Figure]] = {
    "cuts": lambda film: visualize.cuts(film[-1], count=2, title=PRICE, values=film[-1, ..., 0], label=PRICE),
    "slices": lambda film: visualize.slices(film[-1], mode="maximum", title=PRICE, label=PRICE),
    "film_strip": lambda film: visualize.film_strip(film, [PRICE] * 6, view="top", title=PRICE, damage_at={2: PRICE}),
    "kymograph": lambda film: visualize.kymograph(film[..., 0], label=PRICE, title=PRICE, damage_at={2: PRICE}),
    "curves": lambda _: visualize.curves([{"loss " + PRICE: 1.0, "loss": 10.0}, {"loss": 0.1}], title=PRICE),
    "logged": lambda _: visualize.logged([{PRICE: 1.0, "a": 2.0}], {PRICE: [PRICE, "a"]}, x=PRICE),
    "timeline": lambda _: visualize.timeline(
        [0, 1], [0.5, 0.6], title=PRICE, marks={1: PRICE}, bands={PRICE: (0, 1)}, label=PRICE
    ),
    "heat_map": lambda _: visualize.heat_map([[0.1]], [PRICE], [PRICE], title=PRICE, label=PRICE, x_label=PRICE, y_label=PRICE),
    "recovery": lambda _: visualize.recovery({PRICE: ([0, 1], [0.1, 0.2])}, title=PRICE, notes={PRICE: PRICE}),
    "envelope": lambda _: visualize.envelope([0, 1], [0.1, 0.2], [0.3, 0.4], title=PRICE, label=PRICE, marks={1: PRICE}),
    "dot_plot": lambda _: visualize.dot_plot({PRICE: 1.0}, label=PRICE, title=PRICE, groups={PRICE: PRICE}),
    "compare": lambda _: visualize.compare({PRICE: {PRICE: 1.0}}, title=PRICE, goals={PRICE: 0.5}),
    "batch_curves": lambda _: visualize.batch_curves(
        {PRICE: ([1, 2], [1, 2], [3, 4])}, chosen=(PRICE, 1), limit=9, failed={4: PRICE}, unit=PRICE, title=PRICE
    ),
    "strip_plot": lambda _: visualize.strip_plot({PRICE: {PRICE: [0.1, 0.2]}}, label=PRICE, title=PRICE),
    "costs": lambda _: visualize.costs(
        [[visualize.Panel(PRICE, PRICE, PRICE, {PRICE: ([1, 2], [1, 20])}, {1: PRICE})]], title=PRICE
    ),
    "layers": lambda film: visualize.layers(
        film[-1, ..., 0], categories=film[-1, ..., 3] > 0, names=[PRICE, "b"], label=PRICE, title=PRICE
    ),
    "grouped_dot_plot": lambda _: visualize.grouped_dot_plot(
        [(PRICE, {PRICE: (0.5, 0.4, 0.6)})], headings={0: PRICE}, label=PRICE, title=PRICE, reference=0.1, reference_name=PRICE
    ),
    "dose_response": lambda _: visualize.dose_response(
        {PRICE: {PRICE: ([0.1], [0.5], None, None)}}, references={PRICE: 0.5}, x_label=PRICE, y_label=PRICE, title=PRICE
    ),
    "spectrum": lambda _: visualize.spectrum(
        [0, 0.1, 0.2, 0.3], [1, 2, 5, 1], x_label=PRICE, y_label=PRICE, mark=PRICE + " {}", title=PRICE
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_dollars_are_dollars(growing: np.ndarray, name: str) -> None:
    figure = FIGURES[name](growing)
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=40)
    priced = [text for text in figure.findobj(lambda artist: hasattr(artist, "get_parse_math")) if "$5" in text.get_text()]
    assert priced and not any(text.get_parse_math() for text in priced)


def test_every_figure_is_asked_about_dollars() -> None:
    others = {"Panel", "animate", "layers_film", "save", "side_by_side", "viewer", "volume"}
    assert set(FIGURES) == set(visualize.__all__) - others


def test_powers_and_words_of_others_stay_formulas() -> None:
    loss = visualize.curves([{"loss": 10.0**-power, "iteration": power} for power in range(6)]).axes[0]
    loss.get_figure().canvas.draw()
    assert any("10^" in label.get_text() and label.get_parse_math() for label in loss.get_yticklabels())
    axes = Figure().subplots()
    axes.set_title(r"$\alpha$")
    visualize.timeline([0, 1], [0.5, 0.6], title=PRICE, axes=axes)
    assert axes.title.get_parse_math() and axes.get_title(loc="left") == PRICE and not axes._left_title.get_parse_math()


@pytest.mark.parametrize("letter", "éüßµ×–—→αÅñ½·")
def test_letters_are_not_boxes(letter: str) -> None:
    box = load_font(20.0).getmask("\ue123")  # no font has it
    mask = load_font(20.0).getmask(letter)
    assert mask.size != box.size or bytes(mask) != bytes(box)
    assert load_font(20.0) is load_font(20.0)


def test_long_words_of_several_lines_fit_their_strips() -> None:
    paper = np.ones(3, np.float32)
    strip = TimeStrip((300, 34), paper, [0, 1], {0: "a cut\nof " + "long words " * 4}, 2, 12).draw(0)
    orange = (strip[..., 0].astype(int) - strip[..., 2] > 60).any(axis=0)[20:]
    assert orange.sum() > 60 and not orange[:30].any()  # the counter's room
    assert (name_strip((300, 60), paper, "two\nlines").min(axis=(0, 2)) < 120).sum() > 20
    endless = "words that fit no strip " * 9
    for strip in (name_strip((200, 40), paper, endless), TimeStrip((200, 40), paper, None, {0: endless}, 1, 10).draw(0)):
        written = (strip[:30].min(axis=(0, 2)) < 200).nonzero()[0]  # the time line lies below
        assert written[0] > 3 and written[-1] < 196
