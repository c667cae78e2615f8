"""The stage under a body: paper, a quiet outline of the floor and the body's soft shadow on it."""

import numpy as np

from visualize.frames import Box, FloatArray, is_dark, occupied
from visualize.render.camera import Camera
from visualize.render.quality import FAST, Quality
from visualize.render.sky import blur, floor_shade

SKIRT = 1.0  # cells of floor around the foot of the body's box
FINENESS = 3  # samples a cell of the shadow
DARKEST = 0.42


def draw_stage(
    camera: Camera, box: Box, rgba: FloatArray | None, paper: FloatArray, ground: bool, quality: Quality = FAST
) -> FloatArray:
    """The picture (h,w,3) behind a body, in 0..1: what a frame without any cell looks like.

    Args:
        camera: who looks.
        box: low and high corner of the film's bodies; the floor lies at its foot.
        rgba: checked frame (D,H,W,4) that throws the shadow; None throws none.
        paper: background colour (3,).
        ground: draw floor and shadow; from below there is none.
        quality: guess the shadow, or measure it by rays.
    """
    width, height = camera.size
    picture = np.broadcast_to(paper, (height, width, 3)).astype(np.float32)
    if not ground or camera.elevation <= 2:
        return picture
    ink = np.float32(1.0 if is_dark(paper) else 0.0)
    line = _outline(camera, box)[..., None] * np.float32(0.16)
    picture = picture * (1 - line) + ink * line
    if rgba is not None and occupied(rgba).any():
        picture *= 1 - _shadow(camera, box, rgba, quality)[..., None]
    return picture


def _pixels(camera: Camera) -> tuple[FloatArray, FloatArray]:
    width, height = camera.size
    row, column = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    return column.ravel().astype(np.float32), row.ravel().astype(np.float32)


def _outline(camera: Camera, box: Box) -> FloatArray:
    """Coverage (h,w) of a thin line around the floor, one pixel wide at 480."""
    (x0, y0, z), (x1, y1, _) = box
    corners = [
        [x0 - SKIRT, y0 - SKIRT, z],
        [x1 + SKIRT, y0 - SKIRT, z],
        [x1 + SKIRT, y1 + SKIRT, z],
        [x0 - SKIRT, y1 + SKIRT, z],
    ]
    points = camera.project(np.array(corners, np.float32))
    column, row = _pixels(camera)
    half = max(camera.size[1] / 480, 0.8) / 2
    nearest = np.full(column.shape, np.inf, np.float32)
    for start, stop in zip(points, np.roll(points, -1, axis=0), strict=True):
        edge = stop - start
        share = ((column - start[0]) * edge[0] + (row - start[1]) * edge[1]) / max(float(edge @ edge), 1e-6)
        share = np.clip(share, 0, 1)
        nearest = np.minimum(nearest, np.hypot(column - start[0] - share * edge[0], row - start[1] - share * edge[1]))
    return np.clip(half + 0.5 - nearest, 0, 1).reshape(camera.size[1], camera.size[0])


def _shadow(camera: Camera, box: Box, rgba: FloatArray, quality: Quality) -> FloatArray:
    """Darkness (h,w) of the floor under a body, as if the sky were a wide lamp: the nearer, the sharper and darker."""
    floor = float(box[0][2])
    reach = 4 + int(0.25 * max(rgba.shape[1:3]))
    if quality.floor_rays:
        reach = 4 + int(0.6 * max(rgba.shape[:3]))
        dark = floor_shade(camera, box, rgba, reach, FINENESS, quality.floor_rays)
    else:
        dark = _guessed_shade(floor, rgba, reach)
    column, row = _pixels(camera)
    rays, eye = camera.rays(column, row), camera.position
    down = np.minimum(rays[:, 2], -1e-4)
    length = (floor - eye[2]) / down
    x = (eye[0] + length * rays[:, 0] + reach) * FINENESS - 0.5
    y = (eye[1] + length * rays[:, 1] + reach) * FINENESS - 0.5
    shade = np.where(rays[:, 2] < 0, _bilinear(dark, y, x), 0)
    return (DARKEST * shade).reshape(camera.size[1], camera.size[0]).astype(np.float32)


def _guessed_shade(floor: float, rgba: FloatArray, reach: int) -> FloatArray:
    """Darkness of the floor at `FINENESS` samples a cell, `reach` cells beyond the lattice: blurred layers of the body."""
    cells = occupied(rgba).astype(np.float32)
    rows, columns = cells.shape[1:]
    dark = np.zeros(((rows + 2 * reach) * FINENESS, (columns + 2 * reach) * FINENESS), np.float32)
    layers = np.flatnonzero(cells.any(axis=(1, 2)))
    for band in np.array_split(layers, min(len(layers), 8)):
        above = max(float(band.mean()) - floor, 0.0)
        patch = np.pad(cells[band].max(axis=0), reach).repeat(FINENESS, 0).repeat(FINENESS, 1)
        spread = min(0.7 + 0.35 * above, reach / 2) * FINENESS
        dark = 1 - (1 - dark) * (1 - blur(patch, spread) * np.float32(0.75 / (1 + 0.22 * above)))
    return dark


def _bilinear(plane: FloatArray, row: FloatArray, column: FloatArray) -> FloatArray:
    """Values of a plane between its samples; zero outside."""
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    inside = (top >= 0) & (left >= 0) & (top < plane.shape[0] - 1) & (left < plane.shape[1] - 1)
    top, left = np.where(inside, top, 0), np.where(inside, left, 0)
    down, across = row - top, column - left
    upper = plane[top, left] * (1 - across) + plane[top, left + 1] * across
    lower = plane[top + 1, left] * (1 - across) + plane[top + 1, left + 1] * across
    return np.asarray(np.where(inside, upper * (1 - down) + lower * down, 0), np.float32)
