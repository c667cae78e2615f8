from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import visualize
from visualize.figure import COLOURS


def drawn(figure: Figure) -> np.ndarray:
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=60)
    return np.asarray(Image.open(stream).convert("RGB")).astype(int)


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, time, numpy; start = time.perf_counter(); import visualize; took = time.perf_counter() - start\n"
        "heavy = {'torch', 'nca3d', 'pyvista', 'vtk', 'matplotlib', 'PIL', 'imageio_ffmpeg', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert took < 0.2, took\n"
        "assert all(callable(getattr(visualize, name)) for name in visualize.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figures_leave_pyplot_alone(animal: np.ndarray) -> None:
    code = (
        "import io, sys, numpy, visualize\n"
        "visualize.slices(numpy.ones((3, 3, 3, 4))).savefig(io.BytesIO()); visualize.curves([{'loss': 1.0}])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert visualize.slices(animal)._repr_png_().startswith(b"\x89PNG")


def test_a_film_strip_shows_every_frame_with_its_label(growing: np.ndarray) -> None:
    labels = [0, 4, 8, 12, 16, "target"]
    strip = visualize.film_strip(growing, labels, title="Growth", size=80, renderer="raymarch")
    pictures = [axes.images[0].get_array() for axes in strip.axes if axes.images]
    assert len(pictures) == len(growing)
    assert all((np.asarray(a) != np.asarray(b)).any() for a, b in pairwise(pictures))
    words = [text.get_text() for axes in strip.axes for text in axes.texts]
    assert words == ["step 0", "step 4", "step 8", "step 12", "step 16", "target"]
    assert len(visualize.film_strip(growing, columns=4, size=80, renderer="raymarch").axes) == 8
    with pytest.raises(ValueError, match=r"labels: found 1, allowed"):
        visualize.film_strip(growing, ["only one"], renderer="raymarch")


def test_slices_look_along_the_right_axes(animal: np.ndarray) -> None:
    panels = {axes.get_title(): axes for axes in visualize.slices(animal).axes}
    assert {name: (axes.get_xlabel(), axes.get_ylabel()) for name, axes in panels.items()} == {
        "front": ("x", "z"), "side": ("y", "z"), "top": ("x", "y"),
    }  # fmt: skip
    pages = {name: np.asarray(axes.images[0].get_array()) for name, axes in panels.items()}
    alpha = animal[..., 3] > 0
    for name, axis in {"front": 1, "side": 2, "top": 0}.items():
        assert np.array_equal((pages[name] < 1).any(axis=-1), alpha.any(axis=axis))
    assert np.allclose(pages["front"][3, 6], (0.2, 0.45, 0.65))  # the stripe is on the near flank, y < 5
    first = animal[:, np.argmax(alpha[:, :, 13].any(axis=0)), 13]
    assert np.allclose(pages["front"][8, 13], first[8, :3])
    assert np.allclose(pages["side"][9, 3], (0.1, 0.1, 0.14))  # from the front of the head the eyes are seen
    middle = visualize.slices(animal, mode="middle").axes[2].images[0].get_array()
    assert np.array_equal((np.asarray(middle) < 1).any(axis=-1), alpha[13 // 2])


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
