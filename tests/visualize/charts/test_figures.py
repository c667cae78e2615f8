import importlib.util
import os
import subprocess
import sys
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import visualize
from visualize.charts.cuts import cuts
from visualize.charts.figure import COLOURS

# They draw many figures.
pytestmark = pytest.mark.slow


def drawn(figure: Figure) -> np.ndarray:
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=60)
    return np.asarray(Image.open(stream).convert("RGB")).astype(int)


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import visualize\n"
        "heavy = {'torch', 'nca3d', 'pyvista', 'vtk', 'matplotlib', 'PIL', 'imageio_ffmpeg', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "new = {name for name in set(sys.modules) - before if name.split('.')[0] not in sys.stdlib_module_names}\n"
        "assert new <= {'visualize', 'visualize.errors', 'visualize.arguments'}, new\n"
        "assert all(callable(getattr(visualize, name)) or name == 'viewer' for name in visualize.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_figures_leave_pyplot_alone(animal: np.ndarray) -> None:
    code = (
        "import io, sys, numpy, visualize\n"
        "visualize.slices(numpy.ones((3, 3, 3, 4))).savefig(io.BytesIO()); visualize.curves([{'loss': 1.0}])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert visualize.slices(animal)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.slow
def test_settings_in_the_current_folder_run_no_code(tmp_path) -> None:
    """A matplotlibrc may name modules of its own; pyvista imports pyplot, which would load them for a figure."""
    (tmp_path / "matplotlibrc").write_text("backend: module://stranger\nfigure.hooks: stranger:hook\n")
    (tmp_path / "stranger.py").write_text("open('mark', 'w')\ndef hook(figure): pass\n")
    code = (
        "import io, sys, numpy, visualize\n"
        "if sys.argv[1:]: import pyvista\n"
        "visualize.curves([{'loss': 1.0}]).savefig(io.BytesIO())\n"
        "assert visualize.slices(numpy.ones((3, 3, 3, 4)))._repr_png_()\n"
        "import matplotlib; assert matplotlib.matplotlib_fname() == 'matplotlibrc'\n"
    )
    path = os.pathsep.join([*sys.path, str(tmp_path)])
    with_pyvista = ["pyvista"] * (importlib.util.find_spec("pyvista") is not None)
    subprocess.run([sys.executable, "-c", code, *with_pyvista], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, check=True)
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow
def test_a_film_strip_shows_every_frame_with_its_label(growing: np.ndarray) -> None:
    labels = [0, 4, 8, 12, 16, "target"]
    strip = visualize.film_strip(growing, labels, title="Growth", size=80, renderer="raymarch")
    pictures = [axes.images[0].get_array() for axes in strip.axes if axes.images]
    assert len(pictures) == len(growing)
    assert all((np.asarray(a) != np.asarray(b)).any() for a, b in pairwise(pictures))
    words = [text.get_text() for axes in strip.axes for text in axes.texts]
    assert words == ["step 0", "step 4", "step 8", "step 12", "step 16", "target"]
    two_rows = visualize.film_strip(growing, columns=4, size=80, renderer="raymarch")
    assert len({round(axes.get_position().y0, 6) for axes in two_rows.axes}) == 2
    with pytest.raises(ValueError, match=r"labels: found 1, allowed"):
        visualize.film_strip(growing, ["only one"], renderer="raymarch")


def test_flat_strips_are_rows_over_the_same_labels(growing: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["visualize.film.stills"], "Scene", None)  # flat pages need no camera
    strip = visualize.film_strip(growing, range(6), view=("top", "front", "side"), damage_at={4: "cut"}, size=80)
    pages = [np.asarray(axes.images[0].get_array()) for axes in strip.axes]
    assert [page.shape[:2] for page in pages[:3]] == [(11, 17), (13, 17), (13, 11)]
    alive = growing[..., 3] > 0.1
    for frame in range(6):
        for page, axis in zip(pages[3 * frame : 3 * frame + 3], (0, 1, 2), strict=True):
            assert np.array_equal((page < 1).any(axis=-1), alive[frame].any(axis=axis))
    for earlier, later in pairwise(pages[::3]):
        assert (earlier != later).any()  # no frozen frame
    widths = [axes.get_position().width * strip.get_figwidth() / np.ptp(axes.get_xlim()) for axes in strip.axes]
    assert np.allclose(widths, widths[0])  # one scale
    words = [text.get_text() for axes in strip.axes for text in axes.texts]
    assert words == ["step 0", "step 1", "step 2", "step 3", "step 4 · cut", "step 5"]
    assert [text.get_text() for text in strip.texts][::2] == ["top", "front", "side"]
    marks = [line for line in strip.artists if line.get_color() == COLOURS[1]]
    assert len(marks) == 1 and strip.axes[9].get_position().x1 < marks[0].get_xdata()[0] < strip.axes[12].get_position().x0
    for bad in ("back", ()):
        with pytest.raises(ValueError, match=r"view: found .*, allowed camera, front, side, top"):
            visualize.film_strip(growing, view=bad)
    with pytest.raises(ValueError, match=r"damage_at: found 6, allowed a frame index 0\.\.5"):
        visualize.film_strip(growing, view="top", damage_at=6)


@pytest.mark.parametrize("size", [16, 80, 240])
def test_no_word_of_a_strip_is_clipped_or_lies_on_another(growing: np.ndarray, size: int) -> None:
    labels = ["", "a ball\nis gone", "60 steps later and healed", "heal_iou.random_cells", "Donaudampfschifffahrt" * 2, "144"]
    strip = visualize.film_strip(growing, labels, view="top", columns=3, size=size, damage_at={1: "cut"}, title="long " * 20)
    strip.draw_without_rendering()
    texts = [*(text for axes in strip.axes for text in axes.texts), strip.texts[-1]]  # the last is the title
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    assert len(boxes) == 6 + 1
    for place, (word, box) in enumerate(boxes):
        assert box.x0 >= -1 and box.y0 >= 0 and box.x1 <= strip.bbox.x1 + 1 and box.y1 <= strip.bbox.y1, word
        assert not [other for other, beside in boxes[:place] if box.overlaps(beside)], word
    labels[1] += " · cut"
    shown = [text.get_text() for axes in strip.axes for text in axes.texts]
    assert ["".join(word.split()) for word in shown] == ["".join(word.split()) for word in labels]


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.images}


