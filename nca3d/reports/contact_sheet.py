"""Many bodies in one picture, for the eye: each as it stands, with its name, its cells and its kinds."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.targets import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches of a picture and of the words under it, and how many stand in a row at most.
SIDE, WORDS, ACROSS = 1.9, 0.62, 10
# Pixels of a picture: at 200 an inch.
PIXELS = 380
# Letters in a line of words, and lines of a refusal.
LETTERS, LINES = 26, 9


def contact_sheet(bodies: Mapping[str, Target | str]) -> "Figure":
    """Returns a figure with a picture of each body.

    Args:
        bodies: The bodies by the names or paths that they were asked for by; a text in place of one is the line that says why
            it can't be used.
    """
    from textwrap import wrap

    from tqdm.auto import tqdm

    import visualize
    from visualize.charts.figure import INK, QUIET, new_figure

    across = min(ACROSS, max(1, math.ceil(math.sqrt(1.4 * len(bodies)))))
    down = math.ceil(len(bodies) / across)
    width, height = across * SIDE, down * (SIDE + WORDS)
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    for number, (name, body) in enumerate(tqdm(bodies.items(), desc="drawing", disable=len(bodies) < 8)):
        row, column = divmod(number, across)
        left, top = column * SIDE / width, 1 - row * (SIDE + WORDS) / height
        short = "\n".join(wrap(Path(name).name, LETTERS)[:2])
        if isinstance(body, str):
            said = "\n".join(wrap(body.partition(": ")[2], LETTERS)[:LINES])
            figure.text(left + 0.05 / width, top - 0.15 / height, said, va="top", fontsize=6.5, color=QUIET)
            words = short
        else:
            picture = visualize.volume(body.rgba(), size=(PIXELS, PIXELS), quality="fast")
            axes = figure.add_axes((left, top - SIDE / height, SIDE / width, SIDE / height))
            axes.imshow(picture, interpolation="lanczos")
            axes.axis("off")
            kinds = f", {body.visible - 1} kind{'s' * (body.visible > 2)}" if body.kind == "classes" else ""
            words = f"{short}\n{int(body.occupied.sum()):,} of {' × '.join(map(str, body.size))}{kinds}"
        middle = left + SIDE / 2 / width
        figure.text(middle, top - SIDE / height, words, va="top", ha="center", fontsize=6.5, color=INK, parse_math=False)
    return figure
