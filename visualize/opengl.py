"""The renderer with OpenGL (pyvista): the same faces, skin and light as the ray-marcher's, drawn by the driver.

Light is baked into vertex colours, so that both renderers give the same picture; the body is drawn at twice the size
without its background, shrunk and laid over the stage.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualize.camera import VIEW_ANGLE, Camera
from visualize.faces import normals, visible_faces
from visualize.frames import FloatArray, as_picture
from visualize.light import lit
from visualize.probe import prepare_environment
from visualize.raymarch import edge_strength
from visualize.surface import FINE, LEVEL, build_field, skin_colours

SCALE = 2  # drawn larger and shrunk: multisampling under EGL can render blank


class OpenGLCanvas:
    """One off-screen plotter, kept over the frames of a film; close it when done."""

    def __init__(self, size: tuple[int, int]) -> None:
        prepare_environment()
        import pyvista

        self._pyvista: Any = pyvista
        self._plotter: Any = pyvista.Plotter(off_screen=True, window_size=[SCALE * size[0], SCALE * size[1]], lighting="none")
        self._plotter.disable_anti_aliasing()
        self._actors: dict[str, Any] = {}

    def close(self) -> None:
        """Gives the plotter's window back."""
        self._plotter.close()

    def draw_voxels(self, rgba: FloatArray, camera: Camera, stage: FloatArray, paper: FloatArray) -> FloatArray:
        """One frame (D,H,W,4) as cubes over its stage (h,w,3), all in 0..1."""
        faces = visible_faces(rgba, camera, paper)
        corners = faces.vertices().astype(np.float32)
        light = np.concatenate([faces.light, faces.light.mean(axis=1, keepdims=True)], axis=1)
        colour = lit(np.repeat(faces.colour, 5, axis=0), light.ravel())
        # Four triangles around a face's centre: two alone would show a seam along their diagonal.
        points = np.concatenate([corners, corners.mean(axis=1, keepdims=True)], axis=1)
        fan = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
        triangles = 5 * np.arange(len(corners))[:, None, None] + fan
        self._show("body", points.reshape(-1, 3), triangles.reshape(-1, 3), colour)
        ink = 1 - edge_strength(camera, camera.distance)
        raised = corners + 0.006 * normals(faces.orientation)[:, None]
        border = 4 * np.arange(len(corners))[:, None, None] + np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
        edge_colour = ink * colour.reshape(-1, 5, 3)[:, :4].reshape(-1, 3)
        self._show("edges", raised.reshape(-1, 3), border.reshape(-1, 2), edge_colour, camera.size[1])
        return self._shoot(camera, stage)

    def draw_surface(self, rgba: FloatArray, camera: Camera, stage: FloatArray, paper: FloatArray) -> FloatArray:
        """One frame (D,H,W,4) as a smooth skin over its stage (h,w,3), all in 0..1."""
        field = build_field(rgba)
        image = self._pyvista.ImageData(dimensions=field.density.shape)
        image.point_data["density"] = field.density.ravel(order="F")
        skin = image.contour([LEVEL], scalars="density", compute_normals=False, compute_scalars=False)
        points = np.asarray(skin.points, np.float32) + np.float32(0.5)
        triangles = np.asarray(skin.faces).reshape(-1, 4)[:, 1:]
        colour = skin_colours(field, points, camera, paper)
        self._show("body", points / np.float32(FINE) + field.offset, triangles, colour)
        return self._shoot(camera, stage)

    def _show(self, name: str, points: FloatArray, parts: NDArray[np.integer], colour: FloatArray, height: int = 0) -> None:
        """Puts triangles (n,3) or lines (n,2) in place of the actor's last ones."""
        count = parts.shape[1]
        cells = np.column_stack([np.full(len(parts), count), parts]).ravel()
        mesh = self._pyvista.PolyData(points, **{"lines" if count == 2 else "faces": cells})
        mesh.point_data["colour"] = as_picture(colour)
        if name in self._actors:
            self._actors[name].mapper.dataset = mesh
            self._actors[name].mapper.SetScalarVisibility(True)
            return
        width = {"line_width": SCALE * max(height / 480, 1.0)} if count == 2 else {}
        self._actors[name] = self._plotter.add_mesh(mesh, scalars="colour", rgb=True, lighting=False, **width)

    def _shoot(self, camera: Camera, stage: FloatArray) -> FloatArray:
        view = self._plotter.camera
        view.position, view.focal_point = [float(x) for x in camera.position], camera.focal
        view.up, view.view_angle = (0.0, 0.0, 1.0), VIEW_ANGLE
        self._plotter.reset_camera_clipping_range()
        self._plotter.render()  # without it every screenshot repeats the first
        shot = np.asarray(self._plotter.screenshot(return_img=True, transparent_background=True), np.float32) / 255
        width, height = camera.size
        blocks = shot.reshape(height, SCALE, width, SCALE, 4)
        alpha = blocks[..., 3:]
        colour = (blocks[..., :3] * alpha).mean(axis=(1, 3))
        return np.asarray(colour + stage * (1 - alpha.mean(axis=(1, 3))), np.float32)
