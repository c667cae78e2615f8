"""The letters that Pillow draws: one font for legends, names, counters and axes, the same on every machine."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FONT = "fonts/ttf/DejaVuSans.ttf"  # in matplotlib's data: the font of the figures
SCALE = 0.9  # its letters are wider and taller than others of the same nominal height


@functools.lru_cache(maxsize=64)
def load_font(pixels: float) -> "FreeTypeFont":
    """A font of about a height in pixels: DejaVu Sans, which knows accents, Greek, arrows and fractions.

    Without matplotlib it is the small font that comes with Pillow, which draws boxes for what it doesn't know.
    """
    from PIL import ImageFont

    place = _font_file()
    if place is not None:
        try:
            return ImageFont.truetype(str(place), pixels * SCALE)
        except OSError:
            pass
    font: FreeTypeFont = ImageFont.load_default(size=pixels)  # type: ignore[assignment]
    return font


@functools.cache
def _font_file() -> Path | None:
    try:
        import matplotlib
    except ImportError:
        return None
    return Path(matplotlib.get_data_path()) / FONT
