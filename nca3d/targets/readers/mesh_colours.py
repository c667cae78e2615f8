"""Colours of meshes: factors, textures and colours of corners become what a display shows at any point of the surface."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.meshes import MAX_FACES
from nca3d.targets.readers.textures import Texture
from nca3d.targets.voxelise import Mesh

# Glass is part of a body; what is less opaque than this (decals, shadows, helpers of modellers) is none.
GLASS = 0.1


@dataclass(frozen=True, eq=False)
class Material:
    """What all triangles of a part share.

    Attributes:
        name: Its name in the file, for notes.
        factor: Straight RGBA that the texture and the colours of corners are multiplied by, 0..1.
        texture: Its picture, or None.
        linear: Whether `factor` and the colours of corners are linear, as in glTF; else they are display colours. Textures
            are display colours always.
        cut: The alpha below which a point is a hole; 0 = alpha says nothing here.
    """

    name: str = ""
    factor: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    texture: Texture | None = None
    linear: bool = False
    cut: float = 0.0

    def shade(self, colours: np.ndarray | None, uv: np.ndarray | None, count: int) -> np.ndarray:
        """Returns display colours (count, 4) of points, alpha 1 or 0 (a hole), from RGBA (count, 4) and (u, v) (count, 2)."""
        rgba = np.tile(np.asarray(self.factor, np.float32), (count, 1))
        if colours is not None:
            rgba *= colours
        if self.texture is not None and uv is not None:
            texels = self.texture.at(uv)
            if self.linear:
                texels[:, :3] = to_linear(texels[:, :3])
            rgba *= texels
        rgba = np.clip(rgba, 0, 1)
        if self.linear:
            rgba[:, :3] = to_display(rgba[:, :3])
        rgba[:, 3] = rgba[:, 3] >= self.cut
        return rgba


# Of parts that have colours of corners alone, and, grey, of parts of a coloured scene that have no colour.
WHITE = Material()
PLAIN = Material(factor=(0.7, 0.7, 0.7, 1.0))


@dataclass(frozen=True, eq=False)
class Part:
    """Triangles of one material.

    Attributes:
        corners: The corners as x, y, z, (N, 3, 3).
        material: Its material; None = the file names none.
        colours: Straight RGBA of the corners, 0..1, (N, 3, 4), or None.
        uv: The places of the corners in the texture, (N, 3, 2); v runs down the picture, as in glTF.
        source: Where `colours` come from, as in "colours of vertices".
        cell: The length of the cells that it is built of; 0 = it is built of none.
    """

    corners: np.ndarray
    material: Material | None = None
    colours: np.ndarray | None = None
    uv: np.ndarray | None = None
    source: str = "vertices"
    cell: float = 0.0


@dataclass(frozen=True, eq=False)
class Paint:
    """The colours of a whole mesh, see `Mesh.paint`.

    Attributes:
        looks: The materials.
        look: The index of each triangle's material, (N,).
        colours: Straight RGBA of the corners, (N, 3, 4), or None.
        uv: The places of the corners in their texture, (N, 3, 2), or None.
    """

    looks: tuple[Material, ...]
    look: np.ndarray
    colours: np.ndarray | None
    uv: np.ndarray | None

    def __call__(self, triangles: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Returns display RGBA (S, 4) of points: indices of triangles (S,), barycentric shares (S, 3)."""
        mine = self.look[triangles]
        rgba = np.empty((len(triangles), 4), np.float32)
        for index in np.unique(mine):
            which = np.flatnonzero(mine == index)
            share, tri = shares[which].astype(np.float32), triangles[which]
            colours = None if self.colours is None else np.einsum("sk,skd->sd", share, self.colours[tri])
            uv = None if self.uv is None else np.einsum("sk,skd->sd", share, self.uv[tri])
            rgba[which] = self.looks[index].shade(colours, uv, len(which))
        return rgba


def join(parts: Sequence[Part], path: Path) -> tuple[Mesh, list[str]]:
    """Returns the mesh of all parts of a file, and the line that says where its colours come from.

    Raises:
        InputError: If there is no triangle, or more than `MAX_FACES`.
    """
    parts = [part for part in parts if len(part.corners)]
    faces = sum(len(part.corners) for part in parts)
    if not faces:
        raise InputError(path, "faces", "none", "a mesh with at least one triangle")
    if faces > MAX_FACES:
        raise InputError(path, "faces", f"{faces:,}", f"at most {MAX_FACES:,}: simplify it first (Blender: Decimate)")
    corners = np.concatenate([part.corners for part in parts])
    if all(part.material is None and part.colours is None for part in parts):
        return Mesh(corners), []
    parts, said = _see_through(_unrepeated(parts))
    looks = tuple(dict.fromkeys(_look(part) for part in parts))
    index = {look: number for number, look in enumerate(looks)}
    look = np.repeat([index[_look(part)] for part in parts], [len(part.corners) for part in parts])
    colours = _stacked([part.colours for part in parts], parts, 4, 1.0)
    uv = _stacked([part.uv for part in parts], parts, 2, 0.0)
    paint = Paint(looks, look, colours, uv)
    at_corners = np.empty((faces, 3, 3), np.float32)
    for corner, share in enumerate(np.eye(3, dtype=np.float32)):
        at_corners[:, corner] = paint(np.arange(faces), np.broadcast_to(share, (faces, 3)))[:, :3]
    # Between corners that are all there is, colours run evenly: only pictures and holes are worth a question at each point.
    asked = any(one.texture is not None or one.cut > 0 for one in looks)
    cell = parts[0].cell if len(parts) == 1 else 0.0
    return Mesh(corners, at_corners, paint if asked else None, cell), [_said(parts, looks), *said]


