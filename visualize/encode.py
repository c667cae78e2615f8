"""Film files: mp4 through imageio-ffmpeg, gif and webp through Pillow; written beside and renamed: no half film is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visualize.frames import Picture

if TYPE_CHECKING:
    from PIL import Image

Colour = tuple[int, int, int]
SUFFIXES = (".mp4", ".gif", ".webp")
CRF = 18  # x264's constant rate factor: visually lossless


def check_film_path(path: str | os.PathLike[str]) -> Path:
    """The path, if a film can be written there.

    Raises:
        ValueError: the suffix isn't known, the folder is missing, or ffmpeg is needed and missing.
    """
    film = Path(path)
    if film.suffix.lower() not in SUFFIXES:
        raise ValueError(f"animate: path: found suffix {film.suffix!r}, allowed {', '.join(SUFFIXES)}")
    if not film.parent.is_dir():
        raise ValueError(f"animate: path: found missing folder {film.parent}, allowed an existing folder")
    if film.suffix.lower() == ".mp4" and not has_ffmpeg():
        raise ValueError("animate: path: found .mp4 without imageio-ffmpeg (extra 'viz'), allowed .gif or .webp here")
    return film


def has_ffmpeg() -> bool:
    """Whether imageio-ffmpeg and its program are there."""
    try:
        import imageio_ffmpeg

        return bool(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return False


def write_film(pictures: Iterable[Picture], path: Path, fps: float, keep: Sequence[Colour] = ()) -> None:
    """Writes pictures (h,w,3), all of one even size, as a film that loops; the suffix says how.

    Args:
        pictures: the frames, drawn as they are asked for.
        path: checked by `check_film_path`.
        fps: frames a second.
        keep: colours that a GIF's palette must hold as they are, rare as they may be.
    """
    writers: dict[str, Callable[[Iterator[Picture], Path, float], None]] = {
        ".mp4": _write_mp4, ".gif": partial(_write_gif, keep=keep), ".webp": _write_webp,
    }  # fmt: skip
    beside = path.with_name(f".{path.stem}.tmp-{os.getpid()}{path.suffix}")
    try:
        writers[path.suffix.lower()](iter(pictures), beside, fps)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _write_mp4(pictures: Iterator[Picture], path: Path, fps: float) -> None:
    import imageio_ffmpeg

    first = next(pictures)
    height, width = first.shape[:2]
    stream = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=fps, codec="libx264", pix_fmt_in="rgb24", pix_fmt_out="yuv420p",
        macro_block_size=2, ffmpeg_log_level="error", quality=None,
        output_params=["-crf", str(CRF), "-preset", "medium", "-movflags", "+faststart", "-threads", "2"],
    )  # fmt: skip
    try:
        stream.send(None)
        stream.send(np.ascontiguousarray(first))
        for picture in pictures:
            stream.send(np.ascontiguousarray(picture))
    finally:
        stream.close()


def _images(pictures: Iterator[Picture]) -> list[Image.Image]:
    from PIL import Image

    return [Image.fromarray(picture) for picture in pictures]


def _write_gif(pictures: Iterator[Picture], path: Path, fps: float, keep: Sequence[Colour]) -> None:
    from PIL import Image

    images = _images(pictures)
    # One palette for all frames, taken from a sheet of a few of them: a palette a frame would flicker and weigh more.
    chosen = [images[i] for i in np.unique(np.linspace(0, len(images) - 1, 9).astype(int))]
    sheet = Image.fromarray(np.concatenate([np.asarray(image) for image in chosen]))
    palette = sheet.quantize(256 - len(keep), method=Image.Quantize.MEDIANCUT)
    colours = np.array(palette.getpalette(), np.int16).reshape(-1, 3)[: 256 - len(keep)]
    for colour in keep:  # what is nearly a kept colour becomes it: white paper must not turn grey
        colours[np.abs(colours - np.array(colour)).max(axis=1) <= 5] = colour
    palette.putpalette([*colours.ravel().tolist(), *(part for colour in keep for part in colour)])
    shared = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    shared[0].save(path, "GIF", save_all=True, append_images=shared[1:], duration=_milliseconds(fps, 10), loop=0)


def _write_webp(pictures: Iterator[Picture], path: Path, fps: float) -> None:
    first, *rest = _images(pictures)
    first.save(path, "WEBP", save_all=True, append_images=rest, duration=_milliseconds(fps, 1), loop=0, quality=88)


def _milliseconds(fps: float, unit: int) -> int:
    return max(round(1000 / fps / unit) * unit, unit)
