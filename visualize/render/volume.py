"""Still pictures of a body in space."""

from collections.abc import Mapping
from typing import Literal

from numpy.typing import ArrayLike

from visualize.frames import Box, Colour, Picture, as_box, as_frame, body_box
from visualize.render.scene import Scene, Style
from visualize.render.view import AZIMUTH, ELEVATION, view


def volume(
    rgba: ArrayLike,
    style: Style = "voxels",
    *,
    quality: Literal["fast", "high"] = "fast",
    size: tuple[int, int] = (480, 480),
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    background: Colour = "auto",
    renderer: str = "auto",
    ground: bool = True,
    box: Box | None = None,
    legend: Mapping[str, Colour] | None = None,
    axes: bool = False,
    activity: ArrayLike | None = None,
    activity_range: tuple[float, float] | None = None,
) -> Picture:
    """A picture (h,w,3) uint8 of one body; +z (growing D index) is up.

    Cells with alpha above 0.1 are drawn; faint ones are pale; non-finite ones are magenta. A body without any such
    cell gives the empty stage.

    Args:
        rgba: (D,H,W,4), straight RGBA 0..1 (or uint8).
        style: "voxels" draws cubes, "surface" a smooth skin, "activity" a glow in a ghost of the body.
        quality: "high" takes more rays, samples and pixels, and seconds instead of tenths.
        size: (width, height) in pixels.
        azimuth: degrees from +x towards +y at which the eye stands; 0 looks along -x, -90 along +y. By default -58, and before
            the plane of a flat lattice.
        elevation: degrees above the floor, -89..89. By default 24; a body that lies flat is seen from above.
        background: CSS name, "#rrggbb" or three floats 0..1; "auto" is white, or nearly black under a glow.
        renderer: "auto" | "opengl" | "raymarch"; "auto" takes OpenGL where it works. A glow is the same with both.
        ground: draw the outline of the floor and the body's shadow.
        box: low and high corner (x,y,z), in cells, that fill the picture; default the body's own.
        legend: name -> colour (like `background`), drawn beside or below the body.
        axes: draw x, y and z with numbers of cells along the edges of the box.
        activity: (D,H,W) finite numbers that glow in style "activity", each ray in the colour of its largest;
            default the body's own thickness, in cells.
        activity_range: (low, high) of the glow's colours; default 0 to the largest value (for films give it, so that
            a colour means the same in each frame).

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    frame = as_frame(rgba, "volume")
    filled = body_box(frame) if box is None else as_box(box, "volume")
    azimuth, elevation = view(frame.shape[:3], azimuth, elevation)
    with Scene(
        filled,
        style,
        quality=quality,
        size=size,
        azimuths=[azimuth],
        elevation=elevation,
        background=background,
        renderer=renderer,
        ground=ground,
        legend=legend,
        axes=axes,
        activity_range=activity_range,
    ) as scene:
        return scene.draw(frame, activity=activity)
