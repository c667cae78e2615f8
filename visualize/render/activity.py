"""A glow of a scalar field over a ghost of the body: an inferno of the largest value that each ray meets.

The largest value and not a sum, so that the colour bar says what a colour means; the body itself, seen without a field
of its own, glows by the thickness that a ray passes through. Plain numpy, the same with and without OpenGL.
"""

import functools
from typing import NamedTuple

import numpy as np

from visualize.frames import NOT_FINITE, FloatArray, is_dark, occupied
from visualize.render.camera import Camera
from visualize.render.march import enter, jump_table
from visualize.render.quality import FAST, Quality, scattered
from visualize.render.surface import build_field, skin_normals, skin_tracer
from visualize.render.trace import rim, sample

FAINTEST = 1 / 64  # of the range: less than this isn't looked for
LONGEST = 400  # samples of a ray at most, in lattices of any size
FLAT = 0.2  # of the usual way between two samples, where what glows is one cell thick
THICK = 0.5  # of the box's middle side: what counts as thick in the body's own glow
HALO, HALO_SHARE = 0.022, 0.32  # width of the halo around bright places, in picture heights, and its strength
BROKEN = 14.0  # times the ghost's strength
GHOST, RIM = 0.05, 0.42  # strength of the ghost where it faces the eye and at its silhouette


class Glow(NamedTuple):
    """What glows: `values` (nx,ny,nz), and how a ray's largest value or thickness becomes light 0..1."""

    values: FloatArray  # 0..1
    summed: bool  # a ray shows the sum of what it passes through, in cells, not the largest
    low: float  # dark, in the units of the ray's value
    high: float  # brightest


def glow_of_field(field: FloatArray, low: float, high: float) -> Glow:
    """The glow of a field (D,H,W), `low` dark and `high` brightest."""
    scaled = (field - np.float32(low)) / np.float32(high - low) if high > low else np.zeros_like(field)
    return Glow(np.ascontiguousarray(np.clip(scaled, 0, 1).transpose(2, 1, 0), np.float32), False, 0.0, 1.0)


def glow_of_body(rgba: FloatArray, low: float, high: float) -> Glow:
    """The glow of a body (D,H,W,4) by its thickness in cells, `low` dark and `high` brightest."""
    return Glow(np.ascontiguousarray(rgba[..., 3].transpose(2, 1, 0)), True, low, high)


def draw_activity(
    rgba: FloatArray, glow: Glow, camera: Camera, stage: FloatArray, paper: FloatArray, quality: Quality = FAST
) -> FloatArray:
    """One frame (D,H,W,4) as a glow over a ghost of its body over the stage (h,w,3), all in 0..1."""
    width, height = camera.size
    across, down = -(-width // quality.coarse), -(-height // quality.coarse)
    row, column = (np.indices((down, across), dtype=np.float32).reshape(2, -1) + np.float32(0.5)) * quality.coarse
    light = _stretched(_brightest(glow, camera, column, row, quality).reshape(down, across), (width, height), quality.coarse)
    light = np.maximum(light, np.float32(HALO_SHARE) * _halo(light))
    picture = stage
    if occupied(rgba).any():
        ghost = _ghost(rgba, camera, quality)
        ink = np.array([0.62, 0.74, 0.92] if is_dark(paper) else [0.25, 0.32, 0.42], np.float32)
        picture = picture * (1 - ghost[..., None]) + ink * ghost[..., None]
    picture = over(picture, light, paper)
    broken = (rgba == np.array(NOT_FINITE, np.float32)).all(axis=-1)
    if broken.any():  # a diverged run must be seen through every glow
        solid = np.clip(BROKEN * _ghost(rgba * broken[..., None], camera, quality), 0, 1)[..., None]
        picture = picture * (1 - solid) + np.array(NOT_FINITE[:3], np.float32) * solid
    return picture


def over(picture: FloatArray, light: FloatArray, paper: FloatArray) -> FloatArray:
    """Glow (h,w) in 0..1 laid over a picture (h,w,3): light on dark paper, burnt into light paper."""
    table = inferno()
    if is_dark(paper):
        colour = np.maximum(_looked_up(table, light) - table[0], 0)  # no light leaves the paper as it is
        return 1 - (1 - picture) * (1 - colour)
    # On light paper the table runs backwards: strong must be far from the paper, and weak near to it.
    colour = _looked_up(table[::-1], light)
    share = np.clip(light / 0.3, 0, 1)[..., None]
    return picture * (1 - share) + colour * share


@functools.cache
def inferno() -> FloatArray:
    """The colour table inferno (256,3): even in lightness, told apart with every kind of colour vision."""
    from matplotlib import colormaps

    return np.asarray(colormaps["inferno"](np.arange(256))[:, :3], np.float32)


def _looked_up(table: FloatArray, light: FloatArray) -> FloatArray:
    at = np.clip(light, 0, 1) * np.float32(len(table) - 1)
    base = np.minimum(at.astype(np.int32), len(table) - 2)
    share = (at - base)[..., None]
    return np.asarray(table[base] * (1 - share) + table[base + 1] * share, np.float32)


def _brightest(glow: Glow, camera: Camera, column: FloatArray, row: FloatArray, quality: Quality) -> FloatArray:
    """Light (n,) 0..1 along the rays through image points: the largest value met, or the thickness passed."""
    light = np.zeros(len(column), np.float32)
    filled = np.argwhere(glow.values > FAINTEST)
    if not filled.size:
        return light
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    values = np.pad(glow.values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], 2)
    # A sample reads eight cells: all of them must be dark where a ray may jump.
    lively = values > FAINTEST
    table = np.maximum(jump_table(lively).astype(np.int16) - 1, 0).reshape(-1)
    stride = np.float32(max(quality.stride, float(np.linalg.norm(values.shape)) / LONGEST))
    if 1 in high - low:
        # Samples that miss the middle of a single layer would draw rings.
        stride = stride * np.float32(FLAT)
    eye, rays = camera.position - (low - 2), camera.rays(column, row)
    rays = np.where(np.abs(rays) < 1e-7, np.float32(1e-7), rays)
    near, far, _ = enter(values.shape, eye[None].astype(np.float32), rays)
    live = np.flatnonzero(near < far)
    # Samples lie at whole strides from the eye's nearest approach: alike in neighbouring rays.
    distance, leave, ray = np.ceil(near[live] / stride) * stride, far[live], rays[live]
    last = np.array(values.shape, np.int32) - 1
    while live.size:
        point = eye + distance[:, None] * ray
        cell = np.minimum(np.maximum(point, 0).astype(np.int32), last)
        jump = table[(cell[:, 0] * values.shape[1] + cell[:, 1]) * values.shape[2] + cell[:, 2]]
        inside = np.flatnonzero(jump == 0)
        seen = sample(values, point[inside])
        at = live[inside]
        light[at] = light[at] + seen * stride if glow.summed else np.maximum(light[at], seen)
        distance = distance + np.maximum(np.floor(jump / stride), 1).astype(np.float32) * stride
        keep = np.flatnonzero(distance < leave)
        live, distance, leave, ray = live[keep], distance[keep], leave[keep], ray[keep]
    return np.asarray(np.clip((light - glow.low) / max(glow.high - glow.low, 1e-6), 0, 1), np.float32)


