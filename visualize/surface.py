"""A smooth skin around the cells: a softened alpha field, its level set, its normals and colours.

The field lives at twice the lattice's fineness. Its normals come from a softer copy, so that the skin looks smooth
although the field is only trilinear between samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from visualize.camera import Camera
from visualize.frames import BoolArray, FloatArray, occupied
from visualize.light import brightness, lit, on_paper, sun_direction
from visualize.march import IntArray, enter, jump_table

LEVEL = 0.30  # low enough that one cell alone still has a skin
FINE = 2  # samples a cell
PAD = 4  # free samples around the body
GLOSS = 0.10


class Field(NamedTuple):
    """The skin's fields, indexed [x,y,z] at fine samples; sample i lies at (i + 0.5) / FINE + offset in the lattice."""

    density: FloatArray
    slope: FloatArray  # (...,3) gradient of the softer copy
    rgba: FloatArray  # (...,4) premultiplied
    openness: FloatArray  # how free of body the wider surroundings are, 0..1
    table: IntArray  # jumps over what can't hold skin
    offset: FloatArray


def build_field(rgba: FloatArray) -> Field:
    """The fields of one checked frame (D,H,W,4) with at least one occupied cell."""
    body = occupied(rgba).transpose(2, 1, 0)
    filled = np.argwhere(body)
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    crop = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    cells = np.where(occupied(rgba)[..., None], rgba, 0).transpose(2, 1, 0, 3)[crop].copy()
    cells[..., :3] *= cells[..., 3:]
    solid = body[crop].astype(np.float32)[..., None]
    fine = np.concatenate([cells, solid], axis=3)
    for axis in range(3):
        fine = fine.repeat(FINE, axis=axis)
    fine = _soften(np.pad(fine, [(PAD, PAD)] * 3 + [(0, 0)]).astype(np.float32), 1)
    density = np.ascontiguousarray(fine[..., 4])
    softer = _soften(density, 2)
    slope = np.stack([np.gradient(softer, axis=axis) for axis in range(3)], axis=-1).astype(np.float32)
    crowd = _soften(softer, 6)
    candidates = density > 0.5 * LEVEL
    for axis in range(3):
        candidates |= np.roll(candidates, 1, axis) | np.roll(candidates, -1, axis)
    offset = (low - PAD / FINE).astype(np.float32)
    return Field(density, slope, fine[..., :4], np.clip(1.25 - 1.15 * crowd, 0.25, 1), jump_table(candidates), offset)


def _soften(field: FloatArray, rounds: int) -> FloatArray:
    """A field after rounds of the binomial filter (1,2,1)/4 on each axis."""
    for _ in range(rounds):
        for axis in range(3):
            along = np.moveaxis(field, axis, 0)
            inner = 0.5 * along
            inner[1:] += 0.25 * along[:-1]
            inner[:-1] += 0.25 * along[1:]
            field = np.moveaxis(inner, 0, axis)
    return np.ascontiguousarray(field)


