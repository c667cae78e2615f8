"""One light for every renderer: a sun over the viewer's left shoulder, a bright sky, a little light from the ground.

Colours are multiplied in linear light and shown in sRGB, so that shade keeps its hue.
"""

import numpy as np

from visualize.frames import FloatArray
from visualize.render.camera import Camera

SUN_AZIMUTH = -48.0  # degrees from the eye's azimuth: the light turns with it, so that no side is lost in the dark
SUN_ELEVATION = 52.0
SUN, SKY, GROUND = 0.64, 0.47, 0.34
GAMMA = 2.2


def sun_direction(camera: Camera) -> FloatArray:
    """The unit vector (3,) towards the sun, in world axes."""
    azimuth, elevation = np.radians([camera.azimuth + SUN_AZIMUTH, SUN_ELEVATION])
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], np.float32)


def sun_fan(camera: Camera, count: int, spread: float = 0.16) -> FloatArray:
    """Unit vectors (count, 3) over the sun's disc, for soft shadows; `spread` is the disc's radius in radians."""
    sun = sun_direction(camera)
    side = np.cross(sun, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    radius = spread * np.sqrt((np.arange(count) + 0.5) / count)
    fan = sun + (radius * np.cos(turn))[:, None] * side + (radius * np.sin(turn))[:, None] * np.cross(sun, side)
    return (fan / np.linalg.norm(fan, axis=1, keepdims=True)).astype(np.float32)


def hemisphere(count: int) -> FloatArray:
    """Cosine-weighted unit vectors (count, 3) around +z (a sunflower lifted to the sphere)."""
    radius = np.sqrt((np.arange(count) + 0.5) / count)
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    directions = np.stack([radius * np.cos(turn), radius * np.sin(turn), np.sqrt(1 - radius**2)], axis=1)
    return directions.astype(np.float32)


def brightness(normal: FloatArray, openness: FloatArray, sunlit: FloatArray, sun: FloatArray) -> FloatArray:
    """Light (n,) on surfaces in linear units; white in full sun is a little under 1.

    Args:
        normal: (n,3) unit normals.
        openness: (n,) how much of the sky is seen, 0..1.
        sunlit: (n,) how much of the sun is seen, 0..1.
        sun: (3,) unit vector towards the sun.
    """
    sky = GROUND + (SKY - GROUND) * (0.5 + 0.5 * normal[:, 2])
    return np.asarray(sky * openness + SUN * np.clip(normal @ sun, 0, None) * sunlit, np.float32)


def lit(colour: FloatArray, light: FloatArray) -> FloatArray:
    """Colours (n,3), in sRGB, under a light (n,); black keeps a trace of it, so that its form can be seen."""
    linear = 0.012 + 0.988 * colour**GAMMA
    return np.clip((linear * light[:, None]) ** (1 / GAMMA), 0, 1)


def on_paper(rgba: FloatArray, paper: FloatArray) -> FloatArray:
    """Colours (n,3) of cells (n,4): a faint cell is drawn solid but pale, as if one layer of it lay on the paper."""
    alpha = rgba[:, 3:]
    return rgba[:, :3] * alpha + paper * (1 - alpha)
