"""Fields between their samples, and where rays meet a level of them: long jumps, short steps, halving at the end."""

import numpy as np

from visualize.frames import BoolArray, FloatArray
from visualize.render.camera import Camera
from visualize.render.march import enter, jump_table

STEP = 0.6  # samples between two looks at the field near its level


def sample(field: FloatArray, points: FloatArray, crisp: bool = False) -> FloatArray:
    """Trilinear values (n,...) of a field at points (n,3), sample i at i + 0.5; clamped at the border.

    `crisp` makes the passage from one sample to the next shorter, so that tissues meet at a line.
    """
    steps = (field.shape[1] * field.shape[2], field.shape[2], 1)
    start = np.zeros(len(points), np.int32)
    shares = []
    for axis, step in enumerate(steps):
        along = np.clip(points[:, axis] - np.float32(0.5), 0, np.float32(field.shape[axis] - 1.001))
        base = along.astype(np.int32)
        share = along - base
        if crisp:
            share = share * share * (3 - 2 * share)
        shares.append(share.reshape(-1, *[1] * (field.ndim - 3)))
        start += base * np.int32(step)
    flat = field.reshape(-1, *field.shape[3:])
    # Halve the eight corners axis by axis: z first, then y, then x.
    corners = [flat[start + (x * steps[0] + y * steps[1] + z)] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    for share in reversed(shares):
        corners = [low + (high - low) * share for low, high in zip(corners[::2], corners[1::2], strict=True)]
    return np.asarray(corners[0], np.float32)


def rim(body: BoolArray) -> BoolArray:
    """Pixels (h,w) with a neighbour on the other side of a silhouette."""
    found = np.zeros_like(body)
    for axis in (0, 1):
        along, mark = np.moveaxis(body, axis, 0), np.moveaxis(found, axis, 0)
        change = along[1:] ^ along[:-1]
        mark[1:] |= change
        mark[:-1] |= change
    return found


class Tracer:
    """Finds where a camera's rays first meet a level of a field.

    Args:
        density: (nx,ny,nz), below half the level at its border.
        level: what counts as inside.
        camera: whose rays.
        offset: (3,) where the field begins, in world axes.
        fine: samples for one unit of the world.
    """

    def __init__(self, density: FloatArray, level: float, camera: Camera, offset: FloatArray, fine: int) -> None:
        self._density, self._level, self._camera = density, level, camera
        candidates = density > 0.5 * level
        for axis in range(3):
            along = np.moveaxis(candidates, axis, 0)
            grown = along.copy()
            grown[1:] |= along[:-1]
            grown[:-1] |= along[1:]
            candidates = np.moveaxis(grown, 0, axis)
        self._table = jump_table(np.ascontiguousarray(candidates))
        self._eye = (camera.position - offset) * np.float32(fine)

    def __call__(self, column: FloatArray, row: FloatArray) -> tuple[BoolArray, FloatArray]:
        """Which image points (n,) see it, and the points (m,3) of the field where they do."""
        rays, density = self._camera.rays(column, row), self._density
        rays = np.where(np.abs(rays) < 1e-7, np.float32(1e-7), rays)
        near, far, _ = enter(density.shape, self._eye[None], rays)
        reached = np.full(len(rays), np.inf, np.float32)
        live = np.flatnonzero(near < far)
        distance, leave, ray = near[live] + np.float32(1e-3), far[live], rays[live]
        flat, last = self._table.reshape(-1), np.array(density.shape, np.int32) - 1
        while live.size:
            point = self._eye + distance[:, None] * ray
            cell = np.minimum(np.maximum(point, 0).astype(np.int32), last)
            jump = flat[(cell[:, 0] * density.shape[1] + cell[:, 1]) * density.shape[2] + cell[:, 2]]
            inside = np.flatnonzero(jump == 0)
            found = inside[sample(density, point[inside]) > self._level]
            reached[live[found]] = distance[found]
            keep = distance + np.maximum(jump.astype(np.float32) - 1, np.float32(STEP)) < leave
            keep[found] = False
            distance = distance + np.maximum(jump.astype(np.float32) - 1, np.float32(STEP))
            live, distance, leave, ray = live[keep], distance[keep], leave[keep], ray[keep]
        met = np.isfinite(reached)
        return met, self._refined(reached[met], rays[met])

    def _refined(self, above: FloatArray, rays: FloatArray) -> FloatArray:
        """Points (n,3) on the level; `above` is a distance inside it, a step behind it is outside."""
        below = above - np.float32(STEP)
        for _ in range(5):
            middle = np.float32(0.5) * (above + below)
            solid = sample(self._density, self._eye + middle[:, None] * rays) > self._level
            above, below = np.where(solid, middle, above), np.where(solid, below, middle)
        return np.asarray(self._eye + above[:, None] * rays, np.float32)
