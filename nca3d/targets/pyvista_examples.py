"""Bodies from data sets that come with pyvista: a frog, an ant, river channels.

The first line of each function is its line in `nca3d.targets.catalogue()`.
"""

from typing import Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.arrays import from_labels
from nca3d.targets.fit import fit_labels
from nca3d.targets.meshes import from_mesh
from nca3d.targets.options import VIZ, check_fraction
from nca3d.targets.readers.vtk import image_volume
from nca3d.targets.target import Size, Target
from nca3d.targets.volumes import from_volume
from nca3d.targets.voxelise import Mesh

# Labels 1 to 15 of the frog and their colours; those above are a handful of stray voxels.
TISSUES = {
    "blood": "#c8323c",
    "brain": "#f29fc0",
    "duodenum": "#e8b04a",
    "eye retina": "#39b7c9",
    "eye white": "#7ce0e6",
    "heart": "#e0244e",
    "ileum": "#d9c94f",
    "kidney": "#9c4a2f",
    "large intestine": "#d98a3d",
    "liver": "#8c3b2a",
    "lung": "#f07f86",
    "nerve": "#f5e96b",
    "skeleton": "#f1ead6",
    "spleen": "#7c4fb0",
    "stomach": "#6fb35a",
}


def _examples(name: str) -> Any:
    """Returns pyvista's module of examples.

    Raises:
        InputError: If pyvista is not installed.
    """
    try:
        from pyvista import examples
    except ImportError as error:
        raise InputError(f"target {name!r}", "pyvista", "not installed", VIZ) from error
    return examples


def frog(size: Size, *, margin: int = 0, threshold: float = 0.08) -> Target:
    """Frog: skeleton and organs of a real one, 15 tissues as classes (best from 14 x 31 x 32 up).

    The scanned block is fitted whole: it has its own free border, so that the margin is 0 by default. There is no skin, so
    bones are thin: at a `threshold` (share of a cell's volume) of 0.25 they break into pieces that growth can't reach.

    Args:
        size: The lattice (D, H, W).
        margin: The cells left free at each face.
        threshold: The share of its volume from which a cell is filled, above 0 to 1.
    """
    where = "target 'frog'"
    threshold = check_fraction(threshold, where)
    volume = image_volume(_examples("frog").load_frog_tissues(), where)
    tissue = np.where(volume.voxels <= len(TISSUES), volume.voxels, 0)
    labels = fit_labels(tissue, size, margin, threshold, where, volume.spacing, whole=True)
    names, colours = dict(enumerate(TISSUES, 1)), dict(enumerate(TISSUES.values(), 1))
    return from_labels(labels, "frog", where, palette=colours, names=names)


def ant(size: Size, *, margin: int = 1) -> Target:
    """Ant: six legs and two feelers, all one piece (best from 14 x 22 x 22 up)."""
    surface = _examples("ant").load_ant().triangulate().clean()
    mesh = Mesh(np.asarray(surface.points, np.float64)[surface.regular_faces]).upright()
    # The scan has open edges, as is known: a warning would tell a user nothing that they could change.
    return from_mesh(mesh, size, "target 'ant'", "ant", margin=margin, quiet=True)


def channels(size: Size, *, margin: int = 1) -> Target:
    """Channels: a river bed in old rock, its kinds of sediment as classes."""
    where = "target 'channels'"
    volume = image_volume(_examples("channels").load_channels(), where)
    colours = {1: "#f2c14e", 2: "#3f88c5", 3: "#d1495b", 4: "#66a182"}
    return from_volume(volume, size, where, "channels", margin=margin, coverage=0.3, palette=colours)
