"""The real bodies that pyvista carries with it: a frog, an ant, an aeroplane, a nut, the Earth, river channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.build import from_labels, from_rgba
from nca3d.targets.fit import Size, fit_labels, parse_orientation
from nca3d.targets.meshes import VIZ, from_mesh
from nca3d.targets.options import check_share
from nca3d.targets.sculpt import ball, carve
from nca3d.targets.target import Target
from nca3d.targets.volumes import from_volume, image_volume
from nca3d.targets.voxelise import Mesh

TISSUES = (
    "blood",
    "brain",
    "duodenum",
    "eye retina",
    "eye white",
    "heart",
    "ileum",
    "kidney",
    "large intestine",
    "liver",
    "lung",
    "nerve",
    "skeleton",
    "spleen",
    "stomach",
)
"""Labels 1 to 15 of the frog; those above are a handful of stray voxels."""
TISSUE_COLOURS = (
    "#c8323c",
    "#f29fc0",
    "#e8b04a",
    "#39b7c9",
    "#7ce0e6",
    "#e0244e",
    "#d9c94f",
    "#9c4a2f",
    "#d98a3d",
    "#8c3b2a",
    "#f07f86",
    "#f5e96b",
    "#f1ead6",
    "#7c4fb0",
    "#6fb35a",
)


def _examples(name: str) -> Any:
    try:
        from pyvista import examples
    except ImportError as error:
        raise InputError(f"target {name!r}", "pyvista", "not installed", VIZ) from error
    return examples


def frog(size: Size, *, margin: int = 0, threshold: float = 0.08) -> Target:
    """Frog: skeleton and organs of a real one, 15 tissues as classes (best from 14 x 31 x 32 up).

    The scanned block is fitted whole: it has its own free border, so that the margin is 0 by default. There is no skin, so
    bones are thin: at a `threshold` (share of a cell's volume) of 0.25 they break into pieces that growth can't reach.
    """
    where = "target 'frog'"
    threshold = check_share(threshold, where)
    volume = image_volume(_examples("frog").load_frog_tissues(), where)
    tissue = np.where(volume.voxels <= len(TISSUES), volume.voxels, 0)
    labels = fit_labels(tissue, size, margin, threshold, where, volume.spacing, whole=True)
    names = dict(enumerate(TISSUES, 1))
    colours = dict(enumerate(TISSUE_COLOURS, 1))
    kept = [int(label) for label in np.unique(labels) if label]
    return from_labels(labels, "frog", where, palette=[colours[label] for label in kept], names=names)


def airplane(size: Size, *, margin: int = 1, threshold: float = 0.3, colormap: str = "ice", color: Any = None) -> Target:
    """Aeroplane: a jet with swept wings (best from 8 x 28 x 32 up)."""
    mesh = _triangles(_examples("airplane").load_airplane())
    return _mesh("airplane", mesh, size, margin, threshold, colormap, color)


def ant(size: Size, *, margin: int = 1, threshold: float = 0.3, colormap: str = "sunset", color: Any = None) -> Target:
    """Ant: six legs and two feelers, all one piece (best from 14 x 22 x 22 up)."""
    mesh = _triangles(_examples("ant").load_ant(), "x-zy")
    return _mesh("ant", mesh, size, margin, threshold, colormap, color)


def nut(size: Size, *, margin: int = 1, threshold: float = 0.3, colormap: str = "viridis", color: Any = None) -> Target:
    """Nut: a hexagonal one, lying flat, with its hole."""
    mesh = _triangles(_examples("nut").load_nut(), "x-zy")
    return _mesh("nut", mesh, size, margin, threshold, colormap, color)


def globe(size: Size, *, margin: int = 1) -> Target:
    """Globe: the Earth by day, seas and continents on a ball."""
    where = "target 'globe'"
    picture = np.asarray(_examples("globe").load_globe_texture().to_array(), np.float64)[..., :3] / 255

    def paint(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        # Longitude runs along the picture, latitude down it; brighter, or the seas are black on a small lattice.
        column = (np.arctan2(y, x) / (2 * np.pi) + 0.5) % 1 * (picture.shape[1] - 1)
        row = (0.5 - np.arcsin(z / np.maximum(np.sqrt(x**2 + y**2 + z**2), 1e-9)) / np.pi) * (picture.shape[0] - 1)
        return np.clip(picture[row.astype(int), column.astype(int)] * 1.25 + 0.05, 0, 1)

    return from_rgba(carve([ball(paint, (0, 0, 0), 1.0)], size, margin), "globe", where)


def channels(size: Size, *, margin: int = 1, threshold: float = 0.3) -> Target:
    """Channels: a river bed in old rock, its kinds of sediment as classes."""
    where = "target 'channels'"
    volume = image_volume(_examples("channels").load_channels(), where)
    colours = {1: "#f2c14e", 2: "#3f88c5", 3: "#d1495b", 4: "#66a182"}
    return from_volume(volume, size, where, "channels", margin=margin, coverage=threshold, palette=colours)


def _triangles(surface: Any, orientation: str = "xyz") -> Mesh:
    """The triangles of a pyvista surface, turned so that it stands or lies as one expects."""
    surface = surface.triangulate().clean()
    corners = np.asarray(surface.points, np.float64)[surface.regular_faces]
    turned = [sign * corners[..., 2 - axis] for axis, sign in reversed(parse_orientation(orientation, "target"))]
    return Mesh(np.stack(turned, -1))


def _mesh(name: str, mesh: Mesh, size: Size, margin: int, threshold: float, colormap: str, color: Any) -> Target:
    return from_mesh(
        mesh,
        size,
        f"target {name!r}",
        name,
        margin=margin,
        threshold=threshold,
        colormap=colormap,
        color=color,
        quiet=True,
    )
