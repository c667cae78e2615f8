"""The scene that draws the frames of a film with one camera and one plotter, and a still as a film of one frame."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from visualize.arguments import as_degrees, as_number, as_whole, check_word, quoted
from visualize.errors import ArgumentError
from visualize.frames import Box, Colour, FloatArray, Picture, as_activity, as_colour, as_picture, as_range, occupied
from visualize.render import activity as glowing
from visualize.render.axes import axes_margin, draw_axes
from visualize.render.camera import MARGIN, Camera, fit
from visualize.render.legend import Legend, Room, bar_height, draw_bar, font_size
from visualize.render.probe import choose
from visualize.render.quality import QUALITIES
from visualize.render.raymarch import draw_voxels
from visualize.render.stage import SKIRT, draw_stage
from visualize.render.surface import draw_surface
from visualize.render.view import AZIMUTH, ELEVATION, STEEPEST

if TYPE_CHECKING:
    from visualize.render.opengl import OpenGLCanvas

Style = Literal["voxels", "surface", "activity"]
STYLES = ("voxels", "surface", "activity")
LARGEST = 8192
NEAR_BLACK = "#07070b"  # the paper of a glow: black alone would hide that the picture has borders


class Scene:
    """Camera, stage and renderer for many frames: the camera fits one box from all azimuths, so that nothing jumps.

    Args:
        box: low and high corner (x,y,z) that all frames lie in.
        style, quality, size, elevation, background, renderer, ground, legend, axes, activity_range: as in `volume`.
        azimuths: degrees, every azimuth that `draw` will be asked for.

    Attributes:
        paper: background colour (3,), 0..1.
        camera: who looks, from the first azimuth.
        renderer: "opengl" | "raymarch".
    """

    def __init__(
        self,
        box: Box,
        style: str = "voxels",
        *,
        quality: str = "fast",
        size: tuple[int, int] = (480, 480),
        azimuths: Sequence[float] = (AZIMUTH,),
        elevation: float = ELEVATION,
        background: Colour = "auto",
        renderer: str = "auto",
        ground: bool = True,
        legend: Mapping[str, Colour] | None = None,
        axes: bool = False,
        activity_range: tuple[float, float] | None = None,
    ) -> None:
        check_word(style, STYLES, "volume", "style")
        check_word(quality, QUALITIES, "volume", "quality")
        self._size = _checked_size(size)
        azimuths = [as_degrees(azimuth, "volume", "azimuth") for azimuth in azimuths]
        elevation = as_number(elevation, "volume", "elevation", -STEEPEST, STEEPEST, f"-{STEEPEST}..{STEEPEST} degrees")
        self.box, self.style, self.ground, self.axes = box, style, ground, axes
        self.quality = QUALITIES[quality]
        self.paper = _paper(background, style)
        self.activity_range = None if activity_range is None else as_range(activity_range, "volume")
        bar = bar_height(self._size) if style == "activity" else 0
        if not isinstance(legend, Mapping | None):
            raise ArgumentError("volume", "legend", quoted(legend), "a mapping of names to colours")
        self._legend = Legend(legend or {}, (self._size[0], self._size[1] - bar))
        room = self._legend.room
        self._bar = Room(room.left, room.top + room.height, room.width, bar) if bar else None
        if self._bar is not None and room.width == self._size[0]:  # a legend below stays under the bar
            self._legend.lower(bar)
        skirt = np.array([SKIRT, SKIRT, 0], np.float32)
        self.camera = fit(
            (box[0] - skirt, box[1] + skirt) if axes else box,
            azimuths=azimuths,
            elevation=elevation,
            size=(room.width, room.height),
            skirt=SKIRT if ground and not axes else 0.0,
            margin=MARGIN + (axes_margin((room.width, room.height), font_size(self._size)) if axes else 0.0),
        )
        # The glow is drawn by rays with and without OpenGL: a driver's own volumes differ from each other.
        self.renderer = "raymarch" if style == "activity" and renderer == "auto" else choose(renderer)
        self._canvas: OpenGLCanvas | None = None
        if self.renderer == "opengl" and style != "activity":
            from visualize.render import opengl

            self._canvas = opengl.OpenGLCanvas((room.width, room.height), self.quality)

    def draw(self, frame: FloatArray, azimuth: float | None = None, activity: ArrayLike | None = None) -> Picture:
        """One checked frame (D,H,W,4) as a picture (h,w,3) uint8, from the first azimuth or another.

        Args:
            frame: from `as_frame`.
            azimuth: degrees; default the scene's first.
            activity: (D,H,W) as in `volume`; other styles ignore it.

        Raises:
            ValueError: `activity` can't be used.
        """
        camera = self.camera if azimuth is None else self.camera.turned(azimuth)
        ends = ("", "")
        if self.style == "activity":
            glow, ends = self._glow(frame, activity)
            stage = draw_stage(camera, self.box, None, self.paper, self.ground)
            painted = glowing.draw_activity(frame, glow, camera, stage, self.paper, self.quality)
        else:
            painted = draw_stage(camera, self.box, frame, self.paper, self.ground, self.quality)
            if occupied(frame).any():
                painted = self._draw_body(frame, camera, painted)
        picture = as_picture(painted)
        if self.axes:
            picture = draw_axes(picture, camera, self.box, self.paper, font_size(self._size))
        return self._furnished(picture, ends)

    def _draw_body(self, frame: FloatArray, camera: Camera, stage: FloatArray) -> FloatArray:
        if self._canvas is not None:
            painter = self._canvas.draw_voxels if self.style == "voxels" else self._canvas.draw_surface
            return painter(frame, camera, stage, self.paper)
        ray_painter = draw_voxels if self.style == "voxels" else draw_surface
        return ray_painter(frame, camera, stage, self.paper, self.quality)

    def _glow(self, frame: FloatArray, activity: ArrayLike | None) -> tuple[glowing.Glow, tuple[str, str]]:
        """What glows, and the two labels of its scale."""
        if activity is None:
            thick = max(np.ceil(glowing.THICK * float(np.median(self.box[1] - self.box[0]))), 1.0)
            low, high = self.activity_range or (0.0, float(thick))
            return glowing.glow_of_body(frame, low, high), (f"{low:.3g}", f"{high:.3g} cells")
        field = as_activity(activity, frame, "volume")
        low, high = self.activity_range or (0.0, max(float(field.max()), 0.0) or 1.0)
        return glowing.glow_of_field(field, low, high), (f"{low:.3g}", f"{high:.3g}")

    def _furnished(self, picture: Picture, ends: tuple[str, str]) -> Picture:
        """The picture with legend and colour bar around it, where there are any."""
        if picture.shape[:2] == self._size[::-1]:
            return picture
        sheet = np.empty((self._size[1], self._size[0], 3), np.uint8)
        sheet[:] = as_picture(self.paper)
        sheet[: picture.shape[0], : picture.shape[1]] = picture
        if self._bar is not None:
            light = np.linspace(0, 1, 256, dtype=np.float32)
            colours = glowing.over(np.broadcast_to(self.paper, (256, 3)), light, self.paper)
            sheet = draw_bar(sheet, self._bar, colours, *ends, self.paper)
        return self._legend.draw(sheet, self.paper)

    def close(self) -> None:
        """Gives back what the renderer holds."""
        if self._canvas is not None:
            self._canvas.close()
            self._canvas = None

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _paper(background: Colour, style: str) -> FloatArray:
    if isinstance(background, str) and background == "auto":
        background = NEAR_BLACK if style == "activity" else "white"
    return as_colour(background, "volume")


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    allowed = f"(width, height) of 16..{LARGEST} pixels each"
    if not isinstance(size, Sequence | np.ndarray) or isinstance(size, str) or len(size) != 2:
        raise ArgumentError("volume", "size", quoted(size), allowed)
    width, height = (as_whole(pixels, "volume", "size", 16, LARGEST, allowed) for pixels in size)
    return width, height
