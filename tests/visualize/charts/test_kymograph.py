import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualize.charts.kymograph import kymograph

AXES = {"z": 1, "y": 2, "x": 3}


def bands(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_ylabel().endswith("(cells)")]


def page(axes: Axes) -> np.ndarray:
    """(positions, T) or (positions, T, 3), as drawn."""
    return np.ma.filled(axes.collections[0].get_array(), np.nan)


@pytest.mark.slow
def test_each_axis_counts_its_own_layers(growing: np.ndarray) -> None:
    figure = kymograph(growing, ("z", "y", "x"), show="count", steps=range(0, 12, 2))
    alive = growing[..., 3] > 0.1
    for axes, (name, axis) in zip(bands(figure), AXES.items(), strict=True):
        assert axes.get_ylabel() == f"{name} (cells)"
        others = tuple(other for other in (1, 2, 3) if other != axis)
        assert np.array_equal(page(axes), alive.sum(axis=others).T)
    assert bands(figure)[-1].get_xlabel() == "time (steps)"
    assert bands(figure)[-1].get_xlim() == (-1, 11)  # each frame's column is as wide as its step
    assert "occupied cells" in {axes.get_ylabel() for axes in figure.axes}


def test_time_runs_and_no_column_is_frozen_or_blank(growing: np.ndarray) -> None:
    colours = page(bands(kymograph(growing, "x"))[0])
    assert colours.shape == (17, 6, 3)
    assert (np.abs(np.diff(colours, axis=1)).max(axis=(0, 2)) > 0.02).all()
    assert ((colours < 0.99).any(axis=-1).sum(axis=0) > 0).all()
    assert np.allclose(colours[8, 0], 0) and np.allclose(colours[7, 0], 1)  # one black cell on white
    mirrored = page(bands(kymograph(growing[:, :, :, ::-1], "x"))[0])
    assert np.allclose(mirrored, colours[::-1]) and not np.allclose(mirrored, colours)


def test_numbers_have_a_scale_and_nan_is_seen(growing: np.ndarray) -> None:
    field = np.abs(np.diff(growing[..., 3], axis=0))
    figure = kymograph(field, "y", label="change of alpha")
    assert np.array_equal(page(bands(figure)[0]), field.max(axis=(1, 3)).T)
    assert "highest change of alpha" in {axes.get_ylabel() for axes in figure.axes}
    assert np.allclose(page(bands(kymograph(field, "z", show="mean"))[0]), field.mean(axis=(2, 3)).T)
    field[1, 3, 4, 5] = np.nan
    broken = np.isnan(page(bands(kymograph(field, "y"))[0]))
    assert broken[4, 1] and broken.sum() == 1


def test_damage_stands_where_its_frame_begins(growing: np.ndarray) -> None:
    figure = kymograph(growing, ("z", "x"), steps=[0, 2, 4, 4, 6, 8], damage_at={3: "cut"})  # 4 before and after the cut
    for axes in bands(figure):
        assert {line.get_xdata()[0] for line in axes.lines} == {4}
    assert "cut" in {text.get_text() for text in bands(figure)[0].texts}
    assert len(bands(kymograph(growing, damage_at=2))[0].lines) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 3, 4, 5, 4)),
        np.full((1, 3, 4, 5, 4), np.nan),
        np.zeros((3, 2, 2, 2)),
        np.full((2, 2, 2, 2), np.inf),
        np.ones((1, 1, 1, 1), np.uint8),
    ],
)
def test_dead_diverged_and_short_ones_are_drawn(values: np.ndarray) -> None:
    assert kymograph(values, ("x", "z"))._repr_png_().startswith(b"\x89PNG")


def test_errors_say_what_is_allowed(growing: np.ndarray) -> None:
    for change, words in (
        ({"axis": "w"}, "axis: found 'w', allowed x, y, z"),
        ({"axis": ()}, "axis"),
        ({"show": "mean"}, "show: found 'mean', allowed auto, colour, count"),
        ({"steps": [1]}, "steps"),
        ({"steps": range(6, 0, -1)}, "fall"),
        ({"damage_at": -1}, "damage_at"),
        ({"frames": growing[:0]}, "shape"),
        ({"frames": growing[0, 0]}, "shape"),
        ({"frames": [["a"]]}, "dtype"),
    ):
        with pytest.raises(ValueError, match=r"kymograph: .*found .*, allowed") as error:
            kymograph(**{"frames": growing, **change})
        assert words in str(error.value) and "\n" not in str(error.value)


def test_every_frame_of_a_repeated_step_is_seen() -> None:
    """A cut at the end, at the beginning, and two at one step: no column has width 0."""

    def edges(*steps: int) -> np.ndarray:
        figure = kymograph(np.ones((len(steps), 3, 3, 3)), steps=steps)
        return bands(figure)[0].collections[0].get_coordinates()[0, :, 0]

    for steps in ([0, 10, 20, 20], [0, 0, 10], [0, 5, 5, 5, 9], [7, 7], [3]):
        widths = np.diff(edges(*steps))
        assert len(widths) == len(steps) and (widths > 0.3).all(), steps
    assert edges(0, 10, 20, 20).tolist() == [-5, 5, 15, 20, 25]
