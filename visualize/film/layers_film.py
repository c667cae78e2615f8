"""Films of a cube of cells: all its layers side by side, front face to back face, in one scale while the steps go by."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from numpy.typing import ArrayLike

from visualize.clock import check_fps
from visualize.fields import COLOUR_MAP
from visualize.film.encode import check_film_path, write_film
from visualize.film.layers_screen import WHERE, Screen
from visualize.film.studio import bar
from visualize.frames import Picture


def layers_film(
    values: ArrayLike,
    path: str | os.PathLike[str],
    *,
    label: str,
    steps: Sequence[int] | None = None,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    colours: str = COLOUR_MAP,
    fps: float = 6,
    size: int = 640,
    progress: bool = False,
) -> Path:
    """Writes a film of a cube's layers as .mp4, .gif or .webp; returns the path.

    Layers stand in reading order, as in `layers`, with arrows from each to the next.

    Args:
        values: (T,D,H,W) numbers; what isn't finite is magenta.
        path: where to; the suffix says which kind of film. The folder must exist.
        label: what the values are, with their unit.
        steps: (T,) numbers shown by the counter; none without.
        title: a line above.
        limits: the values at both ends of the colours, for the whole film; default as in `layers`, over all steps.
        colours: a colour map of matplotlib.
        fps: frames a second, 0.1 to 60.
        size: width in pixels (made even); the height follows.
        progress: show a bar with the time left on stderr.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    film = check_film_path(path, WHERE)
    screen = Screen(values, label=label, steps=steps, title=title, limits=limits, colours=colours, fps=fps, size=size)

    def ticks() -> Iterator[Picture]:
        yield from map(screen.draw, range(screen.count))

    write_film(bar(ticks, screen.count, progress), film, check_fps(fps, WHERE), keep=screen.colours(), where=WHERE)
    return film
