"""Voxel files, .npy and .npz: the header is compared with the bytes in the file before any data is read."""

import math
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.arrays import from_voxels
from nca3d.targets.options import MAX_BYTES
from nca3d.targets.target import Target, Wanted


def read_array(
    path: Path,
    size: Wanted,
    *,
    key: str | None = None,
    margin: int = 1,
    fit: bool | str = "auto",
    threshold: float = 0.5,
    palette: object = None,
    names: Sequence[str] | None = None,
) -> Target:
    """Reads a target from a .npy or .npz file.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = what is occupied and the margin.
        key: The array's name in a .npz; None = its only array.
        margin: The cells left free at each face, with fit=True or size="auto".
        fit: True resamples the array to the room inside the margin; False and "auto" keep its size.
        threshold: The share of its volume from which a cell is filled, above 0 to 1, with fit=True.
        palette: The colours of the classes.
        names: The names of the classes, the first of them for empty cells.

    Raises:
        InputError: If the file is unreadable, too large or truncated, has objects inside, or its array can't be a target.
    """
    if path.suffix.lower() == ".npy":
        if key is not None:
            raise InputError(path, "key", repr(key), "only with .npz (a .npy file holds one array)")
        with path.open("rb") as file:
            array = _read_npy(file, path.stat().st_size, path)
    else:
        array = _read_npz(path, key)
    return from_voxels(array, path, path.stem, size, margin=margin, fit=fit, threshold=threshold, palette=palette, names=names)


def _read_npy(file: IO[bytes], held: int, where: object) -> np.ndarray:
    """Reads one array from a stream that has `held` bytes.

    numpy's own reader would first make room for what the header promises, and would unpickle objects: both are refused here.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = read(file)
    except Exception as error:  # numpy parses the header as Python: whatever that raises, the user needs one line
        raise InputError(where, "header", f"no readable NumPy header ({error})", "a file written by numpy.save") from error
    if dtype.hasobject or dtype.kind not in "biuf":
        raise InputError(where, "dtype", dtype, "bool, integer or float numbers")
    need = math.prod(shape, start=dtype.itemsize)  # Python's integers don't overflow: a huge shape stays huge
    if min(shape, default=0) < 0 or need > MAX_BYTES:
        raise InputError(where, "header", f"shape {shape} of {dtype}, {need:,} bytes", f"at most {MAX_BYTES:,} bytes")
    if need > held:
        raise InputError(where, "data", f"{held:,} bytes in the file", f"the {need:,} bytes that its header speaks of")
    try:
        data = file.read(need)
        file.read(1)  # zipfile compares an entry's checksum only when its end is read
    except Exception as error:  # whatever a broken archive raises, the user needs one line
        raise InputError(where, "data", f"unreadable ({error})", "a whole file") from error
    if len(data) < need:
        raise InputError(where, "data", f"{len(data):,} bytes", f"the {need:,} bytes that its header speaks of")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C")


def _read_npz(path: Path, key: str | None) -> np.ndarray:
    """Reads the array of that name from a .npz, or its only array."""
    try:
        archive = zipfile.ZipFile(path)
    # RuntimeError is how zipfile refuses a version of the format that it doesn't know.
    except (zipfile.BadZipFile, RuntimeError, OSError, ValueError, struct.error) as error:
        raise InputError(path, "file", f"not a zip archive ({error})", "a file written by numpy.savez") from error
    with archive:
        entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if key is None and len(entries) != 1:
            raise InputError(path, "key", f"{len(entries)} arrays", f"key = one of {', '.join(entries) or 'none'}")
        name = next(iter(entries)) if key is None else key
        if name not in entries:
            raise InputError(path, "key", repr(name), f"{', '.join(entries)}{nearest(name, entries)}")
        info = entries[name]
        where = f"{path}[{name}]"
        if info.file_size > MAX_BYTES + 65536:  # 64 KiB for the header
            raise InputError(where, "size", f"{info.file_size:,} bytes", f"at most {MAX_BYTES:,} bytes")
        try:
            file = archive.open(info)
        except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, struct.error) as error:
            raise InputError(where, "file", f"unreadable entry ({error})", "a file written by numpy.savez") from error
        with file:
            return _read_npy(file, info.file_size, where)
