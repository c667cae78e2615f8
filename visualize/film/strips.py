"""The strips above and below the bodies of a film: their names, the step counter, the time line and damage on it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from visualize.clock import DAMAGE_COLOUR
from visualize.frames import FloatArray, Picture, as_picture, is_dark
from visualize.render.lettering import load_font

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

SMALLEST = 7.0  # pixels of a letter
DAMAGE_SHOWN = 0.8  # seconds that the word stays


class TimeStrip:
    """The strip below a film: a step counter, a time line, the moments of damage, and the word of one while it's new."""

    def __init__(
        self,
        size: tuple[int, int],
        paper: FloatArray,
        labels: Sequence[int] | None,
        marks: Mapping[int, str],
        count: int,
        fps: float,
    ) -> None:
        self._size, self._paper = size, as_picture(paper)
        self._labels, self._marks, self._count = labels, marks, count
        self._shown = max(round(fps * DAMAGE_SHOWN), 1)

    def draw(self, index: int) -> Picture:
        """The strip (h,w,3) at a tick."""
        from PIL import ImageDraw

        (width, height), (ink, faint) = self._size, inks(self._paper)
        image = sheet(self._size, self._paper)
        draw, font = ImageDraw.Draw(image), load_font(height * 0.42)
        left, right = round(width * 0.04), round(width * 0.96)
        line, thick, base = height - round(height * 0.22), max(height // 16, 2), height - round(height * 0.62)
        if self._labels is not None:
            draw.text((left, base), f"step {self._labels[index]}", fill=ink, font=font, anchor="lm")
        word = next((word for at, word in reversed(list(self._marks.items())) if at <= index < at + self._shown), None)
        if word:
            room = right - left - (draw.textlength(f"step {self._labels[-1]}  ", font=font) if self._labels else 0)
            word, small = _fitted(draw, word, height * 0.42, room)
            draw.text((right, base), word, fill=DAMAGE_COLOUR, font=small, anchor="rm")
        span = (right - left) / max(self._count - 1, 1)
        draw.rectangle((left, line, right, line + thick - 1), fill=faint)
        if self._count > 1:
            draw.rectangle((left, line, round(left + index * span), line + thick - 1), fill=ink)
        for at in self._marks:
            x = round(left + at * span)
            draw.rectangle((x - 1, line - thick, x + 1, line + 2 * thick - 1), fill=DAMAGE_COLOUR)
        return np.asarray(image)


def name_strip(size: tuple[int, int], paper: FloatArray, name: str, note: str = "") -> Picture:
    """A strip (h,w,3) with a name in its middle, made smaller until it fits, and a quiet note under it."""
    from PIL import ImageDraw

    (width, height), (ink, _) = size, inks(as_picture(paper))
    image = sheet(size, as_picture(paper))
    draw = ImageDraw.Draw(image)
    for text, pixels, middle in ((name, height * 0.42, 0.34), (note, max(height * 0.25, 10.0), 0.8)):
        line, font = _fitted(draw, text, pixels, 0.94 * width)
        draw.text((width / 2, height * middle), line, fill=ink, font=font, anchor="mm")
    return np.asarray(image)


def _fitted(draw: "ImageDraw", text: str, pixels: float, room: float) -> "tuple[str, FreeTypeFont]":
    """A text as one line, and the font that is made smaller, to a point, until it fits; what is still too long is cut."""
    line = " ".join(text.split())
    wide = draw.textlength(line, font=load_font(pixels))
    font = load_font(max(pixels * min(1.0, room / max(wide, 1.0)), SMALLEST))
    if draw.textlength(line, font=font) > room + 1:  # a pixel: widths are rounded
        kept = len(line)
        while kept > 0 and draw.textlength(line[:kept].rstrip() + "…", font=font) > room:
            kept -= 1
        line = line[:kept].rstrip() + "…"
    return line, font


def sheet(size: tuple[int, int], paper: Picture) -> "Image":
    """An empty Pillow image of a size (width, height) and a colour (3,)."""
    from PIL import Image

    red, green, blue = paper.tolist()
    return Image.new("RGB", size, (red, green, blue))


def inks(paper: Picture) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Colours (r, g, b) of words and of quiet lines that are seen on a paper (3,)."""
    dark = is_dark(paper.astype(np.float32) / np.float32(255))
    return ((235, 235, 235), (80, 80, 80)) if dark else ((45, 45, 45), (222, 222, 222))
