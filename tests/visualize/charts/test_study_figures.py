"""The figures of a regeneration and stability study say what was measured, what failed and what is missing."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

import visualize
from visualize.charts.measured import numbers, shown, zoomed


def drawn(figure: Figure) -> np.ndarray:
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=50)
    return np.asarray(Image.open(stream).convert("RGB")).astype(int)


def words(figure: Figure) -> set[str]:
    legends = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    return legends | {text.get_text() for axes in figure.axes for text in axes.texts}


def parts(axes: Axes, gid: str) -> list[np.ndarray]:
    """The (N,2) points of the lines that carry a name."""
    return [np.asarray(line.get_xydata()) for line in axes.lines if line.get_gid() == gid]


def test_a_heat_map_outlines_what_misses_the_goal():
    table = [[1.0, 0.949, None], [float("nan"), 0.95, 0.2]]
    figure = visualize.heat_map(table, ["sphere", "box"], ["0.1", "0.5", "0.9"], goal=0.95, label="recovered")
    axes, bar = figure.axes
    printed = {tuple(np.floor(text.get_position()).astype(int)): text for text in axes.texts}
    assert {place: text.get_text() for place, text in printed.items()} == {
        (0, 0): "1.00",
        (1, 0): "0.949",
        (2, 0): "—",
        (0, 1): "—",
        (1, 1): "0.95",
        (2, 1): "0.20",
    }
    assert {(int(patch.get_x()), int(patch.get_y())) for patch in axes.patches} == {(1, 0), (2, 1)}
    assert {place for place, text in printed.items() if text.get_fontweight() == "bold"} == {(1, 0), (2, 1)}
    assert printed[2, 1].get_color() == "white" and printed[0, 0].get_color() == "black"  # dark blue, yellow
    assert bar.get_ylabel() == "recovered" and axes.get_ylim() == (2, 0)
    assert {"below 0.95", "— not measured"} <= words(figure)
    assert not visualize.heat_map([[1.0]], ["a"], ["b"], goal=0.95).legends


def test_a_heat_map_is_readable_in_every_cell():
    figure = visualize.heat_map([np.linspace(0, 1, 11)], ["a"], [str(n) for n in range(11)])
    figure.draw_without_rendering()
    axes = figure.axes[0]

    def light(colour: str) -> float:
        channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        return float(
            np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
        )

    assert len(axes.texts) == 11
    for text, face in zip(axes.texts, axes.collections[0].get_facecolors(), strict=True):  # the colours after drawing
        dark, bright = sorted((light(to_hex(text.get_color())), light(to_hex(face))))
        assert (bright + 0.05) / (dark + 0.05) > 4.5, text.get_text()


@pytest.mark.slow
def test_recovery_draws_a_panel_a_wound_on_one_scale():
    steps = np.arange(0, 100, 10)
    healed = np.linspace(0.5, 1.0, 10)[:, None] + np.array([-0.02, 0.0, 0.01])
    failed = healed.copy()
    failed[5:, 1] = 0.3
    curves = {f"wound {n}": (steps, healed) for n in range(20)} | {"bad": (steps, failed), "none": (None, None)}
    figure = visualize.recovery(curves, horizon=40, notes={"bad": "2 of 3 recovered"}, title="Wounds")
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(panels) == ["bad", *[name for name in curves if name.startswith("wound")], "none"]  # the worst comes first
    assert np.allclose(parts(panels["wound 0"], "median")[0], np.stack([steps, healed[:, 1]], axis=1))
    band = panels["wound 0"].collections[0].get_paths()[0].vertices
    assert np.isclose(band[:, 1].min(), 0.48) and np.isclose(band[:, 1].max(), 1.01)
    assert [line[0, 0] for line in parts(panels["wound 3"], "horizon")] == [40, 80]
    assert parts(panels["wound 3"], "goal")[0][0, 1] == 0.95
    assert not parts(panels["wound 0"], "open") and np.allclose(parts(panels["bad"], "open"), [[[90, 0.3]]])
    assert {"2 of 3 recovered", "not measured", "a body ends below the goal", "0.95: has recovered"} <= words(figure)
    assert len({axes.get_ylim() for axes in figure.axes}) == 1 and figure.axes[0].get_ylim()[0] <= 0.3
    assert "quality ÷ quality before" in figure.get_supylabel() and "1.0: as good as before" in figure.get_supylabel()
    assert "steps" in figure.get_supxlabel() and figure.legends[0].get_title().get_text() == "Wounds · worst wound first"
    fewer = visualize.recovery({"a": (steps, healed)}, columns=4)
    assert len(fewer.axes) == 1 and fewer.get_figheight() < figure.get_figheight() / 2


@pytest.mark.slow
def test_panels_of_a_recovery_do_not_overlap():
    steps = np.arange(0, 100, 10)
    names = [f"wound {n}" + " of a very long name indeed" * (n % 2) for n in range(22)]
    figure = visualize.recovery({name: (steps, steps / 90) for name in names}, notes=dict.fromkeys(names, "1 of 1"), horizon=40)
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    page = figure.bbox
    for place, box in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 + 1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert not [
            other
            for other in boxes[:place]
            if min(box.x1, other.x1) - max(box.x0, other.x0) > 1 and min(box.y1, other.y1) - max(box.y0, other.y0) > 1
        ]


def test_values_that_differ_do_not_look_the_same():
    axes = visualize.compare({"a": {"m": 0.0191, "n": 1.0, "o": 0.5}, "b": {"m": 0.0184, "n": 0.99957, "o": None}}).axes
    shown = [[text.get_text() for text in panel.texts if text.get_text() != "not measured"] for panel in axes]
    assert shown == [["0.019", "0.018"], ["1.0000", "0.9996"], ["0.50", "—"]]


def test_wounds_are_sorted_by_bodies_that_stay_open_then_by_quality_over_time():
    steps = [0, 1, 2, 10]
    curves = {
        "fast": (steps, [[0.5, 0.5], [1, 1], [1, 1], [1, 1]]),
        "slow": (steps, [[0.5, 0.5], [0.6, 0.6], [0.7, 0.7], [1, 1]]),
        "one open": (steps, [[0.9, 0.9], [1, 0.9], [1, 0.9], [1, 0.9]]),
        "late": (steps, [[0.4, 0.4], [0.4, 0.4], [1, 1], [1, 1]]),  # low at more measurements, and for less time
        "both open": (steps, [[0.9, 0.9]] * 4),
        "unknown": (steps, [[None, None]] * 4),
    }
    order = ["both open", "one open", "slow", "late", "fast", "unknown"]
    assert [axes.get_title(loc="left") for axes in visualize.recovery(curves).axes] == order
    assert [axes.get_title(loc="left") for axes in visualize.recovery(curves, order="given").axes] == list(curves)
    with pytest.raises(ValueError, match="recovery: order: found 'best', allowed worst, given"):
        visualize.recovery(curves, order="best")


def test_a_body_lost_early_stays_marked():
    quality = np.array([[0.5, 0.5], [0.4, 0.8], [np.nan, 1.0]])
    axes = visualize.recovery({"a": ([0, 1, 2], quality)}).axes[0]
    assert np.allclose(parts(axes, "open"), [[[1, 0.4]]])


def test_an_envelope_shows_the_one_body_that_fails():
    steps = np.arange(100, 10_001, 100)
    worst = np.full((100, 4), 0.97) + np.array([0.0, 0.001, 0.002, 0.003])
    worst[60:, 2] = 0.4
    figure = visualize.envelope(steps, worst, worst + 0.01, goal=0.95, marks={5000: "cut"}, label="IoU")
    axes = figure.axes[0]
    assert np.allclose(parts(axes, "worst")[0][:, 1], worst[:, 2])
    assert np.allclose(parts(axes, "median")[0][:, 1], np.median(worst, axis=1))
    band = axes.collections[0].get_paths()[0].vertices
    assert np.isclose(band[:, 1].min(), 0.4) and np.isclose(band[:, 1].max(), 0.983)
    assert axes.get_ylim()[0] < 0.4 and axes.get_ylabel() == "IoU"
    assert axes.xaxis.get_major_formatter()(10_000, 0) == "10,000"
    assert parts(axes, "mark")[0][0, 0] == 5000
    assert {"cut", "worst body (no. 2)", "worst to best of 4 bodies", "goal 0.95: kept if never below"} <= words(figure)


def test_an_envelope_neither_hides_nor_exaggerates():
    steps, steady = np.arange(3), np.full((3, 2), 0.99)
    low, high = visualize.envelope(steps, steady, steady + 0.001).axes[0].get_ylim()
    assert 0.8 <= low <= 0.9 and 1.0 <= high < 1.05
    low, high = visualize.envelope(steps, steady * 0.5, steady * 0.5).axes[0].get_ylim()
    assert low < 0.45 and high > 0.53  # a level of its own, but no microscope
    assert zoomed(0.0, 1.0)[0] < 0  # a dead body's line is seen, not cut by the edge


def test_bars_stand_under_their_headings():
    values = {"bf16": 0.97, "two seeds": None, "noise": 0.6, "plain": 0.9}
    groups = {"bf16": "dynamics", "two seeds": "space", "noise": "dynamics"}
    figure = visualize.dot_plot(
        values, intervals={"noise": (0.5, 0.7), "bf16": None}, reference=0.98, label="IoU", groups=groups
    )
    axes = figure.axes[0]
    ticks = [text.get_text() for text in axes.get_yticklabels()]
    assert ticks == ["plain", "dynamics", "bf16", "noise", "space", "two seeds"]
    dots = {line.get_label(): np.asarray(line.get_xydata())[0] for line in axes.lines if line.get_marker() == "o"}
    assert np.allclose(dots["noise"], (0.6, 3)) and "two seeds" not in dots
    assert [[0.5, 3], [0.7, 3]] in [line.tolist() for line in parts(axes, "interval")]
    assert parts(axes, "reference")[0][0, 0] == 0.98 and axes.get_xlabel() == "IoU"
    at = {round(text.xy[1]): text.get_text() for text in axes.texts if hasattr(text, "xy") and text.xy[0] == 1}
    assert at == {0: "0.90", 1: "", 2: "0.97", 3: "0.60", 4: "", 5: "—"}
    assert {"not measured", "unchanged 0.98"} <= words(figure)
    colours = {line.get_label(): line.get_color() for line in axes.lines if line.get_marker() == "o"}
    assert colours["bf16"] == colours["noise"] != colours["plain"]


def test_compare_gives_a_run_one_look_everywhere():
    rows = {f"run {n}": {"IoU": 0.9 + n / 100, "steps": 100.0 * n} for n in range(8)} | {"last": {"IoU": 0.949}}
    figure = visualize.compare(rows, intervals={"run 1": {"IoU": (0.88, 0.93)}}, goals={"IoU": 0.95})
    first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["IoU", "steps"]
    looks = [
        {line.get_label(): (line.get_color(), line.get_marker()) for line in axes.lines if line.get_label() in rows}
        for axes in figure.axes
    ]
    assert len(set(looks[0].values())) == len(rows)  # also beyond the number of colours
    assert all(looks[0][run] == look for run, look in looks[1].items()) and "last" not in looks[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(rows)
    assert [[0.88, 1], [0.93, 1]] in [line.tolist() for line in parts(first, "interval")]
    assert parts(first, "goal")[0][0, 0] == 0.95 and not parts(second, "goal")
    assert "0.949" in {text.get_text() for text in first.texts}
    assert {"not measured", "—"} <= {text.get_text() for text in second.texts}


def test_a_spectrum_finds_the_rhythm():
    frequencies = np.fft.rfftfreq(240)
    steps = np.arange(240)[:, None]
    wave = 50 + np.sin(2 * np.pi * steps / 12) + np.random.default_rng(0).normal(0, 0.2, (240, 5))
    power = np.abs(np.fft.rfft(wave, axis=0)) ** 2
    figure = visualize.spectrum(frequencies, power, x_label="frequency (1/step)", mark="period {} steps")
    axes = figure.axes[0]
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "frequency (1/step)"
    assert np.isclose(parts(axes, "peak")[0][0, 0], 1 / 12) and "period 12 steps" in words(figure)
    assert np.allclose(parts(axes, "median")[0][:, 1], np.median(power, axis=1))
    blink = visualize.spectrum([0, 0.25, 0.5], [9, 1, 5], x_label="f")
    assert parts(blink.axes[0], "peak")[0].tolist() == [[0.5, 5]]
    falling = visualize.spectrum([0, 0.1, 0.2, 0.3], [9, 8, 3, 1], x_label="f")
    assert not parts(falling.axes[0], "peak")  # a trend has no period


@pytest.mark.slow
@pytest.mark.parametrize(
    "figure",
    [
        lambda: visualize.heat_map(None, [], []),
        lambda: visualize.heat_map([], ["a"], []),
        lambda: visualize.recovery(None),
        lambda: visualize.recovery({"a": ([0, 1], [None, None])}),
        lambda: visualize.recovery({"a": ([], np.empty((0, 3)))}, horizon=5),
        lambda: visualize.envelope(None, None, None),
        lambda: visualize.envelope([0, 1], [[None]] * 2, [[None]] * 2, goal=0.9),
        lambda: visualize.dot_plot(None, label="x"),
        lambda: visualize.dot_plot({"a": float("inf")}, label="x", title="t"),
        lambda: visualize.compare(None),
        lambda: visualize.compare({"a": {"m": None}}),
        lambda: visualize.spectrum(None, None, x_label="f"),
        lambda: visualize.spectrum([0, 1], [0, -1], x_label="f"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_not_measured_is_said(figure):
    made = figure()
    assert "not measured" in words(made)
    assert drawn(made).min() < 200


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_gaps_and_single_points_are_drawn():
    gaps = np.array([[1.0, np.nan], [np.nan, np.nan], [0.9, 0.8]])
    assert drawn(visualize.recovery({"a": ([0, 1, 2], gaps), "b": ([3], [0.7])})).min() < 200
    assert drawn(visualize.envelope([0, 1, 2], gaps, None, marks={1: "a", 2: "b"})).min() < 200
    assert drawn(visualize.envelope([0, 1, 2], gaps[:, 0], gaps[:, 0] + 0.01)).min() < 200
    assert drawn(visualize.spectrum([0.5], [1.0], x_label="f")).min() < 200
    assert drawn(visualize.heat_map([[-1.0, 2.0]], ["a"], ["b", "c"])).min() < 200
    assert drawn(visualize.heat_map([[np.nan]], ["a"], ["b"])).min() < 240


@pytest.mark.parametrize(
    ("figure", "found"),
    [
        (lambda: visualize.heat_map([[1, 2]], ["a"], ["b"]), r"heat_map: values: found \(1, 2\), allowed \(1, 1\)"),
        (lambda: visualize.heat_map([[1, 2], [3]], ["a", "b"], ["c", "d"]), "heat_map: values: found ragged"),
        (lambda: visualize.heat_map([[1]], ["a"], ["b"], limits=(1, 1)), r"heat_map: limits: found \(1, 1\), allowed"),
        (
            lambda: visualize.recovery({"cut": ([0, 1], [1.0])}),
            r"recovery: cut: quality: found \(1,\) for steps \(2,\), allowed",
        ),
        (lambda: visualize.recovery({}, columns=0), "recovery: columns: found 0, allowed"),
        (lambda: visualize.envelope([0, 1], [1, 1], [1]), r"envelope: worst and best: found \(2,\) and \(1,\)"),
        (lambda: visualize.dot_plot({"a": "much"}, label="x"), "dot_plot: a: found .*, allowed numbers"),
        (lambda: visualize.dot_plot({"a": [1, 2]}, label="x"), r"dot_plot: a: found shape \(2,\), allowed one number"),
        (
            lambda: visualize.dot_plot({"a": 1}, intervals={"a": (2, 1)}, label="x"),
            r"interval: found \(2, 1\), allowed \(low, high\)",
        ),
        (lambda: visualize.compare({"r": {"m": 1}}, intervals={"r": {"m": (1,)}}), "compare: r: m: interval: found"),
        (lambda: visualize.spectrum([0, 1], [1], x_label="f"), r"spectrum: power: found \(1,\) for frequencies \(2,\)"),
        (lambda: visualize.spectrum([0], [1], x_label="f", mark="period"), "spectrum: mark: found 'period', allowed"),
    ],
)
def test_bad_shapes_are_refused(figure, found):
    with pytest.raises(ValueError, match=found):
        figure()


def test_numbers_in_print():
    assert [shown(value) for value in (0.5, 12.34, 12345.6, 0.00123, 0.0, float("nan"))] == [
        "0.50",
        "12.3",
        "12,346",
        "0.00123",
        "0.00",
        "—",
    ]
    assert shown(0.9499, 0.95) == "0.9499" and shown(0.96, 0.95) == "0.96"  # never rounded over a goal that it misses
    assert np.array_equal(numbers([1, None, float("inf")], "x"), [1, np.nan, np.nan], equal_nan=True)


def test_logged_figures_have_a_panel_for_each_group():
    records = [{"iteration": i, "a": i / 10} | ({"b": -i} if i % 5 == 0 else {}) for i in range(20)]
    figure = visualize.logged(records, {"one": ["a"], "two": ["b", "nowhere"]})
    one, two = figure.axes
    assert (one.get_ylabel(), two.get_ylabel()) == ("one", "two")
    assert list(two.lines[0].get_xdata()) == [0, 5, 10, 15] and list(two.lines[0].get_ydata()) == [0, -5, -10, -15]