def _ghost(rgba: FloatArray, camera: Camera, quality: Quality) -> FloatArray:
    """Strength (h,w) of the body's skin: faint where it faces the eye, stronger at its rim."""
    field = build_field(rgba, camera, quality._replace(sky_rays=0))
    trace = skin_tracer(field, camera)

    def strength(column: FloatArray, row: FloatArray) -> FloatArray:
        met, points = trace(column, row)
        away = points / np.float32(field.fine) + (field.offset - camera.position)
        facing = np.abs(np.einsum("ni,ni->n", skin_normals(field, points), away)) / np.linalg.norm(away, axis=1)
        ghost = np.zeros(len(column), np.float32)
        ghost[met] = GHOST + (RIM - GHOST) * np.clip(1 - facing, 0, 1) ** 2.5
        return ghost

    width, height = camera.size
    row, column = np.indices((height, width), dtype=np.float32).reshape(2, -1) + np.float32(0.5)
    ghost = strength(column, row)
    edge = np.flatnonzero(rim((ghost > 0).reshape(height, width)).ravel())
    across, down = scattered(quality.rough)
    more = strength((column[edge, None] + across).ravel(), (row[edge, None] + down).ravel())
    ghost[edge] = more.reshape(-1, quality.rough).mean(axis=1)
    return ghost.reshape(height, width)


def _stretched(plane: FloatArray, size: tuple[int, int], coarse: int) -> FloatArray:
    """A plane with one value for `coarse` x `coarse` pixels at the size (width, height) of the picture."""
    from PIL import Image

    if coarse == 1:
        return plane
    # The last coarse pixel may reach beyond the picture.
    box = (0, 0, size[0] / coarse, size[1] / coarse)
    image = Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC, box=box)
    return np.clip(np.asarray(image, np.float32), 0, 1)


def _halo(light: FloatArray) -> FloatArray:
    """The light, softly spread: three running means are nearly a Gaussian."""
    radius = max(round(HALO * light.shape[0]), 1)
    for _ in range(3):
        for axis in (0, 1):
            padded = np.pad(light, [(radius + 1, radius) if axis == a else (0, 0) for a in (0, 1)])
            total = np.moveaxis(padded.cumsum(axis=axis, dtype=np.float64), axis, 0)
            light = np.moveaxis(total[2 * radius + 1 :] - total[: -2 * radius - 1], 0, axis) / (2 * radius + 1)
    return np.asarray(light, np.float32)
