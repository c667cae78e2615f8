"""Words broken into lines that fit a width: a label as wide as what it stands under, whatever the size of the picture."""

import re
from collections.abc import Iterator

LINE = 1.25  # heights of a letter from one line to the next


def text_width(text: str, points: float) -> float:
    """The width of one line in inches, in the font of the figures at a height in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    width, _, _ = TextToPath().get_text_width_height_descent(text, FontProperties(size=points), False)
    return float(width) / 72


def widest_word(text: str, points: float) -> float:
    """The width in inches of the widest part of a text that needs no break inside a word."""
    return max((text_width(word, points) for word in text.split()), default=0.0)


def wrap(text: str, inches: float, points: float) -> list[str]:
    """The lines of a text, each no wider than so many inches; breaks that it has stay.

    A word that is too wide is broken after _, -, / or . if that is enough, else between any two letters.
    """
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split():
            for first, part in _parts(word, inches, points):
                joined = f"{line} {part}" if first and line else line + part
                if line and text_width(joined, points) > inches:
                    lines.append(line)
                    line = part
                else:
                    line = joined
        lines.append(line)
    return lines


def _parts(word: str, inches: float, points: float) -> Iterator[tuple[bool, str]]:
    """Yields the parts that a word may be broken into, and whether a part begins the word."""
    if text_width(word, points) <= inches:
        yield True, word
        return
    first = True
    for piece in re.findall(r"[^_\-/.]*[_\-/.]|[^_\-/.]+", word):
        # Letter by letter where even the piece is too wide.
        for part in [piece] if text_width(piece, points) <= inches else piece:
            yield first, part
            first = False
