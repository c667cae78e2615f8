"""Films of several rules on one clock: bodies side by side in one scale, a name above each, one counter and time line."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from visualize.clock import Damage, as_marks, as_steps, check_fps, one_clock
from visualize.errors import ArgumentError
from visualize.fields import activity_limits, glowing
from visualize.film.animate import FOOTER, check_size, kept_colours, walk
from visualize.film.encode import check_film_path, write_film
from visualize.film.strips import TimeStrip, name_strip
from visualize.film.studio import Clip, Studio, bar
from visualize.frames import Box, Colour, FloatArray, Picture, as_frames, as_picture, body_box
from visualize.render.view import AZIMUTH, ELEVATION, view

WHERE = "side_by_side"
MOST = 12
HEADER = 0.135  # share of one body's side kept for its name
LOWEST_HEADER, LOWEST_FOOTER = 40, 34  # pixels: letters must be read in small films too


def side_by_side(
    films: Mapping[str, ArrayLike],
    path: str | os.PathLike[str],
    *,
    fps: float = 12,
    size: int = 360,
    orbit: float = 0.0,
    steps: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    damage_at: Damage | None = None,
    style: str = "voxels",
    activity: Mapping[str, ArrayLike] | None = None,
    activity_range: tuple[float, float] | None = None,
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    background: Colour = "auto",
    renderer: str = "auto",
    quality: str = "fast",
    axes: bool = False,
    progress: bool = False,
) -> Path:
    """Writes one film of several bodies on one clock as .mp4, .gif or .webp; returns the path.

    All bodies are seen by the same camera in the same scale, whatever the sizes of their lattices. Up to three stand in
    a row, more in two rows. A series that ends before the others holds its last frame, and a note under its name says so.

    Args:
        films: name → (T,D,H,W,4), straight RGBA 0..1 (or uint8); one to twelve of them.
        path: where to; the suffix says which kind of film. The folder must exist.
        fps: frames a second, 0.1 to 60.
        size: width and height in pixels of one body's picture (made even).
        orbit: degrees that the eye walks around the bodies over the whole film.
        steps: None: frames of the same index are shown together. (T,) of the longest series: likewise, and counted.
            {name: (T,)}: the steps decide; the film stops at every step of any series, and each shows its latest frame
            by then. A step that a series has twice, as before and after a cut, comes twice.
        damage_at: index of the film's first frame after damage, several of them, or {index: word}.
        activity: {name: (T,D,H,W)} numbers that glow in style "activity"; default how much alpha changed.
        activity_range: the values at both ends of the glow's colours; default from 0 to nearly the highest of all films.
        style: "voxels", "surface" or "activity", as in `volume`.
        azimuth: where the eye stands around the body, in degrees, as in `volume`.
        elevation: how high the eye stands, in degrees, as in `volume`.
        background: the paper's colour; "auto" = by style, as in `volume`.
        renderer: "auto", "opengl" or "raymarch", as in `volume`.
        quality: "fast" or "high" light, as in `volume`.
        axes: whether to draw axes with cells, as in `volume`.
        progress: show a bar with the time left on stderr.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    film = check_film_path(path, WHERE)
    if not isinstance(films, Mapping) or not 1 <= len(films) <= MOST:
        found = f"{len(films)} films" if isinstance(films, Mapping) else type(films).__name__
        raise ArgumentError(WHERE, "films", found, f"a mapping of 1..{MOST} names to frames")
    checked = {str(name): as_frames(frames, f"{WHERE}: {name}") for name, frames in films.items()}
    labels, shown = _clock(checked, steps)
    count = len(next(iter(shown.values())))
    marks = as_marks(damage_at, count, WHERE)
    side, fps = check_size(size, WHERE), check_fps(fps, WHERE)
    glows = _glows(checked, activity, style)
    lit = [glow for glow in glows.values() if glow is not None]
    if lit and activity_range is None:
        activity_range = activity_limits(np.concatenate([glow.ravel() for glow in lit]))
    boxes, box_of = _boxes(checked)
    # One flat body among solid ones is seen as they are.
    azimuth, elevation = view(
        [max(frames.shape[i] for frames in checked.values()) for i in (1, 2, 3)], azimuth, elevation, WHERE
    )
    azimuths = walk(azimuth, orbit, count, WHERE)
    options = {
        "style": style,
        "size": (side, side),
        "azimuths": azimuths,
        "elevation": elevation,
        "background": background,
        "renderer": renderer,
        "quality": quality,
        "axes": axes,
        "activity_range": activity_range,
    }
    clips = [Clip(checked[name], glows[name], shown[name], box_of[name]) for name in checked]
    with Studio(boxes, count * len(clips), options) as studio:
        page = _Page(list(checked), clips, side, studio.paper, labels)
        strip = TimeStrip((page.width, page.footer), studio.paper, labels, marks, count, fps)

        def ticks() -> Iterator[Picture]:
            for index, pictures in enumerate(studio.draw(clips, azimuths)):
                yield page.draw(pictures, index, strip.draw(index))

        write_film(bar(ticks, count, progress), film, fps, keep=kept_colours(studio), where=WHERE)
    return film


