"""MagicaVoxel's chunks (.vox): the models of a file with their colours, and the scene that places them.

They are read here, by the format's own description (https://github.com/ephtracy/voxel-model:
MagicaVoxel-file-format-vox.txt and -vox-extension.txt): what PyPI has (midvoxio, numpy-vox, pyvox-files, all years old)
ignores rotations, hidden nodes or the default palette, or makes room for whatever a broken file promises.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nca3d.errors import InputError

# A place is a byte, and MagicaVoxel itself makes no larger model.
LARGEST = 256
# A whole lattice of voxels is 64 MiB; more is no file of a voxel editor.
MAX_FILE = 1 << 28
WHOLE = "a whole MagicaVoxel file"


class Model(NamedTuple):
    """One model: its size (x, y, z) and its voxels, uint8 (n, 4), each x, y, z and the index of its colour."""

    size: tuple[int, int, int]
    voxels: np.ndarray


class Transform(NamedTuple):
    """A node that places its child: rows of a rotation (3, 3) and a translation (3,), those of the first frame."""

    name: str
    child: int
    layer: int
    hidden: bool
    rotation: np.ndarray
    shift: np.ndarray


class Shape(NamedTuple):
    """A node that shows a model, or several in turn: its frames in their order."""

    models: tuple[int, ...]


@dataclass
class VoxFile:
    """What a file holds.

    Attributes:
        models: The models, in the order of the file.
        palette: The colour of each index, uint8 (256, 4); index 0 is empty.
        nodes: The nodes of the scene by their numbers: a transform, the children of a group, or a shape.
        hidden_layers: The layers that are hidden.
        glass: The indices whose material lets light through.
        film: Whether there are several models, and they are frames of an animation: those of one shape, or all of a file
            without a scene (the chunk PACK of 2016).
    """

    models: list[Model] = field(default_factory=list)
    palette: np.ndarray = field(default_factory=lambda: default_palette())
    nodes: dict[int, Transform | list[int] | Shape] = field(default_factory=dict)
    hidden_layers: set[int] = field(default_factory=set)
    glass: set[int] = field(default_factory=set)
    film: bool = False


def default_palette() -> np.ndarray:
    """Returns MagicaVoxel's colours of a file without its own, uint8 (256, 4): a cube of 6 × 6 × 6, then four ramps."""
    steps = np.arange(255, -1, -51)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)[:-1]  # black is the ramps' own
    shades = 17 * np.array([14, 13, 11, 10, 8, 7, 5, 4, 2, 1])
    ramps = [shades[:, None] * np.array(channels) for channels in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))]
    colours = np.concatenate([np.zeros((1, 3)), cube, *ramps])
    return np.concatenate([colours, np.full((256, 1), 255)], 1).astype(np.uint8)


class Cursor:
    """A place in bytes; whatever is read must be there."""

    def __init__(self, data: bytes, where: object, what: str) -> None:
        self.data, self.where, self.what, self.at = data, where, what, 0

    def take(self, count: int) -> bytes:
        """Returns the next bytes.

        Raises:
            InputError: If there are fewer.
        """
        left = len(self.data) - self.at
        if not 0 <= count <= left:
            raise InputError(self.where, self.what, f"{left:,} bytes where it speaks of {count:,}", WHOLE)
        self.at += count
        return self.data[self.at - count : self.at]

    def ints(self, count: int) -> tuple[int, ...]:
        """Returns the next whole numbers of 32 bits."""
        return struct.unpack(f"<{count}i", self.take(4 * count))

    def words(self) -> dict[str, str]:
        """Returns the next dictionary: a count, then each word after its length.

        Raises:
            InputError: If it is longer than what is left.
        """
        (count,) = self.ints(1)
        # Two words of at least four bytes each: a count that lies ends here and not after a billion turns.
        if not 0 <= 8 * count <= len(self.data) - self.at:
            raise InputError(self.where, self.what, f"a dictionary of {count:,} words", WHOLE)
        pairs = {}
        for _ in range(count):
            key, value = (self.take(self.ints(1)[0]).decode("utf-8", "replace") for _ in range(2))
            pairs[key] = value
        return pairs


def read_chunks(path: Path) -> VoxFile:
    """Reads a .vox file.

    Raises:
        InputError: If it is no such file, is truncated, or its numbers don't fit each other.
    """
    if path.stat().st_size > MAX_FILE:
        raise InputError(path, "file", f"{path.stat().st_size:,} bytes", f"at most {MAX_FILE:,}")
    main = Cursor(path.read_bytes(), path, "MAIN")
    if main.data[:4] != b"VOX " or main.data[8:12] != b"MAIN":
        raise InputError(path, "header", repr(main.data[:12]), "a MagicaVoxel file (VOX ... MAIN)")
    main.take(12)
    own, children = main.ints(2)
    main.take(own)
    inside = Cursor(main.take(children), path, "chunks")
    vox = VoxFile()
    size: tuple[int, int, int] | None = None
    while inside.at < len(inside.data):
        name = inside.take(4)
        content, below = inside.ints(2)
        chunk = Cursor(inside.take(content), path, name.decode("ascii", "replace"))
        inside.take(below)
        if name == b"SIZE":
            size = _size(chunk)
        elif name == b"XYZI":
            vox.models.append(_model(chunk, size))
        elif name == b"RGBA":
            # The colour of index i is the file's entry i - 1. IMAP only orders the colours on MagicaVoxel's screen.
            vox.palette = np.roll(np.frombuffer(chunk.take(1024), np.uint8).reshape(256, 4), 1, axis=0)
        else:
            _read_node(vox, name, chunk)
    if not vox.models:
        raise InputError(path, "models", "none", "one or more")
    vox.film |= len(vox.models) > 1 and not vox.nodes
    return vox


