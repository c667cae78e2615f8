"""Voxel files, .npy and .npz: the header is compared with the bytes in the file before any data is read."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Unpack

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.arrays import ArrayOptions, from_voxels
from nca3d.targets.labels import Labels
from nca3d.targets.options import MAX_BYTES
from nca3d.targets.readers.label_tables import find_table
from nca3d.targets.target import Target, Wanted

# How many names of an archive's arrays a line shows.
SHOWN = 20
# Bytes from which an archive's entry is looked through before room is made for it.
LOOKED_AT = 1 << 26


def read_array(
    path: Path, size: Wanted, *, key: str | None = None, frame: int | None = None, **options: Unpack[ArrayOptions]
) -> Target:
    """Reads a target from a .npy or .npz file.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = what is occupied and the margin.
        key: The array's name in a .npz; None = its only array. An archive that `visualize.save` wrote tells names and colours
            of its `labels`, too; else they may lie beside the file, see `label_tables`.
        frame: The number of the frame of a film, (T, D, H, W, 4) or (T, D, H, W); −1 is the last.
        **options: See `ArrayOptions`.

    Raises:
        InputError: If the file is unreadable, too large or truncated, has objects inside, or its array can't be a target.
    """
    known = None
    if path.suffix.lower() == ".npy":
        if key is not None:
            raise InputError(path, "key", repr(key), "only with .npz (a .npy file holds one array)")
        with path.open("rb") as file:
            array = read_npy(file, path.stat().st_size, path)
    else:
        array, known = _read_npz(path, key, frame)
    where: object = path if key is None else f"{path}[{key}]"
    voxels = _one_frame(array, key, frame, where)
    if known is None and voxels.ndim == 3 and options.get("names") is None:
        table, said = find_table(path, path.stem, voxels)
        if table is not None:
            known = Labels(voxels, table.names, table.colours, said)
    return from_voxels(known._replace(labels=voxels) if known else voxels, where, path.stem, size, **options)


def _one_frame(array: np.ndarray, key: str | None, frame: int | None, where: object) -> np.ndarray:
    """Returns one frame of a film, (D, H, W, 4) or (D, H, W); the array itself where no frame is asked for.

    Raises:
        InputError: If it is a film and no frame is asked for, or there is no such frame.
    """
    # Of four axes, those of a body are colours; labels have three.
    film = array.ndim == 5 or (array.ndim == 4 and key == "labels")
    if frame is None:
        if film and len(array):
            allowed = f"frame = 0 to {len(array) - 1}, or -1 for the last (--target-options frame=-1)"
            raise InputError(where, "frame", f"{len(array)} frames, {array.shape}", allowed)
        return array
    if not film and array.ndim != 4:
        raise InputError(where, "frame", frame, f"only with a film (T, D, H, W, 4) or (T, D, H, W), not {array.shape}")
    if isinstance(frame, bool) or not isinstance(frame, int) or not -len(array) <= frame < len(array):
        raise InputError(where, "frame", repr(frame), f"a whole number from {-len(array)} to {len(array) - 1}")
    return array[frame]


def read_npy(file: IO[bytes], held: int, where: object, kinds: str = "biuf") -> np.ndarray:
    """Reads one array from a stream that has `held` bytes.

    numpy's own reader would first make room for what the header promises, and would unpickle objects: both are refused here.

    Args:
        file: The stream, at the beginning of the array.
        held: How many bytes it has.
        where: Source of the bytes, for errors.
        kinds: The letters of the dtypes that will do.

    Returns:
        The array, of any shape.

    Raises:
        InputError: The header can't be read or promises too much, or the bytes are not those of such an array.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = read(file)
    except Exception as error:  # numpy parses the header as Python: whatever that raises, the user needs one line
        raise InputError(where, "header", f"no readable NumPy header ({error})", "a file written by numpy.save") from error
    if any(isinstance(side, bool) for side in shape):  # numpy lets True pass for 1, until it makes the array
        raise InputError(where, "header", f"shape {shape}", "whole numbers")
    if dtype.hasobject or dtype.kind not in kinds:
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


def _read_npz(path: Path, key: str | None, frame: int | None) -> tuple[np.ndarray, Labels | None]:
    """Reads the array of that name from a .npz, or its only array; and what it knows of its labels."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # whatever a broken archive raises, the user needs one line
        raise InputError(path, "file", f"not a zip archive ({error})", "a file written by numpy.savez") from error
    with archive:
        entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if key is None and len(entries) != 1:
            ways = f"key = one of {_first(entries) or 'none'}"
            if "frames" in entries and frame is None:  # a film of ours, or one like it
                ways += "; of several frames, frame = -1 is the last (--target-options key=frames frame=-1)"
            raise InputError(path, "key", f"{len(entries)} arrays", ways)
        name = next(iter(entries)) if key is None else key
        if name not in entries:
            raise InputError(path, "key", repr(name), f"{_first(entries)}{nearest(name, entries)}")
        array = _read_entry(archive, entries[name], f"{path}[{name}]")
        if name != "labels" or not {"names", "palette"} & entries.keys():
            return array, None
        told = [one for one in ("names", "palette") if one in entries]
        known = {one: _read_entry(archive, entries[one], f"{path}[{one}]", "biufU") for one in told}
    names, palette = known.get("names"), known.get("palette")
    named = dict(enumerate(names.tolist())) if names is not None and names.dtype.kind == "U" and names.ndim == 1 else {}
    if palette is None or palette.dtype != np.uint8 or palette.ndim != 2 or palette.shape[1] != 3:
        return array, Labels(array, named)
    return array, Labels(array, named, dict(enumerate(map(tuple, (palette / 255).tolist()))))


def _first(names: Collection[str]) -> str:
    """Returns names with commas between them: an archive may hold thousands, of which a line shows the first."""
    shown = ", ".join(list(names)[:SHOWN])
    return shown + (f", … and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _refuse_zeros(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: object) -> None:
    """Refuses a large entry that holds nothing but zeros without making room for them: packed they are next to nothing.

    Raises:
        InputError: There is no number but 0 in it.
    """
    try:
        with archive.open(info) as file:
            np.lib.format.read_magic(file)
            file.readline()
            # What is a body ends this soon.
            while part := file.read(1 << 20):
                if part.count(0) < len(part):
                    return
    except Exception:  # what is broken in it is told where it is read
        return
    raise InputError(where, "labels", f"{info.file_size:,} bytes of nothing but zeros", "at least one occupied cell")


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: object, kinds: str = "biuf") -> np.ndarray:
    """Reads one array of an archive."""
    if info.file_size > MAX_BYTES + 65536:  # 64 KiB for the header
        raise InputError(where, "size", f"{info.file_size:,} bytes", f"at most {MAX_BYTES:,} bytes")
    if info.file_size > LOOKED_AT:
        _refuse_zeros(archive, info, where)
    try:
        file = archive.open(info)
    except Exception as error:
        raise InputError(where, "file", f"unreadable entry ({error})", "a file written by numpy.savez") from error
    with file:
        return read_npy(file, info.file_size, where, kinds)
