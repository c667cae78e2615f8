"""Figures without global state: matplotlib's object interface, one quiet look, and a PNG of themselves in notebooks."""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Okabe & Ito (2008): told apart with every kind of colour vision. Black and yellow are left out: too heavy, too pale.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, QUIET, FAINT = "#2b2b2b", "#6b6b6b", "#dddddd"


def new_figure(width: float, height: float, dpi: int = 120) -> "Figure":
    """An empty white Figure of a size in inches; it shows itself as a PNG in Jupyter, pyplot or not."""
    figure: Figure = _figure_class()(figsize=(width, height), dpi=dpi, facecolor="white", layout="constrained")
    return figure


@functools.cache
def _figure_class() -> "type[Figure]":
    from io import BytesIO

    from matplotlib.figure import Figure

    class _ShownFigure(Figure):
        def _repr_png_(self) -> bytes:
            stream = BytesIO()
            self.savefig(stream, format="png")
            return stream.getvalue()

    return _ShownFigure


def written(axes: "Axes") -> "list[Text]":
    """The words that stand on axes already."""
    from matplotlib.text import Text

    return [text for text in axes.findobj(Text) if isinstance(text, Text) and text.get_text()]


def literal(drawn: "Figure | Axes", but: "Collection[Text]" = ()) -> None:
    """Has all words of a Figure or of some axes drawn as they are: matplotlib takes what stands between $ for formulas.

    Only the numbers at ticks keep their way: on logarithmic axes they are formulas of matplotlib's own.

    Args:
        drawn: what holds the words.
        but: texts to leave alone.
    """
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    kept = set(map(id, but))
    for axis in (found for found in drawn.findobj(Axis) if isinstance(found, Axis)):
        kept.add(id(axis.get_offset_text()))
        for formatter, ticks in (
            (axis.get_major_formatter(), axis.get_major_ticks()),
            (axis.get_minor_formatter(), axis.get_minor_ticks()),
        ):
            if not isinstance(formatter, FixedFormatter | FuncFormatter):
                kept.update(id(label) for tick in ticks for label in (tick.label1, tick.label2))
    for text in drawn.findobj(Text):
        if isinstance(text, Text) and id(text) not in kept:
            text.set_parse_math(False)


def heading(figure: "Figure", signs: "Sequence[Artist]", title: str | None, columns: int, **look: object) -> None:
    """A title and, in a legend of so many columns below it, the signs of what is drawn: above all panels, to the left."""
    figure.legend(
        handles=signs,
        loc="outside upper left",
        ncols=max(columns, 1),
        frameon=False,
        labelcolor=INK,
        title=title,
        title_fontsize=12,
        alignment="left",
        **look,
    )


def quiet(axes: "Axes") -> None:
    """Takes away what isn't data: two spines, tick marks; leaves a faint horizontal reference."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(which="both", colors=QUIET, labelsize=9, length=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(10)


def colour_bar(mesh: "ScalarMappable", into: "Axes", label: str, *, horizontal: bool = False) -> None:
    """Fills axes with the quiet bar that says which colour is which number."""
    from matplotlib.ticker import MaxNLocator

    figure = into.get_figure(root=True)
    assert figure is not None, "the axes given have been removed from their Figure"
    bar = figure.colorbar(mesh, cax=into, orientation="horizontal" if horizontal else "vertical")
    bar.set_label(label, color=INK, fontsize=9)
    bar.ax.tick_params(colors=QUIET, labelsize=8, length=0)
    bar.locator = MaxNLocator(nbins=4, min_n_ticks=2)
    bar.update_ticks()
    bar.outline.set_visible(False)
