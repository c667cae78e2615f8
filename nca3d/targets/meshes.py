"""From triangles to a `Target`: the mesh is fitted, filled and coloured, and its thin parts are kept."""

import warnings

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.arrays import from_rgba
from nca3d.targets.fit import margins, room_for
from nca3d.targets.options import check_fraction
from nca3d.targets.palette import colormap as map_colours
from nca3d.targets.palette import parse_color
from nca3d.targets.place import scaled_size
from nca3d.targets.target import Size, Target, Wanted
from nca3d.targets.voxelise import Mesh, coverage, open_edges, spread, surface, thin_parts

# Scans have a million faces or two; a mesh beyond this is slower to fill than it is to simplify.
MAX_FACES = 5_000_000


def from_mesh(
    mesh: Mesh,
    size: Wanted,
    where: object,
    name: str,
    *,
    margin: int = 1,
    fill: bool = True,
    threshold: float = 0.3,
    colormap: str = "sunset",
    color: object = None,
    quiet: bool = False,
) -> Target:
    """Makes an "rgb" target of triangles, fitted into the room inside the margin.

    Parts thinner than a cell (wings, legs, open sheets) keep the cells that their surface runs through. A mesh that
    isn't watertight is filled where rays along most axes agree, with a warning that says how many cells.

    Args:
        mesh: The triangles, z up, in any unit.
        size: The lattice (D, H, W); "auto" = `place.LONGEST` cells along the longest side, else as small as the body allows.
        where: The name that errors and warnings give it.
        name: The target's name in reports.
        margin: The cells left free at each face.
        fill: Whether the body is solid; False = its surface only.
        threshold: The share of its volume from which a cell is filled, above 0 to 1.
        colormap: The colour map along height, for a mesh without colours of its own.
        color: One colour for all of it; None = its own or the colour map.
        quiet: Whether to leave the warning out.

    Raises:
        InputError: If there are too many faces, a corner is not finite, or the mesh is flat.
    """
    threshold = check_fraction(threshold, where)
    _check_mesh(mesh.corners, where)
    low, high = mesh.corners.min((0, 1)), mesh.corners.max((0, 1))
    if size == "auto":
        size = scaled_size((high - low)[::-1], margin)
    room = room_for(size, margin, where)
    cell = float(((high - low) / np.array(room[::-1])).max())  # the axis that fills the room sets the scale
    origin = (low + high) / 2 - np.array(room[::-1]) * cell / 2
    placed, skin = _on_cells(Mesh((mesh.corners - origin) / cell, mesh.colours), room)
    touched, painted = surface(skin, room)
    # Some 128 sample points along the longest side: small lattices can afford more of them in each cell.
    share = coverage(placed, room, int(np.clip(128 // max(room), 2, 6))) if fill else np.zeros(room, np.float32)
    solid = share >= threshold - 1e-6
    gaps = open_edges(mesh.corners) if fill and not quiet else 0
    occupied = solid | thin_parts(touched > 0, solid, share)
    if gaps:
        warnings.warn(
            f"{where}: mesh: found {gaps} edges with an odd number of faces (not watertight); "
            f"{int(occupied.sum())} cells filled: {int(solid.sum())} where rays along most axes agree, "
            f"{int((occupied & ~solid).sum())} more where there is only surface",
            stacklevel=2,
        )
    if color is not None:
        colours = np.broadcast_to(parse_color(color, where), (*room, 3))
    elif painted is not None:
        colours = spread(painted, touched > 0, occupied)
    else:
        # The map runs from the lowest to the highest occupied layer, not over the whole room.
        levels = np.flatnonzero(occupied.any((1, 2)))
        height = (np.arange(room[0]) - levels[0]) / max(levels[-1] - levels[0], 1)
        colours = np.broadcast_to(map_colours(colormap, np.clip(height, 0, 1))[:, None, None], (*room, 3))
    rgba = np.concatenate([colours * occupied[..., None], occupied[..., None]], -1)
    return from_rgba(np.pad(rgba, [(free, free) for free in margins(size, margin)] + [(0, 0)]), name, where)


def _on_cells(mesh: Mesh, room: Size) -> tuple[Mesh, Mesh]:
    """Aligns a body built of whole cells (a .glb that `visualize.save` wrote) with the cells of the lattice.

    Centred, such a body lies half a cell off wherever it leaves an odd number of cells free, and each of its cells would
    count twice. Any other mesh is left as it is.

    Returns:
        The mesh to be filled, and the mesh whose surface gives the colours.
    """
    corners = mesh.corners - mesh.corners.min((0, 1))
    whole = np.rint(corners)
    square = (np.ptp(whole, axis=1) == 0).any(-1)  # at a right angle to some axis
    if np.abs(corners - whole).max() > 1e-3 or not square.all():
        return mesh, mesh
    whole += (np.array(room[::-1]) - whole.max((0, 1))) // 2
    normals = np.cross(whole[:, 1] - whole[:, 0], whole[:, 2] - whole[:, 0])
    outward = np.sign(normals) * np.sign((normals * whole[:, 0]).sum())  # the volume is negative inside out
    # Its faces lie between two cells: drawn in by a hair, they paint the one that is filled.
    return Mesh(whole, mesh.colours), Mesh(whole - 1e-3 * outward[:, None], mesh.colours)


def _check_mesh(corners: np.ndarray, where: object) -> None:
    """Checks the corners (N, 3, 3) of a mesh: not too many, finite, and not flat."""
    if len(corners) > MAX_FACES:
        raise InputError(where, "faces", f"{len(corners):,}", f"at most {MAX_FACES:,}")
    bad = ~np.isfinite(corners).all(-1)
    if bad.any():
        face, corner = np.argwhere(bad)[0]
        found = f"{int(bad.sum())} corners not finite, the first in face {face}, corner {corner}"
        raise InputError(where, "vertices", found, "finite coordinates")
    extent = corners.max((0, 1)) - corners.min((0, 1))
    if extent.min() <= 1e-6 * extent.max() or not np.isfinite(extent).all():
        sides = " x ".join(f"{side:.4g}" for side in extent)
        raise InputError(where, "extent", f"{sides} (flat)", "a body with length, width and height")
