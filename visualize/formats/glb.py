"""Binary glTF (.glb) for Blender and web viewers: the visible faces of a body's cells with their colours."""

from pathlib import Path
from typing import Any

import numpy as np

from visualize.errors import ArgumentError
from visualize.files import atomic_file
from visualize.formats.content import Content
from visualize.frames import FloatArray, Picture, occupied
from visualize.render.faces import face_vertices
from visualize.render.march import IntArray

# Without it glTF takes a body for polished metal, which is black where there is nothing to reflect.
MATERIAL = {
    "name": "cells",
    "pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0, "roughnessFactor": 0.9},
}


def write_glb(content: Content, path: Path) -> None:
    """Writes the last frame as one mesh; only faces between an occupied and a free cell, none inside.

    glTF has y up: its (x, y, z) are our (x, z, -y), so that the body stands and isn't mirrored. Colours are linear, as
    glTF 2.0 has them (section 3.9.2), so that viewers show the ones that were given; alpha is kept in them, but drawn
    opaque: translucent faces of one mesh can't be sorted. No normals: by the standard faces are then flat.

    Raises:
        ValueError: no cell of the last frame is occupied.
    """
    frame = content.frames[-1]
    if not occupied(frame).any():
        raise ArgumentError("save", "frames", "no cell with alpha above 0.1 in the last frame", "one or more for .glb")
    import trimesh
    from trimesh.exchange.gltf import export_glb

    points, quads, colours = _skin(frame)
    placed = np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1) * content.cell_size
    triangles = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    mesh = trimesh.Trimesh(placed, triangles, vertex_colors=colours, process=False)
    mesh.metadata.update(step=content.steps[-1].item(), cell_size=content.cell_size)

    def paint(tree: dict[str, Any]) -> None:
        tree["materials"] = [MATERIAL]
        tree["meshes"][0]["primitives"][0]["material"] = 0

    scene = trimesh.Scene()
    scene.add_geometry(mesh, node_name="body", geom_name="body")
    with atomic_file(path) as beside:
        beside.write_bytes(export_glb(scene, include_normals=False, tree_postprocessor=paint))


def _skin(frame: FloatArray) -> tuple[IntArray, IntArray, Picture]:
    """Points (n,3) x,y,z, squares (m,4) counter-clockwise from outside and the points' linear colours (n,4)."""
    body = np.pad(occupied(frame).transpose(2, 1, 0), 1)
    cells, orientations = [], []
    for axis in range(3):
        for side in (0, 1):
            found = np.argwhere(body & ~np.roll(body, 1 - 2 * side, axis=axis)) - 1
            cells.append(found)
            orientations.append(np.full(len(found), 2 * axis + side))
    cell, orientation = np.concatenate(cells).astype(np.int32), np.concatenate(orientations).astype(np.int32)
    corners = face_vertices(cell, orientation)
    corners[orientation % 2 == 0] = corners[orientation % 2 == 0, ::-1]  # these look the other way
    colours = _linear(frame[cell[:, 2], cell[:, 1], cell[:, 0]])
    # Neighbours of one colour share their points, which makes the file a third as large.
    rows = np.concatenate([corners.reshape(-1, 3), np.repeat(colours, 4, axis=0)], axis=1)
    points, index = np.unique(rows, axis=0, return_inverse=True)
    return points[:, :3], index.reshape(-1, 4).astype(np.int32), points[:, 3:].astype(np.uint8)


def _linear(colour: FloatArray) -> Picture:
    """Display colours (n,4) as linear bytes, alpha as it is (IEC 61966-2-1)."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return (np.concatenate([linear[:, :3], colour[:, 3:]], axis=1) * 255 + 0.5).astype(np.uint8)
