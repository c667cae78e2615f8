from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualize import dose_response, grouped_dot_plot

ROWS = [
    ("all (90)", {"cube": (0.8, 0.7, 0.9), "ridge": (0.5, 0.4, 0.6)}),
    ("colour (40)", {"cube": (0.9, None, None), "ridge": (None, None, None)}),
]
PANELS = {
    "half space": {
        "at once": ([0.5, 0.05], [0.2, 0.6], [0.1, None], [0.3, None]),
        "healed": ([0.05, 0.5], [0.7, 0.6], None, None),
    },
    "slab $x$": {"at once": ([0.25], [None], None, None)},
}
LABELS = {"x_label": "share destroyed", "y_label": "share right"}


def words(figure: Figure) -> set[str]:
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)}


def test_series_stand_on_one_line_with_their_numbers() -> None:
    figure = grouped_dot_plot(ROWS, headings={0: "test", 1: "by kind"}, reference=0.05, label="share right", title="who knows")
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["test", "all (90)", "by kind", "colour (40)"]
    dots = {name: [line for line in axes.lines if line.get_label() == name] for name in ("cube", "ridge")}
    assert [float(line.get_xdata()[0]) for line in dots["cube"]] == [0.8, 0.9]
    assert [round(float(line.get_ydata()[0])) for line in dots["cube"]] == [1, 3]  # below their headings
    assert dots["cube"][0].get_ydata()[0] != dots["ridge"][0].get_ydata()[0]
    assert dots["cube"][0].get_marker() != dots["ridge"][0].get_marker()  # told apart without colour
    strokes = [stroke for stroke in axes.collections if stroke.get_gid() == "interval"]
    spans = [np.ravel([part[:, 0] for part in stroke.get_segments() if len(part)]).tolist() for stroke in strokes]
    assert [0.7, 0.9] in spans and [0.4, 0.6] in spans
    assert next(line for line in axes.lines if line.get_gid() == "reference").get_xdata()[0] == 0.05
    assert {"0.80", "0.50", "—", "chance 0.05", "who knows", "share right", "cube", "ridge"} <= words(figure)


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def test_doses_rise_and_share_their_axes() -> None:
    figure = dose_response(PANELS, references={"unhurt": 0.72, "ridge": None, "chance": 0.01}, **LABELS)
    first, second = panels(figure)
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["half space", "slab $x$"]
    lines = {line.get_label(): line for line in first.lines if line.get_gid() == "line"}
    assert lines["at once"].get_ydata().tolist() == [0.6, 0.2]  # sorted by dose
    assert np.abs(lines["at once"].get_xdata() - [0, 2]).max() < 0.3  # 25 % has its place between them
    assert (lines["healed"].get_xdata() > lines["at once"].get_xdata()).all()
    assert [line.get_ydata()[0] for line in first.lines if line.get_gid() in ("unhurt", "chance")] == [0.72, 0.01]
    assert [tick.get_text() for tick in second.get_xticklabels()] == ["5 %", "25 %", "50 %"]
    assert first.get_ylim() == second.get_ylim() == (0, 1)
    assert {"not measured", "unhurt 0.72", "chance 0.01", "share destroyed", "share right"} <= words(figure)
    assert not {word for word in words(figure) if word.startswith("ridge")}


@pytest.mark.parametrize("figure", [lambda: grouped_dot_plot([], label="x"), lambda: dose_response({}, **LABELS)])
def test_nothing_measured_is_said(figure: Any) -> None:
    drawn = figure()
    assert "not measured" in words(drawn) and drawn._repr_png_().startswith(b"\x89PNG")


def test_errors_say_what_is_allowed() -> None:
    for call, said in (
        (lambda: grouped_dot_plot([("a", {"b": ("c", None, None)})], label="x"), "grouped_dot_plot: a: b"),
        (
            lambda: grouped_dot_plot([("a", {name: (1, 0, 1) for name in "abcdefg"})], label="x"),
            "grouped_dot_plot: rows: found 7",
        ),
        (lambda: grouped_dot_plot(ROWS, label="x", limits=(1, 0)), "grouped_dot_plot: limits"),
        (
            lambda: dose_response({"a": {"b": ([1], [1, 2], None, None)}}, **LABELS),
            "dose_response: a: b: found 1 doses, 2 values",
        ),
        (lambda: dose_response({"a": {name: ([1], [1], None, None) for name in "abcde"}}, **LABELS), "dose_response: panels"),
        (lambda: dose_response(PANELS, references=dict.fromkeys("abcd", 0.5), **LABELS), "dose_response: references"),
        (lambda: dose_response(PANELS, columns=0, **LABELS), "dose_response: columns"),
    ):
        with pytest.raises(ValueError, match=r"found .*, allowed") as error:
            call()
        assert said in str(error.value) and "\n" not in str(error.value)
