"""What all formats of scans share: promised bytes, one volume of several, axes turned to right, anterior, superior."""

import importlib
import math
from collections.abc import Sequence
from types import ModuleType
from typing import IO, NamedTuple

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.fit import Spacing
from nca3d.targets.options import MAX_BYTES

# What to do where a package is missing that scans need.
SCANS = "the extra: pip install 'nca3d[scans]'"
# The bytes at the start of a file in which its header must lie: extensions of NIfTI and segments of Slicer make some long.
HEADER = 1 << 20
# What is unpacked at once, so that a file which promises much and holds little asks for little.
CHUNK = 1 << 20
# Voxels may be this much longer along one axis than along another: beyond it, a header is broken.
STRETCH = 1e4
# The degrees from which a line says that a scan is oblique.
OBLIQUE = 10
# World axes of a format that counts to the left and to the back, as rows of its affine, in those of NIfTI: right, front, up.
LPS_TO_RAS = np.array([[-1.0], [-1.0], [1.0]])


class Scan(NamedTuple):
    """The content of a scan in the order of its file.

    Attributes:
        voxels: One number a voxel (i, j, k), or colours as uint8 (i, j, k, 3 or 4); i runs fastest in the file.
        affines: What the header says about its axes, (3, 3), the most trusted first: column n is the step along axis n, in any
            unit, as right, anterior, superior. () = it says nothing.
        spacing: The distances between voxels along (i, j, k) where no affine can be used.
        names: The name of each label; None = the file has none.
        palette: The colour of each label, 0..1; None = the file has none.
        labels: Whether the file says that its numbers are labels; None = it doesn't say.
        notes: What was decided, one line each.
    """

    voxels: np.ndarray
    affines: tuple[np.ndarray, ...] = ()
    spacing: Sequence[float] = (1.0, 1.0, 1.0)
    names: dict[int, str] | None = None
    palette: dict[int, tuple[float, ...]] | None = None
    labels: bool | None = None
    notes: tuple[str, ...] = ()


def library(name: str, where: object) -> ModuleType:
    """Imports a package of the extra `scans`.

    Raises:
        InputError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(where, name.partition(".")[0], "not installed", SCANS) from error


def check_room(shape: Sequence[int], itemsize: int, where: object) -> int:
    """Returns the bytes of voxels of that shape, of three axes or more.

    Raises:
        InputError: If an axis is missing or empty, or they are more than `MAX_BYTES`.
    """
    if len(shape) < 3 or min(shape) < 1:
        raise InputError(where, "dim", tuple(shape), "three axes of 1 or more")
    need = math.prod(shape, start=itemsize)
    if need > MAX_BYTES:
        found = f"{' × '.join(map(str, shape))} voxels, {need:,} bytes"
        raise InputError(where, "header", found, f"at most {MAX_BYTES:,} bytes")
    return need


def check_held(need: int, held: int, where: object) -> None:
    """Checks that a file holds the bytes of voxels that its header speaks of.

    Raises:
        InputError: If it holds fewer.
    """
    if held < need:
        raise InputError(where, "data", f"{max(held, 0):,} bytes", f"the {need:,} bytes that its header speaks of")


def read_bytes(stream: IO[bytes], need: int, where: object) -> bytearray:
    """Reads the next `need` bytes of a stream, packed or not; of what follows no more than a chunk is unpacked.

    Raises:
        InputError: If there are fewer.
    """
    data = bytearray()
    while len(data) < need:
        piece = stream.read(min(CHUNK, need - len(data)))
        if not piece:
            break
        data += piece
    check_held(need, len(data), where)
    stream.read(CHUNK)  # checksums are compared only when the end is read
    return data


def choose_frame(count: int, frame: int | None, where: object) -> int:
    """Returns the index of the volume to read, 0..count - 1.

    Args:
        count: The volumes in the file.
        frame: The user's choice, from the end if it is negative; None = the only one.
        where: The name that errors give the file.

    Raises:
        InputError: If there are several and none was chosen, or there is no such volume.
    """
    if frame is None and count > 1:
        allowed = f"one: --target-options frame=N with N = 0..{count - 1}, or -1 for the last"
        raise InputError(where, "frame", f"{count} volumes", allowed)
    chosen = 0 if frame is None else frame
    if isinstance(chosen, bool) or not isinstance(chosen, int) or not -count <= chosen < count:
        raise InputError(where, "frame", repr(frame), f"a whole number, {-count}..{count - 1}")
    return chosen % count


def upright(scan: Scan, where: object, name: str) -> tuple[np.ndarray, Spacing, tuple[str, ...]]:
    """Turns a scan to the nearest of right, anterior, superior: axes are permuted and flipped, nothing is resampled.

    Args:
        scan: The scan.
        where: The name that errors give its file.
        name: The file's name in notes.

    Returns:
        The voxels (d, h, w) or (d, h, w, bands), where d goes up (S), h to the front (A) and w to the right (R); the distances
        between them; and lines about what was guessed.
    """
    orientations = library("nibabel.orientations", where)
    usable = [affine for affine in scan.affines if _is_usable(affine)]
    if usable:
        steps = np.sqrt((usable[0] ** 2).sum(0))
        # One row for each axis of the file: the axis of the lattice that it lies nearest to, and its direction there.
        turns = orientations.io_orientation(np.block([[usable[0] / steps, np.zeros((3, 1))], [np.eye(4)[3]]]))
        angle = np.degrees(np.arccos(np.clip(np.abs((usable[0] / steps)[turns[:, 0].astype(int), range(3)]).min(), 0, 1)))
        words = f"{name}: oblique by {angle:.0f}°; not resampled, its axes became the nearest of right, front, up"
        notes = [words] * bool(angle >= OBLIQUE)
    else:
        given = np.array(scan.spacing, np.float64)
        steps = given if _is_usable(np.diag(given)) else np.ones(3)
        turns = np.array([[0, 1], [1, 1], [2, 1]])
        why = "its affine can't be used" if scan.affines else "it has no orientation"
        notes = [f"{name}: {why}; x, y, z as stored were taken as right, front, up"]
    # torch knows the machine's own order of bytes alone.
    turned = orientations.apply_orientation(scan.voxels.astype(scan.voxels.dtype.newbyteorder("="), copy=False), turns)
    dx, dy, dz = (float(steps[turns[:, 0] == axis][0]) for axis in range(3))
    return turned.transpose(2, 1, 0, *range(3, turned.ndim)), (dz, dy, dx), tuple(notes)


def _is_usable(affine: np.ndarray) -> bool:
    """Whether an affine (3, 3) is finite, of full rank, and has voxels of believable lengths."""
    if affine.shape != (3, 3) or not np.isfinite(affine).all() or np.abs(affine).max() > 1e9:
        return False
    steps = np.sqrt((affine.astype(np.float64) ** 2).sum(0))
    return bool(steps.min() > 1e-9 and steps.max() <= STRETCH * steps.min() and abs(np.linalg.det(affine / steps)) > 1e-3)
