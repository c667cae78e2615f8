"""The eye: where it stands, what it sees, and how it is placed so that a box fills the picture.

World axes are x (along W), y (along H) and z (along D, up on screen); cell i spans [i, i+1] on each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visualize.frames import Box, FloatArray

MARGIN = 0.04  # free border, as a fraction of half the picture
VIEW_ANGLE = 22.0  # degrees, vertical: long enough a lens that cubes look like cubes, short enough for depth


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at `focal` from azimuth (degrees from +x towards +y) and elevation (degrees)."""

    focal: tuple[float, float, float]
    distance: float
    azimuth: float
    elevation: float
    size: tuple[int, int]

    @property
    def basis(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Unit vectors right, up and forward, in world axes (x,y,z)."""
        azimuth, elevation = np.radians([self.azimuth, self.elevation])
        right = [-np.sin(azimuth), np.cos(azimuth), 0.0]
        forward = [-np.cos(elevation) * np.cos(azimuth), -np.cos(elevation) * np.sin(azimuth), -np.sin(elevation)]
        return _vector(right), _vector(np.cross(right, forward)), _vector(forward)

    @property
    def position(self) -> FloatArray:
        """Where the eye is, (3,) in world axes."""
        return _vector(np.array(self.focal) - self.distance * self.basis[2].astype(float))

    @property
    def pixels_per_slope(self) -> float:
        """Pixels for one unit of sideways distance at unit depth."""
        return 0.5 * self.size[1] / float(np.tan(np.radians(VIEW_ANGLE / 2)))

    def turned(self, azimuth: float) -> "Camera":
        """The same camera at another azimuth."""
        return replace(self, azimuth=azimuth)

    def rays(self, column: FloatArray, row: FloatArray) -> FloatArray:
        """Unit directions (n,3) through image points (column to the right, row down, in pixels)."""
        right, up, forward = self.basis
        across = (column - np.float32(self.size[0] / 2)) / np.float32(self.pixels_per_slope)
        above = (np.float32(self.size[1] / 2) - row) / np.float32(self.pixels_per_slope)
        rays = forward + across[:, None] * right + above[:, None] * up
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)

    def project(self, points: NDArray[np.floating]) -> FloatArray:
        """Image points (n,2) as (column, row) of world points (n,3)."""
        right, up, forward = self.basis
        offset = np.asarray(points, np.float32) - self.position
        scale = self.pixels_per_slope / (offset @ forward)
        return np.stack([self.size[0] / 2 + scale * (offset @ right), self.size[1] / 2 - scale * (offset @ up)], axis=1)


def _vector(values: ArrayLike) -> FloatArray:
    return np.asarray(values, np.float32)


def fit(
    box: Box,
    *,
    azimuths: Sequence[float],
    elevation: float,
    size: tuple[int, int],
    skirt: float = 0.0,
    margin: float = MARGIN,
) -> Camera:
    """The nearest camera that keeps a box in the picture from every azimuth, so that nothing jumps in a film.

    Args:
        box: low and high corner (x,y,z).
        azimuths: degrees; the camera returned stands at the first.
        elevation: degrees, kept within ±89.
        size: picture (width, height) in pixels.
        skirt: cells of ground around the foot of the box that must be seen too.
        margin: free border as a fraction of half the picture.
    """
    low, high = (corner.astype(float) for corner in box)
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    floor = [[x, y, low[2]] for x in (low[0] - skirt, high[0] + skirt) for y in (low[1] - skirt, high[1] + skirt)]
    points = np.concatenate([corners, floor]) if skirt else corners
    focal = (low + high) / 2
    camera = Camera((0.0, 0.0, 0.0), 1.0, azimuths[0], float(np.clip(elevation, -89, 89)), size)
    slope_up = float(np.tan(np.radians(VIEW_ANGLE / 2))) * (1 - margin)
    slope_right = slope_up * size[0] / size[1]
    bases = [[axis.astype(float) for axis in camera.turned(azimuth).basis] for azimuth in azimuths]
    distance = 1.0
    for _ in range(8):  # moving the focal point changes the distance a little, and back: a few rounds settle it
        seen = np.concatenate([(points - focal) @ np.stack(basis, axis=1) for basis in bases])
        across, above, beyond = np.abs(seen[:, 0]), seen[:, 1], seen[:, 2]
        distance = float(max(np.max(across / slope_right - beyond), np.max(np.abs(above) / slope_up - beyond)))
        heights = above / (distance + beyond)
        focal[2] += (heights.max() + heights.min()) / 2 * distance / max(bases[0][1][2], 0.1)
    return replace(camera, focal=(float(focal[0]), float(focal[1]), float(focal[2])), distance=distance)
