"""The renderer with OpenGL (pyvista): the same faces, skin and light as the ray-marcher's, drawn by the driver.

Light is baked into vertex colours, so that both renderers give the same picture; the body is drawn larger and
without its background, shrunk and laid over the stage.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualize.frames import FloatArray, as_picture
from visualize.render.camera import VIEW_ANGLE, Camera
from visualize.render.cubes import cube_mesh
from visualize.render.faces import visible_faces
from visualize.render.probe import prepare_environment
from visualize.render.quality import FAST, Quality
from visualize.render.surface import LEVEL, Field, build_field, skin_colours, skin_normals

LARGEST_WINDOW = 8192  # pixels on a side: what every driver can draw


class OpenGLCanvas:
    """One off-screen plotter, kept over the frames of a film; close it when done."""

    def __init__(self, size: tuple[int, int], quality: Quality = FAST) -> None:
        prepare_environment()
        import pyvista

        self._pyvista: Any = pyvista
        self._quality = quality
        # Drawn larger and shrunk: multisampling under EGL can render blank.
        self._scale = int(min(quality.scale, max(LARGEST_WINDOW // max(size), 1)))
        window = [self._scale * side for side in size]
        self._plotter: Any = pyvista.Plotter(off_screen=True, window_size=window, lighting="none")
        self._plotter.disable_anti_aliasing()
        self._actor: Any = None

    def close(self) -> None:
        """Gives the plotter's window back."""
        self._plotter.close()

    def draw_voxels(self, rgba: FloatArray, camera: Camera, stage: FloatArray, paper: FloatArray) -> FloatArray:
        """One frame (D,H,W,4) as cubes over its stage (h,w,3), all in 0..1."""
        self._show(*cube_mesh(visible_faces(rgba, camera, paper, self._quality), camera))
        return self._shoot(camera, stage)

    def draw_surface(self, rgba: FloatArray, camera: Camera, stage: FloatArray, paper: FloatArray) -> FloatArray:
        """One frame (D,H,W,4) as a smooth skin over its stage (h,w,3), all in 0..1."""
        field = build_field(rgba, camera, self._quality)
        image = self._pyvista.ImageData(dimensions=field.density.shape)
        image.point_data["density"] = field.density.ravel(order="F")
        skin = image.contour([LEVEL], scalars="density", compute_normals=False, compute_scalars=False)
        points = np.asarray(skin.points, np.float32) + np.float32(0.5)
        triangles = np.asarray(skin.faces).reshape(-1, 4)[:, 1:]
        points, triangles, normal = _towards(field, points, triangles, camera)
        colour = skin_colours(field, points, camera, paper, normal)
        self._show(points / np.float32(field.fine) + field.offset, triangles, colour)
        return self._shoot(camera, stage)

    def _show(self, points: FloatArray, triangles: NDArray[np.integer], colour: FloatArray) -> None:
        """Puts coloured triangles (n,3) in place of the last ones."""
        cells = np.column_stack([np.full(len(triangles), 3), triangles]).ravel()
        mesh = self._pyvista.PolyData(points, faces=cells)
        mesh.point_data["colour"] = as_picture(colour)
        if self._actor is None:
            self._actor = self._plotter.add_mesh(mesh, scalars="colour", rgb=True, lighting=False)
            return
        self._actor.mapper.dataset = mesh
        self._actor.mapper.SetScalarVisibility(True)

    def _shoot(self, camera: Camera, stage: FloatArray) -> FloatArray:
        view = self._plotter.camera
        view.position, view.focal_point = [float(x) for x in camera.position], camera.focal
        view.up, view.view_angle = (0.0, 0.0, 1.0), VIEW_ANGLE
        self._plotter.reset_camera_clipping_range()
        self._plotter.render()  # without it every screenshot repeats the first
        shot = self._plotter.screenshot(return_img=True, transparent_background=True)
        # Sums of whole numbers over each block; a pixel is drawn or not, there is no half of one to weigh.
        parts = shot * (shot[..., 3:] > 0)
        total = np.zeros((camera.size[1], camera.size[0], 4), np.uint32)
        for down in range(self._scale):
            for across in range(self._scale):
                total += parts[down :: self._scale, across :: self._scale]
        share = total.astype(np.float32) / np.float32(255 * self._scale**2)
        return np.asarray(share[..., :3] + stage * (1 - share[..., 3:]), np.float32)


def _towards(
    field: Field, points: FloatArray, triangles: NDArray[np.integer], camera: Camera
) -> tuple[FloatArray, NDArray[np.integer], FloatArray]:
    """Points (n,3), triangles (m,3) and normals (n,3) of the skin that looks towards the eye, more or less.

    The other half is hidden behind it: neither its light nor its triangles are worth their time.
    """
    normal = skin_normals(field, points)
    away = points / np.float32(field.fine) + (field.offset - camera.position)
    seen = np.einsum("ni,ni->n", normal, away) < 0.3 * np.linalg.norm(away, axis=1)
    triangles = triangles[seen[triangles].any(axis=1)]
    used = np.zeros(len(points), bool)
    used[triangles] = True
    return points[used], (np.cumsum(used) - 1)[triangles], normal[used]
