"""Films of a trajectory: one fixed camera or a slow orbit, a step counter, and the moment of damage marked in time."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from visualize.arguments import as_degrees, as_number
from visualize.clock import DAMAGE_COLOUR, Damage, as_marks, as_steps, check_fps
from visualize.fields import activity_limits, glowing
from visualize.film.encode import check_film_path, write_film
from visualize.film.strips import TimeStrip
from visualize.film.studio import Clip, Studio, bar
from visualize.frames import Colour, Picture, as_frames, as_picture, body_box
from visualize.render.view import AZIMUTH, ELEVATION, view

SHADES, DARKEST_SHADE = 64, 0.5  # of the paper, for shadows without bands
FOOTER = 0.085  # share of the height kept for counter and time line


def animate(
    frames: ArrayLike,
    path: str | os.PathLike[str],
    *,
    fps: float = 12,
    size: int = 480,
    orbit: float = 0.0,
    steps: Sequence[int] | None = None,
    damage_at: Damage | None = None,
    style: str = "voxels",
    activity: ArrayLike | None = None,
    activity_range: tuple[float, float] | None = None,
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    background: Colour = "auto",
    renderer: str = "auto",
    quality: str = "fast",
    legend: Mapping[str, Colour] | None = None,
    axes: bool = False,
    progress: bool = False,
) -> Path:
    """Writes a film of a trajectory as .mp4, .gif or .webp; returns the path.

    Frames that repeat are held: as long as the eye rests they are drawn once.

    Args:
        frames: (T,D,H,W,4), straight RGBA 0..1 (or uint8); one frame is enough.
        path: where to; the suffix says which kind of film. The folder must exist.
        fps: frames a second, 0.1 to 60.
        size: width and height in pixels (made even).
        orbit: degrees that the eye walks around the body over the whole film.
        steps: (T,) numbers shown by the counter; none without.
        damage_at: index of the first frame after damage, several of them, or {index: word}.
        activity: (T,D,H,W) numbers that glow in style "activity"; default how much alpha changed since the frame before.
        activity_range: the values at both ends of the glow's colours, for the whole film; default from 0 to nearly the
            highest.
        style: "voxels", "surface" or "activity", as in `volume`.
        azimuth: where the eye stands around the body, in degrees, as in `volume`.
        elevation: how high the eye stands, in degrees, as in `volume`.
        background: the paper's colour; "auto" = by style, as in `volume`.
        renderer: "auto", "opengl" or "raymarch", as in `volume`.
        quality: "fast" or "high" light, as in `volume`.
        legend: {name: colour} of the classes, drawn beside the body, as in `volume`.
        axes: whether to draw axes with cells, as in `volume`.
        progress: show a bar with the time left on stderr.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    film = check_film_path(path)
    checked = as_frames(frames, "animate")
    count = len(checked)
    marks = as_marks(damage_at, count, "animate")
    labels = as_steps(steps, count, "animate")
    side, fps = check_size(size, "animate"), check_fps(fps, "animate")
    glow = glowing(activity, checked, style, "animate")
    if glow is not None:
        activity_range = activity_range or activity_limits(glow)
    footer = round(side * FOOTER)
    azimuth, elevation = view(checked.shape[1:4], azimuth, elevation, "animate")
    azimuths = walk(azimuth, orbit, count, "animate")
    options = {
        "style": style,
        "size": (side, side - footer),
        "azimuths": azimuths,
        "elevation": elevation,
        "background": background,
        "renderer": renderer,
        "quality": quality,
        "legend": legend,
        "axes": axes,
        "activity_range": activity_range,
    }
    with Studio([body_box(checked)], count, options) as studio:
        strip = TimeStrip((side, footer), studio.paper, labels, marks, count, fps)

        def ticks() -> Iterator[Picture]:
            for index, (picture,) in enumerate(studio.draw([Clip(checked, glow, range(count))], azimuths)):
                yield np.concatenate([picture, strip.draw(index)])

        write_film(bar(ticks, count, progress), film, fps, keep=kept_colours(studio))
    return film


def walk(azimuth: float, orbit: float, count: int, where: str) -> list[float]:
    """The eye's azimuth in each frame: a whole turn stops one frame short, so that the loop doesn't stutter.

    Raises:
        ValueError: azimuth or orbit isn't a finite number; `where` says who asks.
    """
    azimuth, orbit = as_degrees(azimuth, where, "azimuth"), as_degrees(orbit, where, "orbit")
    pieces = max(count - int(orbit % 360 != 0), 1)  # a part of a turn reaches its end
    return [azimuth + orbit * index / pieces for index in range(count)]


def check_size(size: object, where: str) -> int:
    """Pixels of one side, made even; ValueError unless a number of pixels that a body can be drawn with."""
    return int(as_number(size, where, "size", 32, 4096, "32..4096 pixels")) // 2 * 2


def kept_colours(studio: Studio) -> list[tuple[int, int, int]]:
    """The colours of a film that a GIF must hold: its marks, its paper, and the paper darkened by a shadow, evenly."""
    shades = as_picture(studio.paper * np.linspace(1, DARKEST_SHADE, SHADES, dtype=np.float32)[:, None])
    return [DAMAGE_COLOUR, *((red, green, blue) for red, green, blue in shades.tolist())]
