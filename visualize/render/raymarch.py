"""The renderer without OpenGL: cubes by rays in plain numpy, with the same faces and light as the other one."""

import numpy as np

from visualize.frames import BoolArray, FloatArray
from visualize.render.camera import Camera
from visualize.render.cubes import across_edges, edge_half, edge_strength
from visualize.render.faces import Faces, visible_faces
from visualize.render.light import lit
from visualize.render.march import IntArray, march
from visualize.render.quality import FAST, Quality, scattered

CONTRAST = 0.035  # pixels that differ more than this from a neighbour are looked at again, with more rays


def draw_voxels(rgba: FloatArray, camera: Camera, stage: FloatArray, paper: FloatArray, quality: Quality = FAST) -> FloatArray:
    """One frame (D,H,W,4) as cubes over its stage (h,w,3), all in 0..1.

    One ray a pixel first, then more where neighbouring pixels differ: smooth borders for a fraction of the rays.
    """
    faces = visible_faces(rgba, camera, paper, quality)
    width, height = camera.size
    row, column = np.indices((height, width), dtype=np.float32).reshape(2, -1) + np.float32(0.5)
    near = _near_body(faces, camera, column, row)
    picture = stage.reshape(-1, 3).copy()
    picture[near] = _shade(faces, camera, column[near], row[near], picture[near])
    rough = np.flatnonzero(_rough(picture.reshape(height, width, 3)).ravel() & near)
    across, down = scattered(quality.rough)
    behind = stage.reshape(-1, 3)[rough].repeat(quality.rough, axis=0)
    seen = _shade(faces, camera, (column[rough, None] + across).ravel(), (row[rough, None] + down).ravel(), behind)
    picture[rough] = seen.reshape(-1, quality.rough, 3).mean(axis=1)
    return picture.reshape(height, width, 3)


def _near_body(faces: Faces, camera: Camera, column: FloatArray, row: FloatArray) -> BoolArray:
    """Pixels within the rectangle around the body; the others keep the stage."""
    points = camera.project(faces.vertices().reshape(-1, 3).astype(np.float32))
    low, high = points.min(axis=0) - 2, points.max(axis=0) + 2
    return np.asarray((column > low[0]) & (column < high[0]) & (row > low[1]) & (row < high[1]))


def _rough(picture: FloatArray) -> BoolArray:
    """Pixels that differ from one of their four neighbours."""
    rough = np.zeros(picture.shape[:2], bool)
    down = np.abs(np.diff(picture, axis=0)).max(axis=2) > CONTRAST
    across = np.abs(np.diff(picture, axis=1)).max(axis=2) > CONTRAST
    rough[1:] |= down
    rough[:-1] |= down
    rough[:, 1:] |= across
    rough[:, :-1] |= across
    return rough


def _shade(faces: Faces, camera: Camera, column: FloatArray, row: FloatArray, behind: FloatArray) -> FloatArray:
    """Colours (n,3) seen through image points."""
    rays = camera.rays(column, row)
    eye = camera.position - faces.offset
    hits = march(faces.table, eye, rays)
    met = np.flatnonzero(hits.hit)
    if not met.size:
        return behind
    axis, cell = hits.axis[met], hits.cell[met]
    orientation = 2 * axis + (rays[met, axis] < 0)
    face = faces.row_of[np.ravel_multi_index(tuple(cell.T), faces.table.shape), orientation]
    known = face >= 0  # a ray along a cube's edge may meet a side that the camera can't see: keep what is behind
    met, face, cell, axis = met[known], face[known], cell[known], axis[known]
    local = eye + hits.distance[met, None] * rays[met] - cell
    rows = np.arange(len(met))
    first, second = (np.clip(local[rows, (axis + step) % 3], 0, 1) for step in (1, 2))
    corner = faces.light[face]
    lower = corner[:, 0] * (1 - first) + corner[:, 1] * first
    upper = corner[:, 3] * (1 - first) + corner[:, 2] * first
    colour = lit(faces.colour[face], lower * (1 - second) + upper * second)
    ink = _edge_ink(camera, axis, first, second, hits.distance[met])
    seen = behind.copy()
    seen[met] = colour * (1 - ink[:, None])
    return seen


def _edge_ink(camera: Camera, axis: IntArray, first: FloatArray, second: FloatArray, distance: FloatArray) -> FloatArray:
    """Darkness (n,) of the line around each face, about one pixel wide however the face is turned."""
    scale = camera.pixels_per_slope / distance
    pixels = across_edges(camera)[axis]
    to_first = np.minimum(first, 1 - first) * pixels[:, 0] * scale
    to_second = np.minimum(second, 1 - second) * pixels[:, 1] * scale
    half = edge_half(camera)
    covered = np.clip(half + 0.5 - np.minimum(to_first, to_second), 0, 1)
    return np.asarray(covered * edge_strength(camera, float(np.median(distance))), np.float32)
