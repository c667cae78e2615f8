"""From triangles to a `Target`: the mesh is fitted, filled and coloured, its holes are closed and its thin parts are kept."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.arrays import from_rgba
from nca3d.targets.fit import margins, room_for
from nca3d.targets.holes import CLOSED, Openings, Outline, outline
from nca3d.targets.options import check_fraction
from nca3d.targets.palette import colormap as map_colours
from nca3d.targets.palette import parse_color
from nca3d.targets.place import own_size, scaled_size
from nca3d.targets.sculpt import Colour
from nca3d.targets.solid import Inside, inside
from nca3d.targets.strays import CUT, cut_out, far_off
from nca3d.targets.target import Size, Target, Wanted
from nca3d.targets.thin import grown, joints, thin_parts
from nca3d.targets.voxelise import Mesh, areas, spread, surface

# Scans have a million faces or two; a mesh beyond this is slower to fill than it is to simplify.
MAX_FACES = 5_000_000

# The grid points in which the inside is looked for: some 300 MB of arrays. Lattices of more cells have one point a cell.
MAX_POINTS = 1 << 24

# Surface, in squares of grid points, that is looked at in some seconds, and in squares of cells, that is sampled in as many. A
# body of 256 cells has 0.4 million squares of cells; heaps of large faces, which no program writes, have hundreds of millions.
MAX_CROSSED = 8_000_000
MAX_SURFACE = 5_000_000


def from_mesh(
    mesh: Mesh,
    size: Wanted,
    where: object,
    name: str,
    *,
    margin: int = 1,
    fill: bool | str = "auto",
    thicken: bool = True,
    threshold: float = 0.3,
    colormap: str = "sunset",
    color: object = None,
    quiet: bool = False,
) -> Target:
    """Makes an "rgb" target of triangles, fitted into the room inside the margin.

    Whichever way its faces look, and whether they are doubled or parts overlap, all is solid that can't be reached from
    outside (see `solid`). A hole is closed where a disc of its area is narrower than a quarter of the longest side of its
    part; what has a wider opening, as a bowl has, is a shell: the cells that its surface runs through. So is a closed
    part of which alpha cuts out more than a quarter. `Target.notes` says which, and what else was decided.

    Args:
        mesh: The triangles, z up, in any unit.
        size: The lattice (D, H, W); "auto" = its own cells and the margin, if it is built of cells, else `place.LONGEST` cells
            along the longest side, and as small as the body allows.
        where: The name that errors and notes give it.
        name: The target's name in reports.
        margin: The cells left free at each face.
        fill: "auto" = solid, with small holes closed; True = every opening is closed and every hollow filled; False = the
            surface only.
        thicken: Whether parts thinner than a cell (wings, legs, wires) keep the cells that their surface runs through, so that
            what hangs together in the mesh does in cells, at least by corners; False = what the threshold alone fills.
        threshold: The share of its volume from which a cell is filled, above 0 to 1.
        colormap: The colour map along height, for a mesh without colours of its own.
        color: One colour for all of it; None = its own or the colour map.
        quiet: Whether to leave the notes out.

    Raises:
        InputError: If there are too many faces, a corner is not finite, or the mesh is flat.
    """
    threshold = check_fraction(threshold, where)
    mesh, dropped = _checked(mesh, where)
    low, high = mesh.corners.min((0, 1)), mesh.corners.max((0, 1))
    own: Size | None = None
    if size == "auto":
        own = _own_cells(mesh)
        size = scaled_size((high - low)[::-1], margin) if own is None else own_size(np.array(own), margin, where)
    room = room_for(size, margin, where)
    cell = float(((high - low) / np.array(room[::-1])).max())  # the axis that fills the room sets the scale
    origin = (low + high) / 2 - np.array(room[::-1]) * cell / 2
    placed, skin = _on_cells(replace(mesh, corners=(mesh.corners - origin) / cell), room)
    fine = _fineness(placed.corners, room, where)
    touched, painted = surface(skin, room)
    shape = outline(placed.corners)
    # Where alpha cuts holes, points of the surface are missing.
    uncut = touched if mesh.paint is None else surface(replace(skin, paint=None, colours=None), room)[0]
    holed = np.zeros(shape.parts, bool)
    if fill == "auto" and uncut.sum() > touched.sum():
        holed = cut_out(skin, shape, room)
    closed = shape.openings.share <= CLOSED if fill == "auto" else np.full(len(shape.openings.share), bool(fill))
    closed &= ~holed[shape.openings.part]
    found = (
        _inside(placed.corners, shape, closed, holed, room, fine, hollows=fill != "auto")
        if fill
        else Inside(np.zeros(room, np.float32), 0, np.zeros(room, np.float32))
    )
    solid = found.share >= threshold - 1e-6
    wide = _shells(shape.openings, closed, found.share)
    occupied = solid | thin_parts(touched > 0, solid, found.share)
    if not thicken:
        shells = np.isin(shape.part, shape.openings.part[wide]) | holed[shape.part] if fill else np.ones(len(shape.part), bool)
        occupied = solid | (occupied & (surface(Mesh(skin.corners[shells]), room)[0] > 0))
    elif fill:
        occupied |= joints(skin, shape.part, room, occupied)
    colours = _colours(painted, touched > 0, occupied, colormap, None if color is None else parse_color(color, where))
    rgba = np.concatenate([colours * occupied[..., None], occupied[..., None]], -1, dtype=np.float32)
    target = from_rgba(np.pad(rgba, [(free, free) for free in margins(size, margin)] + [(0, 0)]), name, where)
    target = replace(target, source_size=own)
    if quiet:
        return target
    stray = far_off(placed.corners, shape)
    notes = [line for line in (dropped, stray) if line]
    if fill:
        alone = holed & ~np.isin(np.arange(shape.parts), shape.openings.part)  # of one with an opening that is said anyway
        notes += _about_alpha(int(alone.sum()), int(((uncut > 0) & (touched == 0) & solid).sum()))
    notes += [
        *_about_openings(shape.openings, closed, wide, bool(fill)),
        *_about_inside(found, (found.share + found.hollow >= threshold - 1e-6) & ~occupied),
    ]
    thin = int((occupied & ~solid).sum())
    if fill and thicken and thin and not wide.any() and not holed.any():
        notes.append(f"{thin:,} cell{'s' * (thin > 1)} added where it is thinner than a cell; thicken = false leaves them out")
    if color is None and painted is None:
        notes.append(f"no colours in it: the colour map {colormap!r} along height; color = '#rrggbb' sets one")
    called = where.name if isinstance(where, Path) else str(where).removeprefix("target ")
    return replace(target, notes=tuple(f"{called}: {note}" for note in notes))


def _own_cells(mesh: Mesh) -> Size | None:
    """Returns the size (d, h, w) of a mesh that is built of cells; None if it isn't."""
    low = mesh.corners.min((0, 1))
    if not mesh.cell or not np.isclose((steps := (mesh.corners - low) / mesh.cell), np.rint(steps), atol=1e-3).all():
        return None
    width, height, depth = (int(n) for n in np.rint(steps.max((0, 1))))
    return depth, height, width


