"""Still pictures of a body in space, and the scene that draws the frames of a film with one camera and one plotter."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from visualize.camera import Camera, fit
from visualize.frames import Box, FloatArray, Picture, as_colour, as_frame, as_picture, body_box, occupied
from visualize.probe import choose
from visualize.raymarch import draw_voxels
from visualize.stage import SKIRT, draw_stage
from visualize.surface import draw_surface

Style = Literal["voxels", "surface"]
STYLES = ("voxels", "surface")
AZIMUTH, ELEVATION = -58.0, 24.0
LARGEST = 8192


def volume(
    rgba: ArrayLike,
    style: Style = "voxels",
    *,
    size: tuple[int, int] = (480, 480),
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    background: str | tuple[float, float, float] = "white",
    renderer: str = "auto",
    ground: bool = True,
    box: Box | None = None,
) -> Picture:
    """A picture (h,w,3) uint8 of one body; +z (growing D index) is up.

    Cells with alpha above 0.1 are drawn; faint ones are pale; non-finite ones are magenta. A body without any such
    cell gives the empty stage.

    Args:
        rgba: (D,H,W,4), straight RGBA 0..1 (or uint8).
        style: "voxels" draws cubes, "surface" a smooth skin.
        size: (width, height) in pixels.
        azimuth: degrees from +x towards +y at which the eye stands; 0 looks along -x, -90 along +y.
        elevation: degrees above the floor, -89..89.
        background: CSS name, "#rrggbb" or three floats 0..1.
        renderer: "auto" | "opengl" | "raymarch"; "auto" takes OpenGL where it works.
        ground: draw the outline of the floor and the body's shadow.
        box: low and high corner (x,y,z), in cells, that fill the picture; default the body's own.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    frame = as_frame(rgba, "volume")
    with Scene(
        box or body_box(frame), style, size=size, azimuths=[azimuth], elevation=elevation,
        background=background, renderer=renderer, ground=ground,
    ) as scene:  # fmt: skip
        return scene.draw(frame)


class Scene:
    """Camera, stage and renderer for many frames: the camera fits one box from all azimuths, so that nothing jumps.

    Args:
        box: low and high corner (x,y,z) that all frames lie in.
        style, size, elevation, background, renderer, ground: as in `volume`.
        azimuths: degrees, every azimuth that `draw` will be asked for.
    """

    def __init__(
        self,
        box: Box,
        style: str = "voxels",
        *,
        size: tuple[int, int] = (480, 480),
        azimuths: Sequence[float] = (AZIMUTH,),
        elevation: float = ELEVATION,
        background: str | tuple[float, float, float] = "white",
        renderer: str = "auto",
        ground: bool = True,
    ) -> None:
        if style not in STYLES:
            raise ValueError(f"volume: style: found {style!r}, allowed {', '.join(STYLES)}")
        width, height = _checked_size(size)
        if not np.all(np.isfinite([elevation, *azimuths])):
            raise ValueError(f"volume: azimuth, elevation: found {azimuths}, {elevation}, allowed finite degrees")
        self.box, self.style, self.ground = box, style, ground
        self.paper = as_colour(background, "volume")
        self.camera = fit(box, azimuths=azimuths, elevation=elevation, size=(width, height), skirt=SKIRT if ground else 0.0)
        self.renderer = choose(renderer)
        self._canvas = None
        if self.renderer == "opengl":
            from visualize.opengl import OpenGLCanvas

            self._canvas = OpenGLCanvas((width, height))

    def draw(self, frame: FloatArray, azimuth: float | None = None) -> Picture:
        """One checked frame (D,H,W,4) as a picture (h,w,3) uint8, from the first azimuth or another."""
        camera = self.camera if azimuth is None else self.camera.turned(azimuth)
        stage = draw_stage(camera, self.box, frame, self.paper, self.ground)
        picture = self._draw_body(frame, camera, stage) if occupied(frame).any() else stage
        return as_picture(picture)

    def _draw_body(self, frame: FloatArray, camera: Camera, stage: FloatArray) -> FloatArray:
        if self._canvas is not None:
            painter = self._canvas.draw_voxels if self.style == "voxels" else self._canvas.draw_surface
        else:
            painter = draw_voxels if self.style == "voxels" else draw_surface
        return painter(frame, camera, stage, self.paper)

    def close(self) -> None:
        """Gives back what the renderer holds."""
        if self._canvas is not None:
            self._canvas.close()
            self._canvas = None

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    if np.shape(size) != (2,) or not all(float(n).is_integer() and 16 <= n <= LARGEST for n in size):
        raise ValueError(f"volume: size: found {size!r}, allowed (width, height) of 16..{LARGEST} pixels each")
    return int(size[0]), int(size[1])
