"""What is seen of a cube of cells at each tick of a film: its layers, what they are called, a colour bar, the step."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from visualize.charts.layers import as_limits, colour_map, layer_names
from visualize.charts.layers_page import in_a_row
from visualize.clock import as_steps, check_fps
from visualize.fields import COLOUR_MAP, as_field
from visualize.film.animate import check_size
from visualize.film.strips import TimeStrip, inks, name_strip, sheet
from visualize.frames import Picture, as_picture
from visualize.render.legend import Room
from visualize.render.lettering import load_font

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WHERE = "layers_film"
PAPER = np.ones(3, np.float32)
SHADES = 256
FONT, GAP = 0.027, 0.028  # shares of the width: height of letters, from one layer to the next
ARROW, QUIET = (150, 150, 150), (107, 107, 107)


class Screen:
    """What is seen of a cube at each tick of a film; the arguments are those of `layers_film`.

    Attributes:
        count: of ticks.
    """

    def __init__(
        self,
        values: ArrayLike,
        *,
        label: str,
        steps: Sequence[int] | None = None,
        title: str | None = None,
        limits: tuple[float, float] | None = None,
        colours: str = COLOUR_MAP,
        fps: float = 6,
        size: int = 640,
    ) -> None:
        field = as_field(values, None, 4, WHERE)
        low, high = as_limits(limits, field, WHERE)
        chosen = colour_map(colours, WHERE, field, (low, high))
        self._table = as_picture(chosen([*np.linspace(0, 1, SHADES), np.nan])[:, :3])  # the last is for what isn't finite
        scaled = np.nan_to_num((field - low) / (high - low), posinf=1, neginf=0)
        self._entries = np.where(np.isnan(field), SHADES, (np.clip(scaled, 0, 1) * (SHADES - 1)).round()).astype(np.int64)
        self.count = len(field)
        labels = as_steps(steps, self.count, WHERE)
        self._lay_out(check_size(size, WHERE), title)
        beyond = "≤" * bool((field < low).any()), "≥" * bool((field > high).any())
        self._empty = self._frame(title, label, (f"{beyond[0]}{low:.3g}", f"{beyond[1]}{high:.3g}"))
        self._strip = TimeStrip((self._width, self._footer), PAPER, labels, {}, self.count, check_fps(fps, WHERE))

    def draw(self, tick: int) -> Picture:
        """The picture (h,w,3) at a tick."""
        picture = self._empty.copy()
        for (top, left), layer in zip(self._places, self._entries[tick], strict=True):
            cells = self._table[layer[::-1]].repeat(self._cell, axis=0).repeat(self._cell, axis=1)
            picture[top : top + len(cells), left : left + cells.shape[1]] = cells
        picture[-self._footer :] = self._strip.draw(tick)
        return picture

    def colours(self) -> list[tuple[int, int, int]]:
        """Those that a GIF must hold: paper, inks, and every fourth of the cells' colours."""
        kept = [*inks(as_picture(PAPER)), (255, 255, 255), *self._table[::4].tolist()]
        return [(red, green, blue) for red, green, blue in kept]

    def _lay_out(self, width: int, title: str | None) -> None:
        """Where layers, words and the key go, in pixels."""
        _, count, rows, cells = self._entries.shape
        across = in_a_row(count)
        down = -(-count // across)
        self._width, self._font = width, max(FONT * width, 9.0)
        gap = max(round(GAP * width), 6)
        self._cell = max(min((width - (across + 1) * gap) // (across * cells), width // (2 * rows)), 1)
        w, h = self._cell * cells, self._cell * rows
        pitch, head = (width - gap) / across, round(1.7 * self._font)
        margin = round((pitch - w - gap) / 2) + gap
        header = round(2.8 * self._font) if title else round(0.4 * self._font)
        self._places = [
            (header + index // across * (h + head) + head, margin + round(index % across * pitch)) for index in range(count)
        ]
        aside = count < across * down
        self._header, self._gap, self._layer, foot = header, gap, (h, w), header + down * (h + head)
        self._footer = max(round(2.6 * self._font), 24)
        if aside:
            left, top = margin + round(count % across * pitch), header + (down - 1) * (h + head) + head
            self._key = Room(left, top, width - left - gap, h)
        else:
            self._key = Room(margin, foot + round(0.9 * self._font), width - 2 * margin, round(3.2 * self._font))
            foot = self._key.top + self._key.height
        self._height = foot + round(0.8 * self._font) + self._footer
        self._height += self._height % 2

    def _frame(self, title: str | None, label: str, ends: tuple[str, str]) -> Picture:
        """All that stays: title, names of the layers, arrows from each to the next, the key."""
        from PIL import ImageDraw

        paper = as_picture(PAPER)
        image = sheet((self._width, self._height), paper)
        draw, font, (ink, _) = ImageDraw.Draw(image), load_font(self._font), inks(paper)
        h, w = self._layer
        for place, ((top, left), name) in enumerate(zip(self._places, layer_names(len(self._places)), strict=True)):
            name, face = name.partition(" · ")[0], "face" in name
            draw.text((left, top - 0.45 * self._font), name, fill=ink if face else QUIET, font=font, anchor="ls")
            if face:
                draw.rectangle((left - 2, top - 2, left + w + 1, top + h + 1), outline=ink, width=2)
            if place + 1 < len(self._places) and self._places[place + 1][0] == top:
                self._arrow(draw, (left + w + self._places[place + 1][1]) / 2, top + h / 2)
        self._draw_key(draw, label, ends)
        picture = np.array(image)
        if title:
            picture[: self._header] = name_strip((self._width, self._header), PAPER, title)
        return picture

    def _arrow(self, draw: "ImageDraw", x: float, y: float) -> None:
        side = self._gap * 0.2
        draw.line([(x - side / 2, y - side), (x + side / 2, y), (x - side / 2, y + side)], fill=ARROW, width=2, joint="curve")

    def _draw_key(self, draw: "ImageDraw", label: str, ends: tuple[str, str]) -> None:
        """The colour bar, the numbers at its ends, and what it shows."""
        room, (ink, _) = self._key, inks(as_picture(PAPER))
        font, thick = load_font(0.9 * self._font), max(round(0.6 * self._font), 3)
        wide = min(room.width, round(16 * self._font))
        for x, entry in enumerate(np.linspace(0, SHADES - 1, wide).round().astype(int)):
            colour = tuple(self._table[entry].tolist())
            draw.line([(room.left + x, room.top), (room.left + x, room.top + thick - 1)], fill=colour)
        y = room.top + thick + 0.3 * self._font
        for x, word, anchor in ((room.left, ends[0], "la"), (room.left + wide, ends[1], "ra")):
            draw.text((x, y), word, fill=QUIET, font=font, anchor=anchor)
        for line in textwrap.wrap(label, max(int(room.width / (0.5 * self._font)), 8)):
            y += 1.3 * self._font
            draw.text((room.left, y), line, fill=ink, font=font, anchor="la")