def _fineness(corners: np.ndarray, room: Size, where: object) -> int:
    """Returns the grid points along each cell in which the inside of triangles, measured in cells, is looked for.

    Raises:
        InputError: If there is more surface than could be looked at in some seconds.
    """
    area = float(areas(corners).sum())
    if area > MAX_SURFACE:
        found = f"{area:,.0f} cells of area in {len(corners):,} faces"
        raise InputError(where, "surface", found, f"at most {MAX_SURFACE:,}: fewer or smaller faces, or a smaller size")
    # Some 128 grid points along the longest side: small lattices can afford more of them in each cell.
    fine = int(np.clip(128 // max(room), 2, 6))
    while fine > 2 and area * fine**2 > MAX_CROSSED:
        fine -= 1
    return fine if np.prod(room) * fine**3 <= MAX_POINTS and area * fine**2 <= MAX_CROSSED else 1


def _inside(
    corners: np.ndarray, shape: Outline, closed: np.ndarray, holed: np.ndarray, room: Size, fine: int, *, hollows: bool
) -> Inside:
    """Returns the inside of triangles, measured in cells, with lids on the openings that are closed.

    Args:
        corners: The corners of N triangles, (N, 3, 3).
        shape: How they hang together.
        closed: The openings to close, bool (L,).
        holed: The parts that enclose nothing, bool (P,).
        room: The size (D, H, W) of the room that they lie in.
        fine: The grid points of a cell along each axis.
        hollows: Whether to fill hollows, whatever the windings say.
    """
    lids = shape.openings.lids(closed)
    single = shape.single[~holed[shape.part[shape.single]]]
    open_edges = np.concatenate([shape.open_edges[single], np.zeros(lids.shape[:2], bool)])
    part = None if hollows else shape.part[single]
    return inside(np.concatenate([corners[single], lids]), open_edges, room, fine, part)


def _shells(openings: Openings, closed: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Returns which openings lead into a shell: open, wider than a cell, and away from all that is solid, bool (L,)."""
    at = np.clip(np.floor(openings.middle), 0, np.array(share.shape[::-1]) - 1).astype(np.int64)
    return ~closed & (openings.width >= 1) & ~grown(share > 0.95)[at[:, 2], at[:, 1], at[:, 0]]


def _about_alpha(shells: int, cells: int) -> Iterator[str]:
    """Yields what was done about the holes of alpha: closed parts read as shells, and cells that the rest of a body fills."""
    if shells:
        parts = "1 part" if shells == 1 else f"{shells:,} parts"
        yield f"alpha cuts out more than {CUT:.0%} of {parts}: read as a shell; fill = true fills it"
    if cells:
        yield f"holes of its alpha closed where they lie on a solid part, in {cells:,} cells; fill = false leaves them open"


def _about_openings(openings: Openings, closed: np.ndarray, wide: np.ndarray, fill: bool) -> Iterator[str]:
    """Yields what was done about the openings of a mesh."""
    holes = closed & (openings.share > 1e-3)
    for which, one, many, done in (
        (holes, "1 hole", "holes", "closed"),
        (wide & fill, "1 opening", "openings", "read as a shell; fill = true closes it"),
    ):
        if which.any():
            widest = int(np.where(which, openings.width, -1).argmax())
            size = f"{openings.edges[widest]} edges, {100 * openings.share[widest]:.0f} % of the length of its part"
            count = int(which.sum())
            yield f"{one} of {size}: {done}" if count == 1 else f"{count:,} {many}, the widest of {size}: {done}"


def _about_inside(found: Inside, emptied: np.ndarray) -> Iterator[str]:
    """Yields what was done about the hollows of a mesh, and the cells that they leave empty, bool (D, H, W)."""
    if emptied.any():
        hollows = "1 hollow" if found.cavities == 1 else f"{found.cavities:,} hollows"
        count = int(emptied.sum())
        yield f"{hollows} of {count:,} cell{'s' * (count > 1)} left empty, as its windings say; fill = true fills it"
    if found.filled:
        yield f"{found.filled:,.0f} cells filled between parts of opposite windings: one of them is inside out"


def _colours(
    painted: np.ndarray | None, known: np.ndarray, occupied: np.ndarray, colormap: str, color: Colour | None
) -> np.ndarray:
    """Returns the colours (D, H, W, 3) of the occupied cells.

    Args:
        painted: The mesh's own colours, (D, H, W, 3), in the cells that are `known`; None = it has none.
        known: The cells that its surface runs through, bool (D, H, W).
        occupied: The cells of the body, bool (D, H, W).
        colormap: The map from the lowest to the highest occupied layer, where there is no colour else.
        color: The one colour of all cells; None = that of the mesh or the map.
    """
    if color is not None:
        return np.broadcast_to(color, (*occupied.shape, 3))
    if painted is not None:
        return spread(painted, known, occupied)
    levels = np.flatnonzero(occupied.any((1, 2)))
    low, high = (levels[0], levels[-1]) if len(levels) else (0, 0)
    height = (np.arange(len(occupied)) - low) / max(high - low, 1)
    return np.broadcast_to(map_colours(colormap, np.clip(height, 0, 1))[:, None, None], (*occupied.shape, 3))


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
    return replace(mesh, corners=whole), replace(mesh, corners=whole - 1e-3 * outward[:, None])


def _checked(mesh: Mesh, where: object) -> tuple[Mesh, str]:
    """Checks a mesh: not too many faces, finite, and not flat.

    Returns:
        The mesh without faces of no area, which would only stretch its extent, and the line about those, or "".
    """
    corners = mesh.corners
    if len(corners) > MAX_FACES:
        raise InputError(where, "faces", f"{len(corners):,}", f"at most {MAX_FACES:,}")
    bad = ~np.isfinite(corners).all(-1)
    if bad.any():
        face, corner = np.argwhere(bad)[0]
        found = f"{int(bad.sum())} corners not finite, the first in face {face}, corner {corner}"
        raise InputError(where, "vertices", found, "finite coordinates")
    extent = corners.max((0, 1)) - corners.min((0, 1))
    line = ""
    if 0 < extent.max() < np.inf:
        # In shares of its longest side: squares of very small or large numbers would be 0 or infinite.
        scaled = (corners - corners[:, :1]) / np.maximum(np.abs(corners - corners[:, :1]).max((1, 2)), 1e-300)[:, None, None]
        keep = np.flatnonzero(areas(scaled) > 1e-12)
        if not len(keep):
            raise InputError(where, "faces", f"{len(corners):,} without area", "a body: its faces are all points and lines")
        if len(keep) < len(corners):
            count = len(corners) - len(keep)
            line = "1 face without area left out" if count == 1 else f"{count:,} faces without area left out"
            mesh = mesh.only(keep)
            extent = mesh.corners.max((0, 1)) - mesh.corners.min((0, 1))
    if extent.min() <= 1e-6 * extent.max() or not np.isfinite(extent).all():
        sides = " x ".join(f"{side:.4g}" for side in extent)
        raise InputError(
            where,
            "extent",
            f"{sides} (flat)",
            "a body with length, width and height; a flat one is an image, or an array of one layer",
        )
    return mesh, line
