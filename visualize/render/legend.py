"""What stands beside a body in its picture: a legend of names and a colour bar, and the room that they leave to the body."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from visualize.frames import Colour, FloatArray, Picture, as_colour, as_picture, is_dark
from visualize.render.lettering import load_font

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FONT = 0.027  # of the picture's shorter side; 13 pixels at 480
SMALLEST = 8.0  # pixels: what can still be read
ROW = 1.5  # heights of a letter
LEAST_ROOM = 0.45  # of the picture's shorter side is kept for the body on both sides


class Room(NamedTuple):
    """A rectangle of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


def font_size(size: tuple[int, int]) -> float:
    """Height in pixels of the text in a picture of `size` (width, height)."""
    return max(FONT * min(size), 9.0)


def inks(paper: FloatArray) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Colours of text and of quiet lines on a paper (3,)."""
    return ((222, 222, 222), (120, 120, 120)) if is_dark(paper) else ((45, 45, 45), (150, 150, 150))


class Legend:
    """Names with their colours beside or below the body, whichever leaves it more room.

    Where there is no room for all of them the last are counted ("+ 3 more"); a very small picture has none.

    Args:
        entries: name -> colour.
        size: (width, height) of the room for body and legend together.

    Attributes:
        room: what is left to the body.
        names: what is written, row after row.
        places: where the swatch of each name begins (x, middle y), in pixels.
        pixels: height of the letters.

    Raises:
        ValueError: a colour isn't known.
    """

    def __init__(self, entries: Mapping[str, Colour], size: tuple[int, int]) -> None:
        self._colours = [as_colour(colour, "volume", "legend") for colour in entries.values()]
        self.names = [" ".join(str(name).split()) for name in entries]
        self.room = Room(0, 0, *size)
        self.places: list[tuple[float, float]] = []
        self.pixels = font_size(size)
        if not self.names:
            return
        sizes = [self.pixels * 0.92**step for step in range(20) if self.pixels * 0.92**step >= SMALLEST]
        for shown in (len(self.names), *range(len(self.names) - 1, 0, -1)):
            for pixels in sizes:
                names = _cut(self.names, shown, load_font(pixels), 0.45 * size[0])
                best = _best_place(names, pixels, size)
                if best is not None:
                    self.names, self.pixels, (self.room, self.places) = names, pixels, best
                    return

    def lower(self, rows: int) -> None:
        """Moves the legend down by some rows of pixels."""
        self.places = [(x, y + rows) for x, y in self.places]

    def draw(self, sheet: Picture, paper: FloatArray) -> Picture:
        """The sheet (h,w,3) with the legend on it."""
        if not self.places:
            return sheet
        from PIL import Image, ImageDraw

        image = Image.fromarray(sheet)
        draw, font = ImageDraw.Draw(image), load_font(self.pixels)
        ink, quiet = inks(paper)
        side = self.pixels * 0.95
        for index, (name, (x, y)) in enumerate(zip(self.names, self.places, strict=True)):
            if index < len(self._colours) and not name.startswith("+ "):
                fill = tuple(int(part) for part in as_picture(self._colours[index]))
                corners = (round(x), round(y - side / 2), round(x + side), round(y + side / 2))
                draw.rounded_rectangle(corners, radius=side * 0.22, fill=fill, outline=quiet)
            draw.text((x + 1.5 * self.pixels, y), name, fill=ink, font=font, anchor="lm")
        return np.asarray(image)


def _cut(names: Sequence[str], shown: int, font: "FreeTypeFont", widest: float) -> list[str]:
    """The first names, long ones shortened, and how many are left out."""
    kept = []
    for name in names[:shown]:
        text = name
        while len(text) > 2 and font.getlength(text) > widest:
            text = text[:-2].rstrip() + "…"
        kept.append(text)
    return kept if shown == len(names) else [*kept, f"+ {len(names) - shown} more"]


def _best_place(names: Sequence[str], pixels: float, size: tuple[int, int]) -> tuple[Room, list[tuple[float, float]]] | None:
    """The room left to the body, and where each row's swatch begins (x, middle y); None where it doesn't fit."""
    width, height = size
    font = load_font(pixels)
    column = max(font.getlength(name) for name in names) + 2.9 * pixels
    row, border = ROW * pixels, 1.2 * pixels
    best: tuple[Room, list[tuple[float, float]]] | None = None
    for columns in range(1, min(len(names), int((width - border) // column)) + 1):
        rows = math.ceil(len(names) / columns)
        if math.ceil(len(names) / rows) < columns:
            continue  # the last column would be empty
        panel = columns * column
        if columns <= 2 and rows * row <= height - 2 * border:
            room = Room(0, 0, int(width - panel), height)
            top = (height - rows * row) / 2
            best = _better(best, room, _grid(names, rows, room.width, top, column, row), size)
        room = Room(0, 0, width, int(height - rows * row - border))
        left = max((width - panel + 1.4 * pixels) / 2, 0.5 * pixels)
        best = _better(best, room, _grid(names, rows, left, room.height + border / 4, column, row), size)
    return best


def _grid(names: Sequence[str], rows: int, left: float, top: float, column: float, row: float) -> list[tuple[float, float]]:
    """One place for each name, column after column."""
    return [(left + index // rows * column, top + (index % rows + 0.5) * row) for index in range(len(names))]


def _better(
    best: tuple[Room, list[tuple[float, float]]] | None, room: Room, places: list[tuple[float, float]], size: tuple[int, int]
) -> tuple[Room, list[tuple[float, float]]] | None:
    """The better of two arrangements: the one whose room is wider on its narrower side."""
    least = LEAST_ROOM * min(size)
    if min(room.width, room.height) < max(least, 16):
        return best
    if best is None or min(room[2:]) > min(best[0][2:]):
        return room, places
    return best


def bar_height(size: tuple[int, int]) -> int:
    """Rows that a colour bar takes from the foot of a picture; none where it is too small for one."""
    rows = round(2.4 * font_size(size))
    return rows if size[1] >= 3 * rows and size[0] >= 8 * font_size(size) else 0


def draw_bar(sheet: Picture, room: Room, colours: FloatArray, low: str, high: str, paper: FloatArray) -> Picture:
    """The sheet with a colour bar and its two end labels in the middle of a room.

    Args:
        sheet: (h,w,3).
        room: where.
        colours: (n,3) 0..1, from low to high.
        low: the label at the lower end.
        high: the label at the upper end.
        paper: (3,), which says how dark the text must be.
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    pixels = font_size((sheet.shape[1], sheet.shape[0]))
    font = load_font(pixels)
    gap = 0.6 * pixels
    aside = max(font.getlength(low), font.getlength(high)) + gap
    length = round(max(min(0.42 * room.width, room.width - 2 * aside - pixels), 4))
    thick = max(round(0.55 * pixels), 3)
    left, top = round(room.left + (room.width - length) / 2), round(room.top + 0.45 * room.height - thick / 2)
    at = np.linspace(0, len(colours) - 1, length).round().astype(int)
    image.paste(Image.fromarray(np.broadcast_to(as_picture(colours[at]), (thick, length, 3)).copy()), (left, top))
    ink, quiet = inks(paper)
    draw.rectangle((left - 1, top - 1, left + length, top + thick), outline=quiet)
    draw.text((left - gap, top + thick / 2), low, fill=ink, font=font, anchor="rm")
    draw.text((left + length + gap, top + thick / 2), high, fill=ink, font=font, anchor="lm")
    return np.asarray(image)
