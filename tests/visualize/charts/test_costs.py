"""Cost panels: logarithmic, labelled, one look for a name everywhere."""

import io

import numpy as np
import pytest
from PIL import Image

import visualize
from visualize import Panel

LINES = {"textbook": ([1, 10, 100], [5, 50, 500]), "event": ([1, 10, 100], [2, 2.1, 2.2])}


@pytest.mark.slow
def test_panels_are_labelled_and_share_one_look():
    panels = [
        [
            Panel("time", "cells", "s", LINES, {1: "one", 100: "many"}),
            Panel("time", "volume", "s", {"event": ([1, 2], [3, 4])}),
        ],
        [Panel("memory", "cells", "MB", LINES), Panel("memory", "volume", "MB", {})],
    ]
    figure = visualize.costs(panels, title="on a machine", baseline="textbook")
    axes = figure.axes
    assert [a.get_xlabel() for a in axes] == ["cells", "volume"] * 2
    assert [a.get_ylabel() for a in axes] == ["s", "s", "MB", "MB"]
    assert all(a.get_xscale() == a.get_yscale() == "log" for a in axes)
    assert [t.get_text() for t in axes[0].get_xticklabels()] == ["one", "many"]
    colours = {line.get_color() for a in axes for line in a.lines if line.get_label() == "event"}
    assert len(colours) == 1
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["textbook", "event"]
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert np.asarray(Image.open(stream)).std() > 5


@pytest.mark.parametrize("panels", [[], [[]], [[Panel("a", "x", "y", {})], []]])
def test_rows_must_be_equally_long(panels):
    with pytest.raises(ValueError, match=r"costs: panels: found rows of .*, allowed"):
        visualize.costs(panels)