def _clock(
    films: Mapping[str, FloatArray], steps: Sequence[int] | Mapping[str, Sequence[int]] | None
) -> tuple[list[int] | None, dict[str, list[int]]]:
    """The counter's steps, and name → which frame is shown at each tick."""
    longest = max(len(frames) for frames in films.values())
    if not isinstance(steps, Mapping):
        shown = {name: [min(tick, len(frames) - 1) for tick in range(longest)] for name, frames in films.items()}
        return as_steps(steps, longest, WHERE), shown
    if set(map(str, steps)) != set(films):
        raise ArgumentError(WHERE, "steps", f"names {sorted(map(str, steps))}", f"the films' {sorted(films)}")
    own = {str(name): as_steps(some, len(films[str(name)]), f"{WHERE}: {name}") or [] for name, some in steps.items()}
    return one_clock(own, WHERE)


def _glows(
    films: Mapping[str, FloatArray], activity: Mapping[str, ArrayLike] | None, style: str
) -> dict[str, FloatArray | None]:
    if activity is not None and set(activity) != set(films):
        raise ArgumentError(WHERE, "activity", f"names {sorted(activity)}", f"the films' {sorted(films)}")
    return {
        name: glowing(None if activity is None else activity[name], frames, style, f"{WHERE}: {name}")
        for name, frames in films.items()
    }


def _boxes(films: Mapping[str, FloatArray]) -> tuple[list[Box], dict[str, int]]:
    """Boxes of one size, so that a cell is as large in every picture, and which one each film is seen in.

    Films of one lattice share one box: then places can be compared too.
    """
    own = {name: body_box(frames) for name, frames in films.items()}
    if len({frames.shape[1:4] for frames in films.values()}) == 1:
        low = np.min([box[0] for box in own.values()], axis=0)
        high = np.max([box[1] for box in own.values()], axis=0)
        return [(low, high)], dict.fromkeys(films, 0)
    extent = np.max([high - low for low, high in own.values()], axis=0)
    boxes = []
    for low, high in own.values():
        middle = (low + high) / 2
        start = np.array([*(middle - extent / 2)[:2], low[2]], np.float32)  # all stand on the floor
        boxes.append((start, (start + extent).astype(np.float32)))
    return boxes, {name: index for index, name in enumerate(films)}


class _Page:
    """Where bodies and names go on the sheet of a film."""

    def __init__(
        self, names: Sequence[str], clips: Sequence[Clip], side: int, paper: FloatArray, labels: Sequence[int] | None
    ) -> None:
        self._side, self._paper = side, paper
        self._across = len(names) if len(names) <= 3 else -(-len(names) // 2)
        self._down = -(-len(names) // self._across)
        self._header = max(round(side * HEADER) // 2 * 2, LOWEST_HEADER)
        self.width, self.footer = self._across * side, max(round(side * FOOTER * 1.15) // 2 * 2, LOWEST_FOOTER)
        size = (side, self._header)
        self._ends = [clip.shown.index(clip.shown[-1]) for clip in clips]
        self._strips = []
        for name, end in zip(names, self._ends, strict=True):
            last = f"step {labels[end]}" if labels is not None else f"frame {end}"
            held = name_strip(size, paper, name, f"ended at {last}, held")
            self._strips.append((name_strip(size, paper, name), held))

    def draw(self, pictures: Sequence[Picture], tick: int, strip: Picture) -> Picture:
        """The sheet (h,w,3) at a tick."""
        block = self._header + self._side
        sheet = np.empty((self._down * block + self.footer, self.width, 3), np.uint8)
        sheet[:] = as_picture(self._paper)
        for index, picture in enumerate(pictures):
            row, column = divmod(index, self._across)
            top, left = row * block, column * self._side
            sheet[top : top + self._header, left : left + self._side] = self._strips[index][tick > self._ends[index]]
            sheet[top + self._header : top + block, left : left + self._side] = picture
        sheet[-self.footer :] = strip
        return sheet
