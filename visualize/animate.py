"""Films of a trajectory: one fixed camera or a slow orbit, a step counter, and the moment of damage marked in time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from visualize.encode import check_film_path, write_film
from visualize.frames import FloatArray, Picture, as_frames, as_picture, body_box
from visualize.volume import AZIMUTH, ELEVATION, Scene

FOOTER = 0.085  # share of the height kept for counter and time line
DAMAGE_COLOUR = (213, 94, 0)  # vermillion of Okabe & Ito: told from black and grey by every eye
DAMAGE_SHOWN = 0.8  # seconds that the word stays


def animate(
    frames: ArrayLike,
    path: str | os.PathLike[str],
    *,
    fps: float = 12,
    size: int = 480,
    orbit: float = 0.0,
    steps: Sequence[int] | None = None,
    damage_at: int | Sequence[int] | Mapping[int, str] | None = None,
    style: str = "voxels",
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    background: str | tuple[float, float, float] = "white",
    renderer: str = "auto",
    progress: bool = False,
) -> Path:
    """Writes a film of a trajectory as .mp4, .gif or .webp; returns the path.

    Args:
        frames: (T,D,H,W,4), straight RGBA 0..1 (or uint8); one frame is enough.
        path: where to; the suffix says which kind of film. The folder must exist.
        fps: frames a second, up to 60.
        size: width and height in pixels (made even).
        orbit: degrees that the eye walks around the body over the whole film.
        steps: (T,) numbers shown by the counter; none without.
        damage_at: index of the first frame after damage, several of them, or {index: word}.
        style, azimuth, elevation, background, renderer: as in `volume`.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    film = check_film_path(path)
    checked = as_frames(frames, "animate")
    count = len(checked)
    marks = _marks(damage_at, count)
    if steps is not None and len(steps) != count:
        raise ValueError(f"animate: steps: found {len(steps)} labels, allowed one for each of {count} frames")
    if not 0 < fps <= 60:
        raise ValueError(f"animate: fps: found {fps}, allowed above 0 to 60")
    side = int(size) // 2 * 2
    footer = round(side * FOOTER)
    # A whole turn stops one frame short of where it began, so that the loop doesn't stutter; a part of one reaches its end.
    pieces = max(count - int(orbit % 360 != 0), 1)
    azimuths = [azimuth + orbit * index / pieces for index in range(count)]
    with Scene(
        body_box(checked), style, size=(side, side - footer), azimuths=azimuths, elevation=elevation,
        background=background, renderer=renderer,
    ) as scene:  # fmt: skip
        labels = [None] * count if steps is None else [f"step {int(step)}" for step in steps]
        pictures = _pictures(scene, checked, azimuths, labels, marks, round(fps * DAMAGE_SHOWN), footer, progress)
        red, green, blue = as_picture(scene.paper).tolist()
        write_film(pictures, film, fps, keep=((red, green, blue), DAMAGE_COLOUR))
    return film


def _marks(damage_at: int | Sequence[int] | Mapping[int, str] | None, count: int) -> dict[int, str]:
    if damage_at is None:
        return {}
    if isinstance(damage_at, Mapping):
        marks = {int(frame): str(word) for frame, word in damage_at.items()}
    else:
        marks = {int(frame): "damage" for frame in np.atleast_1d(np.asarray(damage_at))}
    for frame in marks:
        if not 0 <= frame < count:
            raise ValueError(f"animate: damage_at: found {frame}, allowed a frame index 0..{count - 1}")
    return marks


def _pictures(
    scene: Scene, frames: FloatArray, azimuths: Sequence[float], labels: Sequence[str | None], marks: Mapping[int, str],
    shown: int, footer: int, progress: bool,
) -> Iterator[Picture]:  # fmt: skip
    from tqdm.auto import tqdm

    paper = as_picture(scene.paper)
    previous: tuple[FloatArray, Picture] | None = None
    for index in tqdm(range(len(frames)), desc="film", unit="frame", disable=not progress):
        still = previous is not None and azimuths[index] == azimuths[index - 1]
        if previous is not None and still and np.array_equal(frames[index], previous[0]):
            picture = previous[1]  # a held frame is the same picture
        else:
            picture = scene.draw(frames[index], azimuths[index])
        previous = (frames[index], picture)
        sheet = np.empty((picture.shape[0] + footer, picture.shape[1], 3), np.uint8)
        sheet[:] = paper
        sheet[: picture.shape[0]] = picture
        word = next((word for at, word in marks.items() if at <= index < at + max(shown, 1)), None)
        yield _with_footer(sheet, footer, index, len(frames), labels[index], marks, word)


def _with_footer(
    sheet: Picture, footer: int, index: int, count: int, label: str | None, marks: Mapping[int, str], word: str | None
) -> Picture:
    """The sheet with counter, time line and damage marks drawn into its last `footer` rows."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    height, width = sheet.shape[:2]
    dark = float(sheet[-1, 0].mean()) < 128
    ink, faint = ((235, 235, 235), (80, 80, 80)) if dark else ((45, 45, 45), (222, 222, 222))
    font = ImageFont.load_default(size=footer * 0.42)
    left, right = round(width * 0.04), round(width * 0.96)
    line, thick = height - round(footer * 0.22), max(footer // 16, 2)
    base = height - round(footer * 0.62)
    if label:
        draw.text((left, base), label, fill=ink, font=font, anchor="lm")
    if word:
        draw.text((right, base), word, fill=DAMAGE_COLOUR, font=font, anchor="rm")
    span = (right - left) / max(count - 1, 1)
    draw.rectangle((left, line, right, line + thick - 1), fill=faint)
    if count > 1:
        draw.rectangle((left, line, round(left + index * span), line + thick - 1), fill=ink)
    for at in marks:
        x = round(left + at * span)
        draw.rectangle((x - 1, line - thick, x + 1, line + 2 * thick - 1), fill=DAMAGE_COLOUR)
    return np.asarray(image)
