"""A trajectory as one HTML file: play, pause, walk around it, slide through time."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visualize.clock import Damage, as_marks, as_steps, check_fps
from visualize.errors import ArgumentError
from visualize.frames import FloatArray, as_colour, as_frames, body_box, occupied
from visualize.viewer.page import check_page_path, packed, page, source, write_page

Bytes = NDArray[np.uint8]

SAMPLE = 200_000  # colours that a palette is chosen from
# What a page's data may weigh: so much, and more for each cell and frame. A body, not noise, stays far below in all colours.
ALWAYS, EACH = 18_000, 0.38
COARSER = ((255, 16), (127, 16), (63, 8), (31, 4), (15, 2), (7, 1), (3, 1))  # colours, levels of alpha


class _Packed(NamedTuple):
    data: str
    palette: list[list[int]]
    cells: int
    alphas: bool


def movie(
    frames: ArrayLike,
    path: str | os.PathLike[str],
    *,
    steps: Sequence[int] | None = None,
    damage_at: Damage | None = None,
    title: str = "Growth",
    fps: float = 12,
    legend: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a film as a page that opens offline in any browser with WebGL2; returns the path.

    Colours are kept as a palette of at most 255, fewer where a trajectory is so restless that the page would grow beyond
    about 5 MB for 64×64×64 cells and 48 frames.

    Args:
        frames: (T,D,H,W,4), straight RGBA 0..1 (or uint8); one frame is enough.
        path: where to, .html. The folder must exist.
        steps: (T,) numbers shown beside the title; default 0, 1, 2 …
        damage_at: index of the first frame after damage, several of them, or {index: word}.
        title: headline of the page.
        fps: frames a second, up to 60.
        legend: name → colour (CSS name, "#rrggbb" or three floats), shown beside the body.

    Raises:
        ValueError: an argument can't be used; one line says which. Nothing is written then.
    """
    file = check_page_path(path, "movie")
    checked = as_frames(frames, "movie")
    count = len(checked)
    marks = as_marks(damage_at, count, "movie")
    numbers = as_steps(steps, count, "movie") or list(range(count))
    rate = check_fps(fps, "movie")
    names, colours = names_and_colours(legend)
    data, palette, cells, alphas = _pack(checked)
    low, high = body_box(checked)
    film = {
        "title": str(title),
        "size": list(checked.shape[1:4]),
        "box": [low.tolist(), high.tolist()],
        "frames": count,
        "cells": cells,
        "palette": palette,
        "alphas": alphas,
        "steps": numbers,
        "marks": marks,
        "fps": rate,
        "names": names,
        "colours": colours,
    }
    html = page(
        str(title),
        [source(name) for name in ("volume.js", "parts.js", "movie.js")],
        {"film": film, "frames": data, "fragment": source("body.glsl")},
        'globalThis.movie = await playMovie(root, data("film"), text("frames"), text("fragment"));',
    )
    write_page(html, file)
    return file


def names_and_colours(legend: Mapping[str, Any] | None) -> tuple[list[str], list[list[int]]]:
    """A legend as the pages take it: names, and colours 0..255.

    Raises:
        ArgumentError: no mapping, or a colour that isn't known.
    """
    if legend is not None and not isinstance(legend, Mapping):
        raise ArgumentError("legend", "legend", type(legend).__name__, "a mapping of names to colours")
    legend = legend or {}
    colours = [np.round(255 * as_colour(colour, "legend")).astype(int).tolist() for colour in legend.values()]
    return list(legend), colours


def _pack(frames: FloatArray) -> _Packed:
    """The film's bytes: which cells ever live, then their colours and, if any is faint, their alphas; see `unpack` in movie.js.

    A cell's numbers in time lie together, each as the difference from the last: a body at rest is a row of zeros.
    """
    there = np.stack([occupied(frame) for frame in frames])
    ever = there.any(axis=0)
    shown = there[:, ever].T  # (cells, T)
    rgba = np.round(255 * np.moveaxis(frames[:, ever], 0, 1)).astype(np.uint8)
    mask = np.packbits(ever.ravel(), bitorder="little").tobytes()
    for colours, levels in COARSER:  # the first number is 255: colour 0 is "nothing there"
        palette, index = _quantised(rgba[..., :3], shown, colours)
        strength = _levels(rgba[..., 3], shown, levels)
        alphas = bool((strength < 255).any())
        planes: list[Bytes] = [index, strength] if alphas else [index]
        data = packed(mask + b"".join(_differences(plane) for plane in planes))
        if len(data) <= ALWAYS + EACH * there.size:
            break
    return _Packed(data, palette, int(ever.sum()), alphas)


def _levels(alpha: Bytes, shown: NDArray[np.bool_], levels: int) -> Bytes:
    """Alpha in so many levels up to 255, never 0 where something is seen; 255 where nothing is."""
    step = 255 / levels
    return np.where(shown, (np.ceil(np.maximum(alpha, 1) / step - 0.5).clip(1) * step).round(), 255).astype(np.uint8)


def _differences(plane: Bytes) -> bytes:
    """Each number (cells, T) less the one before it, modulo 256; the first as it is."""
    change = plane.copy()
    change[:, 1:] -= plane[:, :-1]
    return change.tobytes()


def _quantised(colours: Bytes, shown: NDArray[np.bool_], count: int) -> tuple[list[list[int]], Bytes]:
    """A palette of at most `count` colours, and for each cell and frame (cells, T) its number from 1, or 0 = nothing there."""
    from PIL import Image

    index = np.zeros(shown.shape, np.uint8)
    if not shown.any():
        return [], index
    seen = colours[shown]
    exact, inverse = np.unique(_codes(seen, 8), return_inverse=True)
    if len(exact) <= count:
        index[shown] = inverse + 1
        return np.stack([exact >> 16, exact >> 8 & 255, exact & 255], axis=1).tolist(), index
    # Cells count as often as they are seen, up to a sample: the palette is finest where the body is.
    strip = Image.fromarray(seen[:: len(seen) // SAMPLE + 1][None])
    table = strip.quantize(count, method=Image.Quantize.MEDIANCUT, kmeans=1).getpalette() or []
    palette = np.array(table, np.uint8).reshape(-1, 3)[:count]
    # Which colour of the palette is nearest is asked once for each of 32 × 32 × 32 boxes of colour.
    boxes = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32) * 8 + 4
    known = palette.astype(np.float32)
    nearest = (np.square(known).sum(axis=1) - 2 * boxes @ known.T).argmin(axis=1)
    index[shown] = nearest[_codes(seen, 5)] + 1
    return palette.tolist(), index


def _codes(colours: Bytes, bits: int) -> NDArray[np.int32]:
    """Red, green, blue (n,3) as one number, the high bits of each."""
    red, green, blue = (colours >> (8 - bits)).astype(np.int32).T
    return (red << 2 * bits) | (green << bits) | blue
