"""The lines between cubes, and the triangles that draw cubes and lines with OpenGL."""

import numpy as np
from numpy.typing import NDArray

from visualize.frames import FloatArray
from visualize.render.camera import Camera
from visualize.render.faces import CORNERS, Faces
from visualize.render.light import lit

EDGE_INK = 0.20
INNER = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])  # four corners and the middle of a face
FRAME = np.array(
    [[5 + a, 5 + b, 9 + b] for a, b in ((0, 1), (1, 2), (2, 3), (3, 0))]
    + [[5 + a, 9 + b, 9 + a] for a, b in ((0, 1), (1, 2), (2, 3), (3, 0))]
)


def edge_strength(camera: Camera, distance: float) -> float:
    """How dark the line between two cubes is: it fades where cubes are only a few pixels wide."""
    return EDGE_INK * float(np.clip((camera.pixels_per_slope / distance - 3) / 9, 0, 1))


def edge_half(camera: Camera) -> float:
    """Half the width of the line between two cubes, in pixels: what each face draws of it."""
    return 0.5 * max(camera.size[1] / 480, 1.0)


def across_edges(camera: Camera) -> FloatArray:
    """(3,2): for faces across each axis, how long on the screen, in slopes, is one cell across either pair of edges.

    Lines are given their width by it, so that they are equally wide on faces that are seen from the side.
    """
    right, up, _ = camera.basis
    shown = np.stack([right, up])  # world axis -> its slope on the screen
    found = np.zeros((3, 2), np.float32)
    for axis in range(3):
        along, beside = shown[:, (axis + 1) % 3], shown[:, (axis + 2) % 3]
        area = abs(along[0] * beside[1] - along[1] * beside[0])
        found[axis] = area / max(np.hypot(*beside), 1e-3), area / max(np.hypot(*along), 1e-3)
    return found


def cube_mesh(faces: Faces, camera: Camera) -> tuple[FloatArray, NDArray[np.integer], FloatArray]:
    """Points (n,3), triangles (m,3) and sRGB colours (n,3) of faces with the line along their edges.

    A line is part of its face, so that it neither leaves the silhouette nor shows through a wall.
    """
    corners = faces.vertices().astype(np.float32)
    count, axis = len(corners), faces.orientation // 2
    pixels = across_edges(camera)[axis] * np.float32(camera.pixels_per_slope / camera.distance)
    width = np.minimum(edge_half(camera) / np.maximum(pixels, 1e-3), 0.45)  # (n,2) in cells
    strength = edge_strength(camera, camera.distance)
    if not strength:
        width = np.zeros_like(width)
    share = CORNERS + (1 - 2 * CORNERS) * width[:, None]  # (n,4,2) where the line ends
    first, second = share[..., :1], share[..., 1:]

    def between(values: FloatArray) -> FloatArray:
        lower = values[:, :1] * (1 - first) + values[:, 1:2] * first
        upper = values[:, 3:] * (1 - first) + values[:, 2:3] * first
        return lower * (1 - second) + upper * second

    inner, light = between(corners), faces.light[..., None]
    inner_light = between(light)
    middle, middle_light = corners.mean(axis=1, keepdims=True), light.mean(axis=1, keepdims=True)
    # Around the middle: two triangles alone would show a seam along their diagonal.
    points = np.concatenate([inner, middle, corners, inner], axis=1)
    light = np.concatenate([inner_light, middle_light, light, inner_light], axis=1)
    colour = lit(np.repeat(faces.colour, points.shape[1], axis=0), light.ravel()).reshape(count, -1, 3)
    colour[:, 5:] *= 1 - strength
    parts = np.concatenate([INNER, FRAME]) if strength else INNER
    triangles = points.shape[1] * np.arange(count)[:, None, None] + parts
    return points.reshape(-1, 3), triangles.reshape(-1, 3), colour.reshape(-1, 3)
