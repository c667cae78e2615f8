"""Voxel files: .npy and .npz, whose headers are read and weighed before their data."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.arrays import from_voxels
from nca3d.targets.options import MAX_BYTES
from nca3d.targets.target import Size, Target


def read_array(
    path: Path,
    size: Size,
    *,
    key: str | None = None,
    margin: int = 1,
    fit: bool | str = "auto",
    threshold: float = 0.5,
    palette: Any = None,
    names: Sequence[str] | None = None,
) -> Target:
    """Target from a .npy or .npz file (options: key, margin, fit, threshold, palette).

    Raises:
        InputError: unreadable, too large, truncated, objects inside, or not an array that can be a target.
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
    """One array from a stream that holds `held` bytes."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = read(file)
    except (ValueError, EOFError, OSError, TypeError, SyntaxError, RecursionError, zipfile.BadZipFile) as error:
        raise InputError(where, "header", f"no readable NumPy header ({error})", "a file written by numpy.save") from error
    if dtype.hasobject or dtype.kind not in "biuf":
        raise InputError(where, "dtype", dtype, "bool, integer or float numbers")
    need = math.prod(shape, start=dtype.itemsize)  # Python integers: what would overflow is still seen for what it is
    if min(shape, default=0) < 0 or need > MAX_BYTES:
        raise InputError(where, "header", f"shape {shape} of {dtype}, {need:,} bytes", f"at most {MAX_BYTES:,} bytes")
    if need > held:
        raise InputError(where, "data", f"{held:,} bytes in the file", f"the {need:,} bytes that its header speaks of")
    try:
        data = file.read(need)
        file.read(1)  # a zip entry's checksum is looked at when its end is reached
    except Exception as error:  # whatever a broken archive raises, the user needs one line
        raise InputError(where, "data", f"unreadable ({error})", "a whole file") from error
    if len(data) < need:
        raise InputError(where, "data", f"{len(data):,} bytes", f"the {need:,} bytes that its header speaks of")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C")


def _read_npz(path: Path, key: str | None) -> np.ndarray:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
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
        if info.file_size > MAX_BYTES + 65536:
            raise InputError(where, "size", f"{info.file_size:,} bytes", f"at most {MAX_BYTES:,} bytes")
        try:
            file = archive.open(info)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
            raise InputError(where, "file", f"unreadable entry ({error})", "a file written by numpy.savez") from error
        with file:
            return _read_npy(file, info.file_size, where)
