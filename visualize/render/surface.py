"""A smooth skin around the cells: a softened field of the body, its level set, its normals and colours.

The field is finer than the lattice. Its normals come from a softer copy, so that the skin looks smooth although the
field is only trilinear between samples; colours and hollows are read off the lattice itself, which is enough for them.
"""

from typing import NamedTuple

import numpy as np

from visualize.frames import FloatArray, occupied
from visualize.render.camera import Camera
from visualize.render.light import brightness, lit, on_paper, sun_direction
from visualize.render.quality import FAST, Quality, scattered
from visualize.render.sky import Sky, measure_sky
from visualize.render.trace import Tracer, rim, sample

LEVEL = 0.30  # low enough that one cell alone still has a skin
MOST = 24_000_000  # fine samples of a field that memory should bear
PAD = 3  # free cells around the body
GLOSS = 0.10


class Field(NamedTuple):
    """The skin's fields, indexed [x,y,z]; fine sample i lies at (i + 0.5) / fine + offset in the lattice."""

    fine: int  # samples a cell
    density: FloatArray
    slope: FloatArray  # (...,3) gradient of the softer copy
    cells: FloatArray  # (...,5) of each cell: premultiplied rgba, and 1 where it is occupied
    crowd: FloatArray  # of each cell: how much body is around it, 0..1
    sky: Sky | None  # measured light of each cell, where the quality asks for it
    offset: FloatArray


def build_field(rgba: FloatArray, camera: Camera, quality: Quality = FAST) -> Field:
    """The fields of one checked frame (D,H,W,4) with at least one occupied cell."""
    body = occupied(rgba).transpose(2, 1, 0)
    filled = np.argwhere(body)
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    crop = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    cells = np.zeros((*(high - low + 2 * PAD), 5), np.float32)
    inner = cells[PAD:-PAD, PAD:-PAD, PAD:-PAD]
    inner[..., 4] = body[crop]
    inner[..., :4] = rgba.transpose(2, 1, 0, 3)[crop] * inner[..., 4:]
    inner[..., :3] *= inner[..., 3:4]
    solid = np.ascontiguousarray(cells[..., 4])
    fine = _fineness(rgba.shape[:3], quality)
    # Widths are meant in cells; a round of the filter has a variance of half a sample.
    rounds = max(round((fine / 2) ** 2), 1)
    density = _soften(_repeat(solid, fine), rounds)
    softer = _soften(density, 2 * rounds)
    slope = np.stack([np.gradient(softer, axis=axis) for axis in range(3)], axis=-1)
    sky = measure_sky(solid > 0, camera, quality.sky_rays) if quality.sky_rays else None
    return Field(fine, density, slope, cells, _soften(solid, 2), sky, (low - PAD).astype(np.float32))


def _fineness(size: tuple[int, ...], quality: Quality) -> int:
    """Samples a cell: by the lattice and not by the body, so that the skin of a growing body keeps its look."""
    cells = float(np.prod(np.add(size, 2 * PAD)))
    least = 2 if 8 * cells <= MOST else 1
    return int(np.clip((quality.fine_samples / cells) ** (1 / 3), least, quality.fine))


def _repeat(cells: FloatArray, fine: int) -> FloatArray:
    for axis in range(3):
        cells = cells.repeat(fine, axis=axis)
    return cells


def _soften(field: FloatArray, rounds: int) -> FloatArray:
    """A field after rounds of the binomial filter (1,2,1)/4 on each axis; its border must be empty.

    A round is two sums of neighbours, and the scale is put right once at the end.
    """
    field, spare = field.copy(), np.empty_like(field)
    for axis in range(3):
        along, sums = np.moveaxis(field, axis, 0), np.moveaxis(spare, axis, 0)
        for _ in range(rounds):
            np.add(along[:-1], along[1:], out=sums[:-1])
            np.add(sums[:-2], sums[1:-1], out=along[1:-1])
    field *= np.float32(0.25 ** (3 * rounds))
    return field


def skin_colours(
    field: Field, points: FloatArray, camera: Camera, paper: FloatArray, normal: FloatArray | None = None
) -> FloatArray:
    """Lit sRGB colours (n,3) of skin at fine points (n,3): sun, sky, hollows a little darker, a soft gloss."""
    normal = skin_normals(field, points) if normal is None else normal
    places = points / np.float32(field.fine)
    openness, sunlit = _surroundings(field, places, normal)
    sun = sun_direction(camera)
    light = brightness(normal, openness, sunlit, sun)
    mixed = sample(field.cells, places, crisp=True)
    solid = np.maximum(mixed[:, 4:], 1e-4)
    straight = np.clip(mixed[:, :3] / np.maximum(mixed[:, 3:4], 1e-4), 0, 1)
    colour = lit(on_paper(np.concatenate([straight, np.clip(mixed[:, 3:4] / solid, 0, 1)], axis=1), paper), light)
    seen = places + field.offset - camera.position
    halfway = sun - seen / np.linalg.norm(seen, axis=1, keepdims=True)
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    gloss = GLOSS * np.clip(np.einsum("ni,ni->n", normal, halfway), 0, 1) ** 24 * sunlit
    return np.clip(colour + gloss[:, None], 0, 1)


def skin_normals(field: Field, points: FloatArray) -> FloatArray:
    """Outward unit normals (n,3) at fine points (n,3)."""
    slope = sample(field.slope, points)
    return -slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)


def _surroundings(field: Field, places: FloatArray, normal: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How much of the sky and of the sun is seen (n,) from skin at lattice points (n,3)."""
    if field.sky is None:
        crowd = sample(field.crowd, places + 1.25 * normal)
        openness = np.clip(1.25 - 1.15 * crowd, 0.25, 1).astype(np.float32)
        return openness, openness
    light = sample(field.sky.light, places + 0.8 * normal)
    known = np.maximum(light[:, 2], 1e-4)
    openness = np.asarray(0.15 + 0.85 * light[:, 0] / known, np.float32)
    return openness, np.asarray(light[:, 1] / known, np.float32)


def skin_tracer(field: Field, camera: Camera) -> Tracer:
    """Finds the skin's fine points along the camera's rays."""
    return Tracer(field.density, LEVEL, camera, field.offset, field.fine)


def draw_surface(rgba: FloatArray, camera: Camera, stage: FloatArray, paper: FloatArray, quality: Quality = FAST) -> FloatArray:
    """One frame (D,H,W,4) as a smooth skin over its stage (h,w,3), all in 0..1, by rays in plain numpy."""
    field = build_field(rgba, camera, quality)
    trace = skin_tracer(field, camera)
    width, height = camera.size
    row, column = np.indices((height, width), dtype=np.float32).reshape(2, -1) + np.float32(0.5)
    picture = stage.reshape(-1, 3).copy()
    met, points = trace(column, row)
    picture[met] = skin_colours(field, points, camera, paper)
    # Only the silhouette needs more rays: inside, the skin is smooth.
    edge = np.flatnonzero(rim(met.reshape(height, width)).ravel())
    across, down = scattered(quality.rim)
    seen = np.repeat(stage.reshape(-1, 3)[edge], quality.rim, axis=0)
    met, points = trace((column[edge, None] + across).ravel(), (row[edge, None] + down).ravel())
    seen[met] = skin_colours(field, points, camera, paper)
    picture[edge] = seen.reshape(-1, quality.rim, 3).mean(axis=1)
    return picture.reshape(height, width, 3)
