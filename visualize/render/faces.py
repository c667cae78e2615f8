"""The visible faces of a body of cubes, each corner with its light, baked once for all pixels of a frame.

Ambient occlusion and soft shadows are measured by rays at the corners and shared between coplanar neighbours, so that
light runs smoothly over flat walls. Both renderers draw the same faces with the same light.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visualize.frames import FloatArray, occupied
from visualize.render.camera import Camera
from visualize.render.light import brightness, hemisphere, on_paper, sun_direction, sun_fan
from visualize.render.march import IntArray, Table, jump_table, march
from visualize.render.quality import FAST, Quality

CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.int32)  # along the two axes of a face, in drawing order
SKY_REACH = 7.0  # cells: what is farther away hides no sky


class Faces(NamedTuple):
    """Faces of one frame as seen by one camera; orientation is 2*axis + (1 if it looks along +axis)."""

    cell: IntArray  # (n,3) x,y,z in the lattice
    orientation: IntArray  # (n,)
    colour: FloatArray  # (n,3) sRGB, unlit
    light: FloatArray  # (n,4) linear light at CORNERS
    table: Table  # jump table of the cropped body
    offset: IntArray  # (3,) lattice cell of the crop's first cell
    row_of: IntArray  # (cells of the crop, 6) -> row in this table, -1 where there is no visible face

    def vertices(self) -> IntArray:
        """Corners (n,4,3) of the faces in lattice coordinates."""
        return face_vertices(self.cell, self.orientation)


def normals(orientation: IntArray) -> FloatArray:
    """Unit normals (n,3) of face orientations."""
    table = np.zeros((6, 3), np.float32)
    table[np.arange(6), np.arange(6) // 2] = [-1, 1, -1, 1, -1, 1]
    return table[orientation]


def face_vertices(cell: IntArray, orientation: IntArray) -> IntArray:
    """Corners (n,4,3) of cube faces; the two axes of a face follow its normal's axis cyclically."""
    rows = np.arange(len(cell))
    axis = orientation // 2
    vertices = np.repeat(cell[:, None, :], 4, axis=1)
    vertices[rows, :, axis] += (orientation % 2)[:, None]
    for corner, (first, second) in enumerate(CORNERS):
        vertices[rows, corner, (axis + 1) % 3] += first
        vertices[rows, corner, (axis + 2) % 3] += second
    return vertices


def visible_faces(rgba: FloatArray, camera: Camera, paper: FloatArray, quality: Quality = FAST) -> Faces:
    """Every face between an occupied and a free cell that looks towards the camera, with its light.

    Args:
        rgba: one checked frame (D,H,W,4) with at least one occupied cell.
        camera: who looks.
        paper: background colour (3,), which faint cells fade into.
        quality: how many rays measure the light.
    """
    body = np.ascontiguousarray(occupied(rgba).transpose(2, 1, 0))
    filled = np.argwhere(body)
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    crop = np.pad(body[low[0] : high[0], low[1] : high[1], low[2] : high[2]], 1)
    offset = (low - 1).astype(np.int32)
    cells, orientations = [], []
    inner = tuple(slice(1, n - 1) for n in crop.shape)
    for axis in range(3):
        for side in (0, 1):
            exposed = crop & ~np.roll(crop, 1 - 2 * side, axis=axis)
            found = np.argwhere(exposed[inner]).astype(np.int32) + 1
            plane = found[:, axis] + offset[axis] + side
            seen = (camera.position[axis] - plane) * (2 * side - 1) > 0
            cells.append(found[seen])
            orientations.append(np.full(int(seen.sum()), 2 * axis + side, np.int32))
    cell, orientation = np.concatenate(cells), np.concatenate(orientations)
    table = jump_table(crop)
    light = _bake(table, cell, orientation, camera, quality)
    index = np.full((crop.size, 6), -1, np.int32)
    index[np.ravel_multi_index(tuple(cell.T), crop.shape), orientation] = np.arange(len(cell))
    cell = cell + offset
    colour = on_paper(rgba[cell[:, 2], cell[:, 1], cell[:, 0]], paper)
    return Faces(cell, orientation, colour, light, table, offset, index)


def _bake(table: Table, cell: IntArray, orientation: IntArray, camera: Camera, quality: Quality) -> FloatArray:
    """Light (n,4) at the corners of faces; cells in coordinates of the table."""
    normal = np.repeat(normals(orientation), 4, axis=0)
    vertices = face_vertices(cell, orientation).reshape(-1, 3).astype(np.float32)
    centre = np.repeat(cell + 0.5, 4, axis=0) + 0.5 * normal
    # A point just inside the face and just in front of it: on the corner itself a ray would start in the wall.
    points = (vertices + 0.08 * (centre - vertices) + 0.01 * normal).astype(np.float32)
    rays = int(np.clip(quality.face_rays // max(len(points), 1) // 4 * 3, 8, quality.face_most))
    openness = _openness(table, points, normal, rays)
    sunlit = _sunlit(table, points, normal, camera, max(rays // 4, 3))
    light = brightness(normal, openness, sunlit, sun_direction(camera))
    shared = _vertex_key(vertices, np.repeat(orientation, 4), table.shape)
    total = np.bincount(shared, weights=light) / np.maximum(np.bincount(shared), 1)
    return total[shared].reshape(-1, 4).astype(np.float32)


def _vertex_key(vertices: FloatArray, orientation: IntArray, size: tuple[int, ...]) -> NDArray[np.intp]:
    """One number (n,) for each lattice point and orientation."""
    points = vertices.astype(np.int64)
    key = ((points[:, 0] * (size[1] + 1) + points[:, 1]) * (size[2] + 1) + points[:, 2]) * 6 + orientation
    return np.unique(key, return_inverse=True)[1]


def _openness(table: Table, points: FloatArray, normal: FloatArray, rays: int) -> FloatArray:
    """Share (n,) of the sky that each point sees; near walls count more than far ones."""
    axis = np.abs(normal).argmax(axis=1)
    frame = np.zeros((len(points), 3, 3), np.float32)  # columns: two tangents and the normal
    rows = np.arange(len(points))
    frame[rows, (axis + 1) % 3, 0] = 1
    frame[rows, (axis + 2) % 3, 1] = 1
    frame[:, :, 2] = normal
    direction = np.einsum("nij,rj->nri", frame, hemisphere(rays)).reshape(-1, 3)
    hits = march(table, np.repeat(points, rays, axis=0), direction, SKY_REACH)
    open_share = np.where(hits.hit, np.minimum(hits.distance / SKY_REACH, 1) ** 0.7, 1)
    return open_share.reshape(len(points), rays).mean(axis=1).astype(np.float32)


def _sunlit(table: Table, points: FloatArray, normal: FloatArray, camera: Camera, rays: int) -> FloatArray:
    """Share (n,) of the sun's disc that each point sees."""
    share = np.zeros(len(points), np.float32)
    faces_sun = np.flatnonzero(normal @ sun_direction(camera) > 0)
    fan = sun_fan(camera, rays)
    hits = march(table, np.repeat(points[faces_sun], rays, axis=0), np.tile(fan, (len(faces_sun), 1)))
    share[faces_sun] = 1 - hits.hit.reshape(-1, rays).mean(axis=1)
    return share
