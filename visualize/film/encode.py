"""Film files: mp4 through ffmpeg, gif and webp through Pillow; written beside and renamed: no half film is left."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualize.errors import ArgumentError
from visualize.files import atomic_file, room_for, writable
from visualize.film.mp4 import has_ffmpeg, write_mp4
from visualize.frames import Picture

Colour = tuple[int, int, int]
SUFFIXES = (".mp4", ".gif", ".webp")
MOST_KEPT = 128  # entries of a GIF's 256
WEBP_METHOD = 2  # of 0..6: a fifth smaller than 0 for half as much time again; above it little is won


def check_film_path(path: str | os.PathLike[str], where: str = "animate") -> Path:
    """The path, if a film can be written there; `where` says who asks, for errors.

    Raises:
        ValueError: the suffix isn't known, nothing can be written there, or ffmpeg is needed and missing.
    """
    film = writable(path, where, SUFFIXES)
    if film.suffix.lower() == ".mp4" and not has_ffmpeg():
        raise ArgumentError(where, "path", ".mp4 without imageio-ffmpeg (extra 'viz')", ".gif or .webp here")
    return film


def write_film(
    pictures: Iterable[Picture], path: Path, fps: float, keep: Sequence[Colour] = (), where: str = "animate"
) -> None:
    """Writes pictures (h,w,3), all of one even size, as a film that loops; the suffix says how.

    Args:
        pictures: the frames, drawn as they are asked for.
        path: checked by `check_film_path`.
        fps: frames a second.
        keep: colours that a GIF's palette must hold as they are, rare as they may be; 128 at most.
        where: who asks, for errors.

    Raises:
        ValueError: there is no room for the film; what was there before is kept.
    """
    writers: dict[str, Callable[[Iterator[Picture], Path, float], None]] = {
        ".mp4": write_mp4,
        ".gif": partial(_write_gif, keep=keep),
        ".webp": _write_webp,
    }
    with room_for(path, where), atomic_file(path) as half:
        writers[path.suffix.lower()](iter(pictures), half, fps)


def _write_gif(pictures: Iterator[Picture], path: Path, fps: float, keep: Sequence[Colour]) -> None:
    from PIL import Image

    frames = list(pictures)
    palette = _palette(frames, keep)
    nearest = _nearest(frames, palette)
    images = []
    for frame in frames:
        image = Image.fromarray(nearest[_packed(frame)])
        image.putpalette(palette.ravel().tolist())
        images.append(image)
    images[0].save(path, "GIF", save_all=True, append_images=images[1:], duration=_milliseconds(fps, 10), loop=0)


def _palette(frames: Sequence[Picture], keep: Sequence[Colour]) -> Picture:
    """One palette (n,3) for all frames, taken from a few of them: a palette a frame would flicker and weigh more."""
    from PIL import Image

    kept = np.array(list(dict.fromkeys(keep))[:MOST_KEPT], np.uint8).reshape(-1, 3)
    chosen = np.unique(np.linspace(0, len(frames) - 1, 9).astype(int))
    pixels = np.concatenate([frames[index][::2, ::2].reshape(-1, 3) for index in chosen])
    known = np.zeros(1 << 24, bool)  # what is kept as it is needs no other entry
    known[_packed(kept)] = True
    rest = pixels[~known[_packed(pixels)]]
    if not len(rest):
        return kept if len(kept) else pixels[:1]
    sheet = Image.fromarray(np.resize(rest, (-(-len(rest) // 256), 256, 3)))
    found = sheet.quantize(256 - len(kept), method=Image.Quantize.MAXCOVERAGE, kmeans=3)
    colours = np.array(found.getpalette() or [], np.uint8).reshape(-1, 3)[: 256 - len(kept)]
    return np.concatenate([kept, colours])


def _nearest(frames: Sequence[Picture], palette: Picture) -> NDArray[np.uint8]:
    """For each packed colour of the frames its palette entry, exactly: Pillow's own search lets white paper turn grey."""
    seen = np.zeros(1 << 24, bool)
    for frame in frames:
        seen[_packed(frame)] = True
    colours = np.flatnonzero(seen)
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.float32)
    entries = palette.astype(np.float32)
    lengths = (entries**2).sum(axis=1)
    table = np.zeros(1 << 24, np.uint8)
    for start in range(0, len(colours), 1 << 14):
        some = slice(start, start + (1 << 14))
        table[colours[some]] = (lengths - 2 * parts[some] @ entries.T).argmin(axis=1)
    return table


def _packed(colours: Picture) -> NDArray[np.uint32]:
    """Colours (...,3) as single numbers."""
    wide = colours.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], np.uint32)


def _write_webp(pictures: Iterator[Picture], path: Path, fps: float) -> None:
    from PIL import Image

    first, *rest = (Image.fromarray(picture) for picture in pictures)
    duration = _milliseconds(fps, 1)
    first.save(path, "WEBP", save_all=True, append_images=rest, duration=duration, loop=0, quality=88, method=WEBP_METHOD)


def _milliseconds(fps: float, unit: int) -> int:
    return max(round(1000 / fps / unit) * unit, unit)
