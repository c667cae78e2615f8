"""Axes around a body: x and y along the floor, z along one upright edge, with ticks and numbers of cells.

They lie on the edges of the box that are its outline in the picture, so that the body never hides them.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from visualize.frames import Box, FloatArray, Picture
from visualize.render.camera import Camera
from visualize.render.legend import inks
from visualize.render.lettering import load_font
from visualize.render.stage import SKIRT

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

TICK, LABEL, NAME = 0.45, 1.3, 2.5  # distances from the axis, in heights of a letter
ROOM = 3.1  # heights of a letter around the box that the axes need
SPACING = 2.6  # heights of a letter between two numbers at least
SHORTEST = 2.5  # heights of a letter: an axis seen from its end is left out
APART = 0.1  # heights of a letter around each text that no other comes into
SMOOTH = 4  # lines are drawn larger and shrunk


def axes_margin(size: tuple[int, int], letter: float) -> float:
    """Free border that axes need, as a fraction of half the picture; at most a half. `letter` is in pixels."""
    return min(2 * ROOM * letter / min(size), 0.5)


def draw_axes(picture: Picture, camera: Camera, box: Box, paper: FloatArray, letter: float) -> Picture:
    """The picture (h,w,3) with the axes of a box (low, high corner in cells) drawn over it, in letters of some pixels."""
    from PIL import Image, ImageDraw

    lines: list[tuple[FloatArray, FloatArray]] = []
    texts: list[tuple[FloatArray, str]] = []
    middle = camera.project((np.add(*box) / 2)[None])[0]
    for axis, edge in enumerate(_edges(camera, box)):
        first, last = camera.project(edge)
        along = last - first
        length = float(np.hypot(*along))
        if not np.isfinite(length) or length < SHORTEST * letter:
            continue
        out = np.array([-along[1], along[0]]) / length
        if out @ (first + along / 2 - middle) < 0:
            out = -out
        lines.append((first, last))
        for cell in _ticks(float(edge[0, axis]), float(edge[1, axis]), length / letter):
            place = edge[0].copy()
            place[axis] = cell
            at = camera.project(place[None])[0]
            lines.append((at, at + TICK * letter * out))
            texts.append((at + LABEL * letter * out, f"{cell:g}"))
        texts.append((first + along / 2 + NAME * letter * out, "xyz"[axis]))
    image = Image.fromarray(picture)
    ink, _ = inks(paper)
    width, height = image.size
    mask = Image.new("L", (SMOOTH * width, SMOOTH * height))
    pen = ImageDraw.Draw(mask)
    for start, stop in lines:
        pen.line([*(SMOOTH * start), *(SMOOTH * stop)], fill=190, width=max(round(SMOOTH * height / 480), SMOOTH))
    image.paste(ink, mask=mask.resize((width, height), Image.Resampling.BOX))
    draw, font = ImageDraw.Draw(image), load_font(letter)
    for place, text in _apart(texts, font, APART * letter):
        draw.text((float(place[0]), float(place[1])), text, fill=ink, font=font, anchor="mm")
    return np.asarray(image)


def _apart(texts: Sequence[tuple[FloatArray, str]], font: "FreeTypeFont", gap: float) -> list[tuple[FloatArray, str]]:
    """The texts that don't run into each other: names of axes before numbers, the first before the next."""
    kept: list[int] = []
    boxes: list[tuple[float, float, float, float]] = []
    for index in sorted(range(len(texts)), key=lambda index: texts[index][1] not in "xyz"):
        place, text = texts[index]
        left, top, right, bottom = font.getbbox(text, anchor="mm")
        x, y = float(place[0]), float(place[1])
        box = (x + left - gap, y + top - gap, x + right + gap, y + bottom + gap)
        if all(box[0] >= b[2] or box[2] <= b[0] or box[1] >= b[3] or box[3] <= b[1] for b in boxes):
            kept.append(index)
            boxes.append(box)
    return [texts[index] for index in sorted(kept)]


def _edges(camera: Camera, box: Box) -> list[FloatArray]:
    """For x, y and z the ends (2,3) of the edge that carries the axis: outline, on the floor if it can, else on top."""
    low, high = (corner.astype(float) for corner in box)
    corners = np.array(list(itertools.product(*zip(low, high, strict=True))))
    wide = [(low[0] - SKIRT, high[0] + SKIRT), (low[1] - SKIRT, high[1] + SKIRT), (low[2], high[2])]
    found = []
    for axis in range(3):
        others = [wide[other] for other in range(3) if other != axis]
        edges = []
        for place in itertools.product(*others):
            edge = np.empty((2, 3), np.float32)
            edge[:, [other for other in range(3) if other != axis]] = place
            edge[:, axis] = low[axis], high[axis]
            edges.append(edge)
        found.append(max(edges, key=functools.partial(_rank, camera, corners, axis)))
    return found


def _rank(camera: Camera, corners: FloatArray, axis: int, edge: FloatArray) -> tuple[bool, float, float]:
    """How well an edge carries its axis: outline first, then the floor, then low on the screen (z: to the left)."""
    first, last = camera.project(edge)
    along = last - first
    across = (camera.project(corners) - first) @ np.array([-along[1], along[0]])
    outline = bool((across >= 0).all() or (across <= 0).all())
    if axis == 2:
        return outline, 0.0, -float(first[0] + last[0])
    return outline, -float(edge[0, 2]), float(first[1] + last[1])


def _ticks(low: float, high: float, letters: float) -> list[float]:
    """Round numbers of cells from low to high, as many as fit on an axis that is `letters` heights of a letter long."""
    pitch = next(
        step * 10**power
        for power in range(6)
        for step in (1, 2, 5)
        if step * 10**power / max(high - low, 1e-6) * letters >= SPACING or step * 10**power > 99_999
    )
    start = math.ceil(low / pitch - 1e-6)
    return [float(pitch * number) for number in range(start, math.floor(high / pitch + 1e-6) + 1)]