def _look(part: Part) -> Material:
    """Returns the material that a part is drawn with."""
    return part.material or (WHITE if part.colours is not None else PLAIN)


def _stacked(arrays: Sequence[np.ndarray | None], parts: Sequence[Part], bands: int, missing: float) -> np.ndarray | None:
    """Returns numbers of corners for all parts, (N, 3, bands); None if no part has any."""
    if all(array is None for array in arrays):
        return None
    each = [
        np.full((len(part.corners), 3, bands), missing, np.float32)
        if array is None
        # Far beyond any picture, a number of 32 bits has no place between two pixels left.
        else np.nan_to_num(np.clip(array, -1e5, 1e5)).astype(np.float32)
        for array, part in zip(arrays, parts, strict=True)
    ]
    return np.concatenate(each)


def _see_through(parts: Sequence[Part]) -> tuple[list[Part], list[str]]:
    """Returns the parts with a cut where alpha can be below it, and the line about that.

    Alpha that would leave nothing of the body is left out of account: some programs write 0 for one that they don't know.
    """
    cut = [part for part in parts if _look(part).cut > 0]
    nothing = len(cut) == len(parts) and not any(_alpha(part)[1] >= _look(part).cut for part in cut)
    holed = {_look(part) for part in cut if not nothing and _alpha(part)[0] < _look(part).cut}
    whole = {look: replace(look, cut=0.0) for look in map(_look, cut) if look not in holed}
    parts = [replace(part, material=whole[_look(part)]) if _look(part) in whole else part for part in parts]
    if nothing:
        return parts, ["alpha: transparent everywhere, left out of account"]
    limits = " or ".join(f"{limit:g}" for limit in sorted({look.cut for look in holed}))
    return parts, [f"alpha: cut out where it is below {limits}"] * bool(holed)


def _alpha(part: Part) -> tuple[float, float]:
    """Returns bounds of the alpha of a part: the least and the most that it can be."""
    look = _look(part)
    least = most = look.factor[3]
    if part.colours is not None:
        least, most = least * float(part.colours[..., 3].min()), most * float(part.colours[..., 3].max())
    if look.texture is not None and part.uv is not None:
        low, high = look.texture.alpha
        least, most = least * low, most * high
    return least, most


def _unrepeated(parts: Sequence[Part]) -> list[Part]:
    """Returns the parts, their pictures clamped where no corner lies beyond an edge: there, opposite edges would only mix."""
    beyond = {
        _look(part) for part in parts if part.uv is not None and not (part.uv.min() >= -1e-6 and part.uv.max() <= 1 + 1e-6)
    }
    clamped: dict[Material, Material] = {}
    for look in {_look(part) for part in parts} - beyond:
        if look.texture is not None:
            clamped[look] = replace(look, texture=replace(look.texture, wrap=("clamp", "clamp")))
    return [replace(part, material=clamped[_look(part)]) if _look(part) in clamped else part for part in parts]


def _said(parts: Sequence[Part], looks: Sequence[Material]) -> str:
    """Returns the line that says where the colours come from."""
    own = [look for look in looks if look is not PLAIN]
    textured = sum(look.texture is not None for look in own)
    named = {part.material for part in parts if part.material is not None and part.material.texture is None}
    flat = sum(any(not math.isclose(band, 1) for band in look.factor) for look in named)
    words = [f"the texture{'s' * (textured > 1)} of {textured} material{'s' * (textured > 1)}"] * bool(textured)
    words += [f"{flat} material{'s' * (flat > 1)}"] * bool(flat)
    words += dict.fromkeys(part.source for part in parts if part.colours is not None)
    plain = "; parts without any are grey" if PLAIN in looks else ""
    return f"colours of {', '.join(words or ['a white material'])}{plain}"


def to_display(linear: np.ndarray) -> np.ndarray:
    """Returns linear colours of any shape, 0..1, as a display shows them (sRGB, IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def to_linear(display: np.ndarray) -> np.ndarray:
    """Returns the linear colours of display colours of any shape, 0..1: the inverse of `to_display`."""
    return np.where(display <= 0.04045, display / 12.92, ((np.maximum(display, 0) + 0.055) / 1.055) ** 2.4)