def _size(chunk: Cursor) -> tuple[int, int, int]:
    """Returns the size (x, y, z) of the next model."""
    x, y, z = chunk.ints(3)
    if not (min(x, y, z) >= 1 and max(x, y, z) <= LARGEST):
        raise InputError(chunk.where, "SIZE", f"{x} × {y} × {z} voxels", f"1 to {LARGEST} a side")
    return x, y, z


def _model(chunk: Cursor, size: tuple[int, int, int] | None) -> Model:
    """Returns the model of a size whose voxels a chunk holds."""
    if size is None:
        raise InputError(chunk.where, "XYZI", "no SIZE before it", WHOLE)
    (count,) = chunk.ints(1)
    voxels = np.frombuffer(chunk.take(4 * count), np.uint8).reshape(-1, 4)
    outside = (voxels[:, :3] >= np.array(size)).any(1)
    if outside.any():
        x, y, z = voxels[outside][0, :3].tolist()
        raise InputError(chunk.where, "XYZI", f"a voxel at ({x}, {y}, {z})", f"places inside {' × '.join(map(str, size))}")
    return Model(size, voxels[voxels[:, 3] > 0])


def _read_node(vox: VoxFile, name: bytes, chunk: Cursor) -> None:
    """Reads a chunk of the scene, of its layers or of its materials; chunks of another name are passed over."""
    if name not in (b"nTRN", b"nGRP", b"nSHP", b"LAYR", b"MATL"):
        return
    (number,) = chunk.ints(1)
    words = chunk.words()
    if name == b"nTRN":
        child, _, layer, frames = chunk.ints(4)
        place = min([chunk.words() for _ in range(_count(chunk, frames))], key=_frame, default={})
        rotation, shift = _rotation(place.get("_r", "4"), chunk), _shift(place.get("_t", "0 0 0"), chunk)
        vox.nodes[number] = Transform(words.get("_name", ""), child, layer, words.get("_hidden") == "1", rotation, shift)
    elif name == b"nGRP":
        vox.nodes[number] = list(chunk.ints(_count(chunk, chunk.ints(1)[0])))
    elif name == b"nSHP":
        frames = _count(chunk, chunk.ints(1)[0])
        models = [(chunk.ints(1)[0], _frame(chunk.words())) for _ in range(frames)]
        vox.nodes[number] = Shape(tuple(model for model, _ in sorted(models, key=lambda pair: pair[1])))
        vox.film |= frames > 1
    elif name == b"LAYR" and words.get("_hidden") == "1":
        vox.hidden_layers.add(number)
    elif name == b"MATL" and words.get("_type") == "_glass":
        vox.glass.add(number % 256)


def _count(chunk: Cursor, count: int) -> int:
    """Returns a count of things of at least four bytes each, once there is room for them."""
    if not 0 <= 4 * count <= len(chunk.data) - chunk.at:
        raise InputError(chunk.where, chunk.what, f"{count:,} entries", WHOLE)
    return count


def _frame(words: dict[str, str]) -> int:
    """Returns the number of a frame; those without one come first."""
    text = words.get("_f", "")
    return int(text) if text.isdecimal() and len(text) <= 9 else 0


def _rotation(text: str, chunk: Cursor) -> np.ndarray:
    """Returns the rows (3, 3) of the rotation that a byte stands for: two columns of two bits, three signs."""
    bits = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else 255
    first, second = bits & 3, bits >> 2 & 3
    if bits > 127 or first == second or 3 in (first, second):
        raise InputError(chunk.where, "_r", repr(text), "the byte of a rotation")
    rows = np.eye(3, dtype=np.int64)[[first, second, 3 - first - second]]
    return rows * np.array([[1 - 2 * (bits >> 4 + row & 1)] for row in range(3)])


def _shift(text: str, chunk: Cursor) -> np.ndarray:
    """Returns a translation (3,) in voxels."""
    try:
        shift = [int(part) for part in text.split()]
    except ValueError:
        shift = []
    if len(shift) != 3 or any(abs(part) > 1 << 30 for part in shift):
        raise InputError(chunk.where, "_t", repr(text), "three whole numbers, '0 0 0'")
    return np.array(shift, np.int64)
