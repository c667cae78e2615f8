"""Light measured by rays in free space around a body: how much of the sky, and how much of the sun, each place sees."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visualize.frames import BoolArray, Box, FloatArray, occupied
from visualize.render.camera import Camera
from visualize.render.light import hemisphere, sun_fan
from visualize.render.march import Table, jump_table, march

REACH = 8.0  # cells: what is farther away hides no sky from a skin
SHELL = 2  # cells around the body in which the light is measured
FLOOR_SUN = 0.30  # radians: the shadow on the floor is softer than the one on the body
GOLDEN = np.pi * (3 - np.sqrt(5))
WALL, FREE = 0.28, 0.62  # shares of all directions that are free in a deep hollow and above a flat wall


class Sky(NamedTuple):
    """Light of each cell near a body: (...,3) openness, sunlit share and 1, all 0 where nothing was measured."""

    light: FloatArray


def measure_sky(solid: BoolArray, camera: Camera, budget: int) -> Sky:
    """Openness and sunlit share (0..1) of the free cells around a body.

    Args:
        solid: (nx,ny,nz), the body with at least `SHELL` free cells around it.
        camera: the sun turns with it.
        budget: rays in all; each place gets 16..96.
    """
    table = jump_table(solid)
    places = np.argwhere((table > 0) & (table <= SHELL))
    points = (places + 0.5).astype(np.float32)
    rays = int(np.clip(budget // max(len(places), 1) * 3 // 4, 16, 96))
    half = hemisphere_even(rays // 2)
    directions = np.concatenate([half, -half])
    hits = march(table, points.repeat(len(directions), 0), np.tile(directions, (len(points), 1)), REACH)
    seen = np.where(hits.hit, np.minimum(hits.distance / REACH, 1) ** 0.7, 1).reshape(len(points), -1).mean(axis=1)
    light = np.zeros((*solid.shape, 3), np.float32)
    where = tuple(places.T)
    light[where] = np.column_stack(
        [np.clip((seen - WALL) / (FREE - WALL), 0, 1), sunlit(table, points, camera, max(rays // 3, 6)), np.ones(len(points))]
    )
    return Sky(light)


def hemisphere_even(count: int) -> FloatArray:
    """Unit vectors (count, 3) spread evenly over the half sphere around +z."""
    height = (np.arange(count) + 0.5) / count
    turn = np.arange(count) * GOLDEN
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1).astype(np.float32)


def sunlit(table: Table, points: FloatArray, camera: Camera, rays: int, spread: float = 0.16) -> FloatArray:
    """Share (n,) of the sun's disc, `spread` radians in radius, that points (n,3) see, in the table's cells."""
    fan = sun_fan(camera, rays, spread)
    hits = march(table, points.repeat(rays, 0), np.tile(fan, (len(points), 1)))
    return 1 - hits.hit.reshape(-1, rays).mean(axis=1, dtype=np.float32)


def floor_shade(camera: Camera, box: Box, rgba: FloatArray, reach: int, fineness: int, budget: int) -> FloatArray:
    """Darkness (rows, columns) of the floor at `fineness` samples a cell, 0..1, `reach` cells beyond the lattice.

    Args:
        camera: the sun turns with it.
        box: its foot is the floor.
        rgba: checked frame (D,H,W,4) with at least one occupied cell.
        reach: how far the floor goes beyond the body, in cells.
        fineness: samples of the floor a cell.
        budget: rays in all.
    """
    body = np.ascontiguousarray(occupied(rgba).transpose(2, 1, 0))
    table = jump_table(body)
    filled = np.argwhere(body)
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    width, height = body.shape[:2]
    # The grid is as coarse as the budget asks; between its samples the shade is linear.
    area = (width + 2 * reach) * (height + 2 * reach)
    pitch = max(1 / fineness, float(np.sqrt(area * 24 / budget)))
    x = np.arange(pitch / 2, width + 2 * reach, pitch) - reach
    y = np.arange(pitch / 2, height + 2 * reach, pitch) - reach
    across, along = np.meshgrid(x, y)
    points = np.stack([across.ravel(), along.ravel(), np.full(across.size, box[0][2] - 0.02)], axis=1).astype(np.float32)
    rays = int(np.clip(budget // len(points), 16, 96))
    sky = hemisphere(rays * 2 // 3)
    # Each place turns the same few directions by an angle of its own: what would be rings is grain, and blurred away.
    turn = (np.arange(len(points), dtype=np.float32) * np.float32(GOLDEN)) % np.float32(2 * np.pi)
    cosine, sine = np.cos(turn)[:, None], np.sin(turn)[:, None]
    turned = np.stack(
        [cosine * sky[:, 0] - sine * sky[:, 1], sine * sky[:, 0] + cosine * sky[:, 1], 0 * turn[:, None] + sky[:, 2]], axis=2
    )
    hits = march(table, points.repeat(len(sky), 0), turned.reshape(-1, 3).astype(np.float32))
    far = np.float32(4 + max(*high - low))
    dark = np.where(hits.hit, np.clip(1 - hits.distance / far, 0, 1) ** 2, 0).reshape(-1, len(sky)).mean(axis=1)
    shade = 1.1 * dark + 0.4 * (1 - sunlit(table, points, camera, rays - len(sky), FLOOR_SUN))
    grid = blur(shade.reshape(across.shape).astype(np.float32), max(0.6 / pitch, 0.8))
    grid *= _taper(y + reach, height + 2 * reach, reach)[:, None] * _taper(x + reach, width + 2 * reach, reach)
    rows = _spread(len(y), pitch, (height + 2 * reach) * fineness, fineness)
    columns = _spread(len(x), pitch, (width + 2 * reach) * fineness, fineness)
    return np.asarray(rows @ grid @ columns.T, np.float32)


def _taper(at: NDArray[np.floating], length: float, reach: float) -> FloatArray:
    """Shares (n,) that fall smoothly to 0 at both ends of a floor, so that no shadow is cut off."""
    share = np.clip(np.minimum(at, length - at) / (0.9 * reach), 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def _spread(count: int, pitch: float, samples: int, fineness: int) -> FloatArray:
    """Matrix (samples, count) that interpolates linearly from a coarse row of samples to a fine one."""
    at = np.clip(((np.arange(samples) + 0.5) / fineness) / pitch - 0.5, 0, count - 1)
    matrix: FloatArray = np.clip(1 - np.abs(at[:, None] - np.arange(count)), 0, 1).astype(np.float32)
    return matrix


def blur(plane: FloatArray, spread: float) -> FloatArray:
    """A Gaussian blur of a plane (h, w), one axis after the other."""
    half = int(np.ceil(2.5 * spread))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / spread) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.moveaxis(np.pad(plane, [(half, half) if axis == a else (0, 0) for a in (0, 1)]), axis, 0)
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0)
        plane = np.moveaxis(windows @ kernel.astype(np.float32), 0, axis)
    return plane
