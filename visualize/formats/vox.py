"""MagicaVoxel files (.vox): a body, or a film as an animation.

Written here, by the format's own description (https://github.com/ephtracy/voxel-model: MagicaVoxel-file-format-vox.txt
and -vox-extension.txt): the writers on PyPI are years old, and none of them knows animations. A file is a tree of
chunks, each a name of four letters, the length of its content and that of its children.
"""

import struct
from pathlib import Path

import numpy as np

from visualize.errors import ArgumentError
from visualize.files import atomic_file
from visualize.formats.content import Content, Numbers
from visualize.frames import Picture, occupied

LARGEST = 256  # cells a side: a place is a byte
COLOURS = 255  # index 0 is empty
# The name of a film's topmost node, by which nca3d knows the grown body in it, the last frame; others pass names over.
FILM = "nca3d film"


def write_vox(content: Content, path: Path) -> None:
    """Writes every frame as a model; several play as an animation, one frame of the file a frame of the film.

    x, y and z are MagicaVoxel's own, z up. More than 255 colours are reduced to the best 255 for all frames together.
    The format holds neither steps nor the cells' size; alpha is dropped, cells above 0.1 are opaque.

    Raises:
        ValueError: a side is longer than 256 cells, or no frame has an occupied cell.
    """
    depth, height, width = content.size
    if max(content.size) > LARGEST:
        raise ArgumentError("save", "frames", f"{depth}x{height}x{width} cells", f"at most {LARGEST} a side for .vox")
    bodies = [occupied(frame) for frame in content.frames]
    colours = [content.rgba(index)[body][:, :3] for index, body in enumerate(bodies)]
    if not any(map(len, colours)):
        raise ArgumentError("save", "frames", "no cell with alpha above 0.1", "one or more for .vox")
    palette, indices = _palette(np.concatenate(colours))
    indices_of = np.split(indices, np.cumsum([len(part) for part in colours])[:-1])
    chunks = []
    for index in content.each_frame():
        places = np.argwhere(bodies[index])[:, ::-1]
        voxels = np.concatenate([places, indices_of[index][:, None] + 1], axis=1).astype(np.uint8)
        chunks.append(_chunk(b"SIZE", struct.pack("<3i", width, height, depth)))
        chunks.append(_chunk(b"XYZI", struct.pack("<i", len(voxels)) + voxels.tobytes()))
    film = len(bodies) > 1
    if film:
        chunks.extend(_scene(len(bodies), depth))
    rows = np.zeros((256, 4), np.uint8)
    rows[: len(palette)] = np.concatenate([palette, np.full((len(palette), 1), 255, np.uint8)], axis=1)
    chunks.append(_chunk(b"RGBA", rows.tobytes()))
    # Plain models are version 150, which every reader knows; animations came with 200.
    with atomic_file(path) as beside:
        header = b"VOX " + struct.pack("<i", 200 if film else 150)
        beside.write_bytes(header + _chunk(b"MAIN", b"", b"".join(chunks)))


def _palette(colours: Picture) -> tuple[Picture, Numbers]:
    """At most 255 colours (n,3) and for each given colour (m,3) which one it takes."""
    # One number a colour: sorting rows of three takes ten times as long.
    numbers, index = np.unique(colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32), return_inverse=True)
    distinct = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1).astype(np.uint8)
    if len(distinct) <= COLOURS:
        return distinct, index
    from PIL import Image

    # A picture of the distinct colours, one pixel each: common ones shouldn't push rare ones (an eye) out.
    chosen = Image.fromarray(distinct[None]).quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette = np.array(chosen.getpalette(), np.uint8).reshape(-1, 3)[:COLOURS]
    return palette, np.asarray(chosen).reshape(-1)[index]


def _scene(models: int, depth: int) -> list[bytes]:
    """The nodes that make models the frames of one shape, standing on the floor: transform, group, transform, shape."""
    frames = b"".join(struct.pack("<i", model) + _words({"_f": str(model)}) for model in range(models))
    return [
        _chunk(b"nTRN", _transform(0, 1, {}, {"_name": FILM})),
        _chunk(b"nGRP", struct.pack("<i", 1) + _words({}) + struct.pack("<2i", 1, 2)),
        _chunk(b"nTRN", _transform(2, 3, {"_t": f"0 0 {depth // 2}"})),
        _chunk(b"nSHP", struct.pack("<i", 3) + _words({"_loop": "1"}) + struct.pack("<i", models) + frames),
    ]


def _transform(node: int, child: int, place: dict[str, str], attributes: dict[str, str] | None = None) -> bytes:
    return struct.pack("<i", node) + _words(attributes or {}) + struct.pack("<4i", child, -1, -1, 1) + _words(place)


def _words(pairs: dict[str, str]) -> bytes:
    """A dictionary as the format has it: a count, then each word after its length."""
    words = [word.encode() for pair in pairs.items() for word in pair]
    return struct.pack("<i", len(pairs)) + b"".join(struct.pack("<i", len(word)) + word for word in words)


def _chunk(name: bytes, content: bytes, children: bytes = b"") -> bytes:
    return name + struct.pack("<2i", len(content), len(children)) + content + children
