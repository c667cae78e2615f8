"""Where the layers of a cube stand on paper, and the key that explains them: a colour bar, or kinds with their strength."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualize.charts.figure import INK, QUIET, colour_bar, new_figure
from visualize.charts.flat import BORDER
from visualize.frames import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

WIDTH, LARGEST_CELL, TALLEST = 7.2, 0.2, 4.0  # inches: of the Figure (a page's column), of a cell, of a panel
ACROSS = 4  # layers in a row: more of them can't be told apart on a phone
LEFT, RIGHT, GAP, HEAD, FOOT = 0.5, 0.1, 0.16, 0.27, 0.5  # inches around and between panels
NARROWEST, LOWEST, ROOMY = 0.7, 0.3, 1.55  # inches that a panel's words need, and those for long words
ROW, LINE, LETTER = 0.22, 0.15, 0.071  # inches: of a kind, of a line of small words, of one of their letters
BAR, SWATCH, AIR = 2.6, 0.45, 0.08  # inches: the longest colour bar, a kind's colours, between panels and key


def in_a_row(count: int, columns: int | None = None) -> int:
    """How many layers stand in a row: rows of equal length, as far as they go."""
    return min(columns or -(-count // -(-count // ACROSS)), count)


@dataclass(frozen=True)
class Key:
    """What explains the colours: the inches it needs, and how it is drawn.

    Args:
        height: the inches that it takes, by how wide it may be.
        narrowest: inches below which it can't be read.
        draw: puts it into the place that a page keeps for it.
    """

    height: Callable[[float], float]
    narrowest: float
    draw: "Callable[[Page, ScalarMappable | None], None]"


class Page:
    """A Figure, its empty panels in rows, and the place of the key: after the last panel, else below all of them.

    Attributes:
        figure: the Figure.
        panels: axes, in reading order.
        corner: the panel at the lower left, the one with ticks.
        key: left, upper end and width of the key's place in inches.
        narrow: whether panels have room for short words alone.
    """

    def __init__(self, shape: tuple[int, ...], columns: int | None, title: str | None, key: Key) -> None:
        count, rows, cells = shape
        across = in_a_row(count, columns)
        down = -(-count // across)
        cell = min(((WIDTH - LEFT - RIGHT + GAP) / across - GAP) / cells, LARGEST_CELL, TALLEST / rows)
        w, h = cell * cells, cell * rows
        pitch, block = max(w, NARROWEST) + GAP, max(h, LOWEST) + HEAD + GAP / 2
        wide = max(WIDTH, LEFT + across * pitch - GAP + RIGHT)
        last = LEFT + (count - across * (down - 1)) * pitch + AIR
        aside = wide - RIGHT - last >= key.narrowest and key.height(wide - RIGHT - last) <= h + FOOT / 2
        below = 0.0 if aside else key.height(wide - LEFT - RIGHT) + AIR
        tall = FOOT + below + down * block + (0.4 if title else 0.03)
        self._inches, self.narrow = (wide, tall), pitch < ROOMY
        self.figure = new_figure(wide, tall)
        self.figure.set_layout_engine("none")
        foot = FOOT + below
        self.panels = [
            self.add(LEFT + index % across * pitch, foot + (down - 1 - index // across) * block, w, h) for index in range(count)
        ]
        self.corner = self.panels[across * (down - 1)]
        self.key = (last, foot + h, wide - RIGHT - last) if aside else (LEFT, below, wide - LEFT - RIGHT)
        if title:
            self.figure.text(0.5, 1 - 0.26 / tall, title, ha="center", color=INK, fontsize=13)

    def add(self, left: float, bottom: float, width: float, height: float) -> "Axes":
        """Empty axes at a place in inches."""
        wide, tall = self._inches
        return self.figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))

    def write(self, left: float, top: float, words: str) -> None:
        """Small words whose first line has its upper end at a place in inches."""
        wide, tall = self._inches
        self.figure.text(left / wide, top / tall, words, va="top", color=INK, fontsize=9, linespacing=1.3)


def bar_key(label: str) -> Key:
    """The key of numbers: a colour bar, what it shows below it."""

    def height(width: float) -> float:
        return 0.37 + LINE * len(_lines(label, width))

    def draw(page: Page, mesh: "ScalarMappable | None") -> None:
        left, top, width = page.key
        assert mesh is not None
        bar = page.add(left, top - 0.13, min(width - 0.15, BAR), 0.13)
        colour_bar(mesh, bar, "", horizontal=True)
        page.write(left, top - 0.37, "\n".join(_lines(label, width)))

    return Key(height, 1.2, draw)


def kinds_key(colours: Mapping[str, FloatArray], ends: tuple[float, float] | None, label: str) -> Key:
    """The key of categories: their names beside their colours, from paper to full if a strength fades them.

    Args:
        colours: {name: (n,3)}, from paper to full.
        ends: the strengths of paper and of the full colour; None if all are full.
        label: what the strength is.
    """
    longest = max(len(name) for name in colours)

    def height(width: float) -> float:
        return ROW * len(colours) + (0.0 if ends is None else 0.24 + LINE * len(_lines(label, width)))

    def draw(page: Page, mesh: "ScalarMappable | None") -> None:
        left, top, width = page.key
        for place, (name, shades) in enumerate(colours.items()):
            axes = page.add(left, top - place * ROW - 0.16, SWATCH, 0.16)
            axes.imshow(shades[None] if ends else shades[None, -1:], aspect="auto", interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set(color=BORDER, linewidth=0.6)
            axes.text(1.15, 0.5, name, transform=axes.transAxes, va="center", color=INK, fontsize=10)
        if ends:
            axes.set_xticks(axes.get_xlim(), [f"{end:.2g}" for end in ends])
            axes.tick_params(colors=QUIET, labelsize=8, length=0, pad=2)
            page.write(left, top - ROW * len(colours) - 0.2, "\n".join(_lines(label, width)))

    return Key(height, 1.15 * SWATCH + 0.08 * longest, draw)


def _lines(words: str, width: float) -> list[str]:
    return textwrap.wrap(words, max(int(width / LETTER), 10))