def sample(field: FloatArray, points: FloatArray) -> FloatArray:
    """Trilinear values (n,...) of a field at fine points (n,3), sample i at i + 0.5; clamped at the border."""
    steps = (field.shape[1] * field.shape[2], field.shape[2], 1)
    start = np.zeros(len(points), np.int32)
    shares = []
    for axis, step in enumerate(steps):
        along = np.clip(points[:, axis] - np.float32(0.5), 0, np.float32(field.shape[axis] - 1.001))
        base = along.astype(np.int32)
        shares.append((along - base).reshape(-1, *[1] * (field.ndim - 3)))
        start += base * np.int32(step)
    flat = field.reshape(-1, *field.shape[3:])
    # Halve the eight corners axis by axis: z first, then y, then x.
    corners = [flat[start + (x * steps[0] + y * steps[1] + z)] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    for share in reversed(shares):
        corners = [low + (high - low) * share for low, high in zip(corners[::2], corners[1::2], strict=True)]
    return np.asarray(corners[0], np.float32)


def skin_colours(field: Field, points: FloatArray, camera: Camera, paper: FloatArray) -> FloatArray:
    """Lit sRGB colours (n,3) of skin at fine points (n,3): sun, sky, hollows a little darker, a soft gloss."""
    slope = sample(field.slope, points)
    normal = -slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
    openness = sample(field.openness, points + 2.5 * normal)
    sun = sun_direction(camera)
    light = brightness(normal, openness, openness, sun)
    rgba = sample(field.rgba, points)
    solid = np.maximum(sample(field.density, points), 1e-4)
    alpha = np.clip(rgba[:, 3] / solid, 0, 1)
    straight = np.clip(rgba[:, :3] / np.maximum(rgba[:, 3:], 1e-4), 0, 1)
    colour = lit(on_paper(np.column_stack([straight, alpha]), paper), light)
    seen = field_points(field, points) - camera.position
    halfway = sun - seen / np.linalg.norm(seen, axis=1, keepdims=True)
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    gloss = GLOSS * np.clip((normal * halfway).sum(axis=1), 0, 1) ** 24 * openness
    return np.clip(colour + gloss[:, None], 0, 1)


def field_points(field: Field, points: FloatArray) -> FloatArray:
    """World points (n,3) of fine points (n,3)."""
    return points / np.float32(FINE) + field.offset


def draw_surface(rgba: FloatArray, camera: Camera, stage: FloatArray, paper: FloatArray) -> FloatArray:
    """One frame (D,H,W,4) as a smooth skin over its stage (h,w,3), all in 0..1, by rays in plain numpy."""
    field = build_field(rgba)
    width, height = camera.size
    row, column = np.indices((height, width), dtype=np.float32).reshape(2, -1) + np.float32(0.5)
    picture = stage.reshape(-1, 3).copy()
    met = _shade(field, camera, column, row, picture, paper)
    # Only the silhouette needs more rays: inside, the skin is smooth.
    body = met.reshape(height, width)
    rim = np.zeros_like(body)
    rim[1:] |= body[1:] ^ body[:-1]
    rim[:-1] |= body[1:] ^ body[:-1]
    rim[:, 1:] |= body[:, 1:] ^ body[:, :-1]
    rim[:, :-1] |= body[:, 1:] ^ body[:, :-1]
    edge = np.flatnonzero(rim.ravel())
    total = np.zeros((len(edge), 3), np.float32)
    for down in (-3 / 8, -1 / 8, 1 / 8, 3 / 8):
        for across in (-3 / 8, -1 / 8, 1 / 8, 3 / 8):
            seen = stage.reshape(-1, 3)[edge]
            _shade(field, camera, column[edge] + np.float32(across), row[edge] + np.float32(down), seen, paper)
            total += seen
    picture[edge] = total / 16
    return picture.reshape(height, width, 3)


def _shade(
    field: Field, camera: Camera, column: FloatArray, row: FloatArray, picture: FloatArray, paper: FloatArray
) -> BoolArray:
    """Paints the skin seen through image points into `picture` (n,3); says which points see skin."""
    met, points = _trace(field, (camera.position - field.offset) * np.float32(FINE), camera.rays(column, row))
    if met.any():
        picture[met] = skin_colours(field, points[met], camera, paper)
    return met


def _trace(field: Field, eye: FloatArray, rays: FloatArray) -> tuple[BoolArray, FloatArray]:
    """Which rays (n,3) meet the skin, and the fine points (n,3) where."""
    size = np.array(field.table.shape, np.int32)
    rays = np.where(np.abs(rays) < 1e-7, np.float32(1e-7), rays)
    near, far, _ = enter(field.table.shape, eye[None], rays)
    met, reached = np.zeros(len(rays), bool), np.zeros(len(rays), np.float32)
    live = np.flatnonzero(near < far)
    distance, leave, ray = near[live] + np.float32(1e-3), far[live], rays[live]
    while live.size:
        point = eye + distance[:, None] * ray
        jump = field.table[tuple(np.clip(point.astype(np.int32), 0, size - 1).T)]
        inside = jump == 0
        found = np.zeros(len(live), bool)
        found[inside] = sample(field.density, point[inside]) > LEVEL
        met[live[found]], reached[live[found]] = True, distance[found]
        distance = distance + np.maximum(jump - 1, 0.6).astype(np.float32)
        keep = ~found & (distance < leave)
        live, distance, leave, ray = live[keep], distance[keep], leave[keep], ray[keep]
    hits = np.flatnonzero(met)
    above, below = reached[hits], reached[hits] - np.float32(0.6)
    for _ in range(5):
        middle = np.float32(0.5) * (above + below)
        solid = sample(field.density, eye + middle[:, None] * rays[hits]) > LEVEL
        above, below = np.where(solid, middle, above), np.where(solid, below, middle)
    reached[hits] = above
    return met, eye + reached[:, None] * rays
