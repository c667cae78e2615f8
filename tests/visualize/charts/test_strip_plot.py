"""Every value as a dot, their mean and interval."""

import numpy as np
import pytest

import visualize


def drawn(axes: object, name: str) -> list[list[float]]:
    return [sorted(map(float, line.get_xdata())) for line in axes.lines if line.get_gid() == name]  # type: ignore[attr-defined]


def test_dots_mean_and_interval_are_where_the_values_are() -> None:
    rows = {"a": {"iou": [0.1, 0.3, 0.2], "loss": [5.0]}, "$b$": {"iou": [0.9], "loss": []}}
    figure = visualize.strip_plot(rows, intervals={"a": {"iou": (0.12, 0.28)}}, label="rate", title="two")
    iou, loss = figure.axes
    assert drawn(iou, "value") == [[0.1, 0.2, 0.3], [0.9]] and drawn(iou, "mean") == [[pytest.approx(0.2)], [0.9]]
    assert drawn(iou, "interval")[0] == [0.12, 0.28] and np.isnan(drawn(iou, "interval")[1]).all()
    assert drawn(loss, "value") == [[5.0]] and "not measured" in [text.get_text() for text in loss.texts]
    assert [tick.get_text() for tick in iou.get_yticklabels()] == ["a", "$b$"]
    low, high = iou.get_xlim()
    assert low < 0.1 and high > 0.9
    figure.canvas.draw()


def test_without_rows_it_says_that_nothing_was_measured() -> None:
    (axes,) = visualize.strip_plot(None).axes
    assert "not measured" in " ".join(text.get_text() for text in axes.texts).lower()


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="strip_plot: a: iou"):
        visualize.strip_plot({"a": {"iou": ["much"]}})  # type: ignore[list-item]
    with pytest.raises(ValueError, match="interval"):
        visualize.strip_plot({"a": {"iou": [1.0]}}, intervals={"a": {"iou": (2.0, 1.0)}})