def test_slices_look_along_the_right_axes(animal: np.ndarray) -> None:
    found = panels(visualize.slices(animal))
    assert {name: (axes.get_xlabel(), axes.get_ylabel()) for name, axes in found.items()} == {
        "front": ("x (cells)", "z (cells)"),
        "side": ("y (cells)", "z (cells)"),
        "top": ("x (cells)", "y (cells)"),
    }
    pages = {name: np.asarray(axes.images[0].get_array()) for name, axes in found.items()}
    alpha = animal[..., 3] > 0
    for name, axis in {"front": 1, "side": 2, "top": 0}.items():
        assert np.array_equal((pages[name] < 1).any(axis=-1), alpha.any(axis=axis))
    assert np.allclose(pages["front"][3, 6], (0.2, 0.45, 0.65))  # the stripe is on the near flank, y < 5
    first = animal[:, np.argmax(alpha[:, :, 13].any(axis=0)), 13]
    assert np.allclose(pages["front"][8, 13], first[8, :3])
    assert np.allclose(pages["side"][9, 3], (0.1, 0.1, 0.14))  # from the front of the head the eyes are seen
    middle = panels(visualize.slices(animal, mode="middle"))["top"].images[0].get_array()
    assert np.array_equal((np.asarray(middle) < 1).any(axis=-1), alpha[13 // 2])


def test_slices_are_drawn_like_an_engineering_drawing(animal: np.ndarray) -> None:
    figure = visualize.slices(animal, title="An animal")
    drawn(figure)
    found = panels(figure)
    top, front, side = (found[name].get_position() for name in ("top", "front", "side"))
    assert np.allclose([top.x0, top.x1], [front.x0, front.x1]) and top.y0 > front.y1  # the top above, in line
    assert np.allclose([side.y0, side.y1], [front.y0, front.y1]) and side.x0 > front.x1
    scales = [axes.get_position().width * figure.get_figwidth() / np.ptp(axes.get_xlim()) for axes in found.values()]
    assert np.allclose(scales, scales[0], rtol=0.01)
    assert any("17 × 11 × 13 cells" in text.get_text() for text in figure.texts)


def test_the_maximum_is_that_along_the_line_of_sight(animal: np.ndarray) -> None:
    field = np.random.default_rng(0).normal(size=animal.shape[:3])
    figure = visualize.slices(animal, mode="maximum", values=field, label="heat")
    for name, axis in {"front": 1, "side": 2, "top": 0}.items():
        image = panels(figure)[name].images[0]
        assert np.allclose(image.get_array(), field.max(axis=axis))
        assert image.get_cmap().name == "inferno" and image.get_clim() == pytest.approx((field.min(), field.max()))
    assert "heat" in {axes.get_xlabel() for axes in figure.axes}
    field[2, 3, 4] = np.nan
    broken = panels(visualize.slices(animal, mode="maximum", values=field))["top"].images[0]
    assert np.allclose(broken.to_rgba(broken.get_array())[3, 4], (1, 0, 1, 1))  # magenta, not passed over
    assert np.allclose(
        panels(visualize.slices(animal, mode="maximum"))["top"].images[0].get_array(), animal[..., 3].max(axis=0)
    )
    for change, words in (
        ({"mode": "mean"}, "mode"),
        ({"values": field}, "mode"),
        ({"mode": "middle", "values": field[1:]}, "values"),
    ):
        with pytest.raises(ValueError, match=f"slices: {words}: found .*, allowed"):
            visualize.slices(animal, **change)


@pytest.mark.slow
@pytest.mark.parametrize(("axis", "along"), [("z", 0), ("y", 1), ("x", 2)])
def test_cuts_go_through_the_body_in_order(animal: np.ndarray, axis: str, along: int) -> None:
    filled = np.flatnonzero(np.moveaxis(animal[..., 3], along, 0).any(axis=(1, 2)))
    figure = cuts(animal, axis)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [f"{axis} = {at}" for at in range(filled[0], filled[-1] + 1)]
    for axes, at in zip(figure.axes, range(filled[0], filled[-1] + 1), strict=True):
        page = np.asarray(axes.images[0].get_array())
        assert np.array_equal((page < 1).any(axis=-1), np.take(animal[..., 3], at, axis=along) > 0)
    few = cuts(animal, axis, count=3, values=animal[..., 0], label="red")
    assert few.axes[0].get_title() == titles[0] and few.axes[3].get_ylabel() == "red"
    assert few.axes[2].get_title() == titles[-1]


def test_cuts_say_what_they_allow(animal: np.ndarray) -> None:
    bad = [
        ({"axis": "t"}, "x, y, z"),
        ({"count": 14}, "1..13"),
        ({"count": 0}, "1..13"),
        ({"columns": 0}, "columns"),
        ({"values": animal}, "values"),
        ({"rgba": animal[0]}, "rgba"),
    ]
    for change, words in bad:
        with pytest.raises(ValueError, match=r"cuts: .*found .*, allowed") as error:
            cuts(**{"rgba": animal, **change})
        assert words in str(error.value) and "\n" not in str(error.value)


DEAD, DIVERGED, ONE, THIN = np.zeros((4, 5, 6, 4)), np.full((3, 3, 3, 4), np.nan), np.ones((1, 1, 1, 4)), np.ones((1, 2, 90, 4))


@pytest.mark.slow
@pytest.mark.parametrize("body", [DEAD, DIVERGED, ONE, THIN])
def test_dead_diverged_and_thin_bodies_are_drawn(body: np.ndarray) -> None:
    flat = [visualize.slices(body), visualize.slices(body, mode="maximum"), cuts(body), cuts(body, "x", values=body[..., 0])]
    for figure in (*flat, visualize.film_strip(body[None], view=("top", "side"))):
        assert drawn(figure).min() < 160


@pytest.mark.slow
def test_curves_bear_with_what_is_missing() -> None:
    random = np.random.default_rng(0)
    records = [{"iteration": i, "loss": np.exp(-i / 50) + 0.01 * random.random()} for i in range(200)]
    records += [{"iteration": 200, "iou": 0.7}, {"iou": None}, {"iteration": 202, "loss": float("nan"), "iou": "n/a"}, {}]
    loss, iou = visualize.curves(records).axes
    assert loss.get_yscale() == "log" and loss.get_xlabel() == "iteration" and iou.get_ylabel().startswith("IoU")
    thin, thick = loss.lines
    assert thin.get_linewidth() < thick.get_linewidth() and len(thin.get_xdata()) == 200
    assert np.abs(np.diff(thick.get_ydata())).mean() < np.abs(np.diff(thin.get_ydata())).mean()
    assert thick.get_color() in COLOURS
    assert list(iou.lines[0].get_xdata()) == [200]
    for few in ([], [{}], [{"loss": -1.0}], records[:1]):
        assert drawn(visualize.curves(few)).min() < 200


def test_a_timeline_tells_the_story() -> None:
    steps = np.arange(0, 100, 2)
    iou = np.where(steps < 50, 0.95, 0.5)[:, None] + np.linspace(-0.05, 0.05, 5)
    figure = visualize.timeline(steps, iou, marks={50: "cut"}, bands={"grow": (0, 50), "heal": (50, 98)}, goal=0.9)
    words = {text.get_text().strip() for text in figure.axes[0].texts}
    assert {"cut", "grow", "heal", "0.9"} <= words
    assert np.allclose(figure.axes[0].lines[-2].get_ydata(), iou[:, 2])  # the median
    same = visualize.timeline(steps, iou[:, 0], axes=figure.axes[0], label="another", colour=2)
    assert same is figure and figure.axes[0].get_legend() is not None
    with pytest.raises(ValueError, match="timeline: iou: found"):
        visualize.timeline([0, 1], [0.5])
