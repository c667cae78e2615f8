"""Pictures of a page that are read on a light and a dark ground, on a wide and a narrow screen: charts, strips, portraits."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The media types of the files that a page holds as data URLs.
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".mp4": "video/mp4"}

# The ground of pictures on a dark page. What the page's style makes of the white of a chart there is the same.
DARK = "#262626"

# Pixels of a frame of a strip, twice what a page gives it, for dense screens; and the quality of its WebP: at 90 a body's
# edges show no ripples, and both grounds together take half as much as one PNG.
FRAME, QUALITY = 300, 90


class Shown(Protocol):
    """A picture as a page shows it."""

    def html(self, alternative: str) -> str:
        """Returns the picture as HTML, with a text for readers who can't see it."""
        ...


class Chart(NamedTuple):
    """A chart on white paper, inverted by the page's style where the page is dark.

    Attributes:
        png: The chart as PNG.
    """

    png: bytes

    def html(self, alternative: str) -> str:
        """Returns the chart as HTML; on a narrow screen it scrolls in a frame of its own, so that its words stay legible."""
        image = f'<img alt="{escape(alternative)}" src="{data_url(self.png)}">'
        # tabindex: whoever has no pointer scrolls with the arrow keys.
        return f'<div class="paper chart" tabindex="0">{image}</div>'


class Strip(NamedTuple):
    """A body at several moments, side by side.

    Attributes:
        frames: The moments, (T, D, H, W, 4), straight RGBA, 0 .. 1.
        labels: A few words for each, (T,).
        azimuth: Degrees at which the eye stands; None = the usual side.
    """

    frames: NDArray[np.floating]
    labels: Sequence[str]
    azimuth: float | None = None

    @property
    def _view(self) -> dict[str, Any]:
        return {} if self.azimuth is None else {"azimuth": self.azimuth}

    def drawn(self) -> "tuple[Figure, DrawnStrip]":
        """Draws the strip as one figure on white paper, and as pictures for a page."""
        import visualize
        from visualize.film import stills

        light, dark = (stills(self.frames, size=FRAME, background=ground, **self._view) for ground in ("white", DARK))
        figure = visualize.film_strip(self.frames, self.labels, pictures=light)
        return figure, DrawnStrip([webp_of(picture) for picture in light], [webp_of(picture) for picture in dark], self.labels)


class DrawnStrip(NamedTuple):
    """The pictures of a strip.

    Attributes:
        light: The moments on white, as WebP.
        dark: The moments on `DARK`, as WebP.
        labels: A few words for each.
    """

    light: Sequence[bytes]
    dark: Sequence[bytes]
    labels: Sequence[str]

    def html(self, alternative: str) -> str:
        """Returns the strip as a list of pictures, which a page sets in as many columns as it has room for."""
        items = (
            f"<li>{on_both(light, dark, f'{alternative}, {label}')}{escape(label)}</li>"
            for light, dark, label in zip(*self, strict=True)
        )
        return f'<div class="paper"><ol class="strip">{"".join(items)}</ol></div>'


def on_both(light: bytes, dark: bytes, alternative: str) -> str:
    """Returns a picture as HTML that is chosen by the reader's ground.

    Args:
        light: The picture on white as WebP.
        dark: The picture on `DARK` as WebP.
        alternative: The text for readers who can't see it.
    """
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{data_url(dark, ".webp")}">'
        f'<img alt="{escape(alternative)}" src="{data_url(light, ".webp")}"></picture>'
    )


def png_of(figure: "Figure") -> bytes:
    """Returns a matplotlib Figure as PNG, at the resolution of reports."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=144)  # twice the 72 points an inch: sharp on a dense screen
    return stream.getvalue()


def png_of_pixels(pixels: "np.ndarray") -> bytes:
    """Returns a picture as PNG.

    Args:
        pixels: RGB or RGBA, uint8 (H, W, 3 or 4).
    """
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def webp_of(pixels: "np.ndarray") -> bytes:
    """Returns a picture as WebP: small, and every browser that knows a dark ground reads it.

    Args:
        pixels: RGB, uint8 (H, W, 3).
    """
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", quality=QUALITY, use_sharp_yuv=True)
    return stream.getvalue()


def data_url(content: bytes, suffix: str = ".png") -> str:
    """Returns the content of a file as a data URL, so that a page loads nothing from elsewhere.

    Args:
        content: The bytes of the file.
        suffix: The file's suffix, one of `MEDIA_TYPES`.
    """
    return f"data:{MEDIA_TYPES[suffix]};base64,{base64.b64encode(content).decode()}"
