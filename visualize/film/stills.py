"""The frames of a trajectory as pictures, all seen by one camera in one scale: what strips on paper and on pages show."""

from numpy.typing import ArrayLike

from visualize.fields import activity_limits, glowing
from visualize.frames import Colour, Picture, as_frames, body_box
from visualize.render.scene import Scene
from visualize.render.view import AZIMUTH, ELEVATION, view


def stills(
    frames: ArrayLike,
    *,
    size: int = 300,
    style: str = "voxels",
    activity: ArrayLike | None = None,
    quality: str = "fast",
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    background: Colour = "auto",
    renderer: str = "auto",
) -> list[Picture]:
    """Pictures (size,size,3) uint8 of frames (T,D,H,W,4), one each, in a box that holds the bodies of all.

    Args:
        frames: (T,D,H,W,4), straight RGBA 0..1 (or uint8).
        size: pixels of each side.
        style: "voxels", "surface" or "activity", as in `volume`.
        activity: (T,D,H,W) numbers that glow in style "activity"; default how much alpha changed since the frame before.
        quality: "fast" or "high" light, as in `volume`.
        azimuth: where the eye stands around the body, in degrees, as in `volume`.
        elevation: how high the eye stands, in degrees, as in `volume`.
        background: the paper's colour, as in `volume`.
        renderer: "auto", "opengl" or "raymarch", as in `volume`.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    checked = as_frames(frames, "film_strip")
    azimuth, elevation = view(checked.shape[1:4], azimuth, elevation, "film_strip")
    glow = glowing(activity, checked, style, "film_strip")
    with Scene(
        body_box(checked),
        style,
        quality=quality,
        size=(size, size),
        azimuths=[azimuth],
        elevation=elevation,
        background=background,
        renderer=renderer,
        activity_range=None if glow is None else activity_limits(glow),
    ) as scene:
        return [scene.draw(frame, activity=None if glow is None else glow[index]) for index, frame in enumerate(checked)]
