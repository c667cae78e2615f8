"""Scans (.nii .nii.gz): read here for now."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Unpack

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.options import MAX_BYTES
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, VolumeOptions, from_volume

# NumPy's name of each NIfTI-1 data type that is read; 128 and 2304 are three and four bytes a voxel, RGB and RGBA.
NIFTI_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
    128: "u1",
    2304: "u1",
}


def read_scan(path: Path, size: Wanted, **options: Unpack[VolumeOptions]) -> Target:
    """Reads a target from a scan.

    Args:
        path: The file.
        size: The lattice (D, H, W); "auto" = `place.LONGEST` cells along the longest side.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If the file is unreadable, truncated or too large, a value is not finite, or nothing is in it.
    """
    return from_volume(_read_nifti(path), size, path, path.name.split(".")[0], **options)


def _read_nifti(path: Path) -> Volume:
    """Reads NIfTI-1 in one file, packed or not (Cox et al. 2004, "A (sort of) new image data format standard").

    It is read here because readers in common use crash on files with colours.
    """
    packed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(352)
            # The header begins with its own length, 348: the order of these bytes is that of all numbers.
            order = "<" if head[:4] == (348).to_bytes(4, "little") else ">"
            if (
                len(head) < 352
                or head[:4] not in ((348).to_bytes(4, "little"), (348).to_bytes(4, "big"))
                or head[344:347] != b"n+1"
            ):
                raise InputError(path, "header", repr(head[:4]), "a NIfTI-1 file (348 ... n+1)")
            dims = np.frombuffer(head, order + "i2", 8, 40).tolist()
            code, _ = np.frombuffer(head, order + "i2", 2, 70).tolist()
            steps = np.abs(np.frombuffer(head, order + "f4", 8, 76)).tolist()
            offset, slope, shift = np.frombuffer(head, order + "f4", 3, 108).tolist()
            if not 3 <= dims[0] <= 7 or min(dims[1:4]) < 1 or any(n > 1 for n in dims[4 : dims[0] + 1]):
                raise InputError(path, "dim", dims, "three axes of 1 or more")
            if code not in NIFTI_TYPES:
                raise InputError(path, "datatype", code, ", ".join(str(known) for known in sorted(NIFTI_TYPES)))
            bands = {128: 3, 2304: 4}.get(code, 1)
            dtype = np.dtype(order + NIFTI_TYPES[code])
            need = dims[1] * dims[2] * dims[3] * bands * dtype.itemsize
            held = MAX_BYTES if packed else path.stat().st_size  # a packed file doesn't say how long it really is
            if need > MAX_BYTES or need > held or not 352 <= offset <= 1 << 20:
                raise InputError(path, "header", f"{need:,} bytes of voxels from byte {offset:.0f}", f"at most {held:,} bytes")
            file.read(int(offset) - 352)
            data = file.read(need)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, "file", f"unreadable ({error})", "a whole NIfTI-1 file") from error
    if len(data) < need:
        raise InputError(path, "data", f"{len(data):,} bytes", f"the {need:,} bytes that its header speaks of")
    # NIfTI runs x first, which is our last axis.
    shape = (dims[3], dims[2], dims[1]) + ((bands,) if bands > 1 else ())
    voxels = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)
    # A slope of 0 means that values are stored as they are; colours are never scaled.
    if math.isfinite(slope) and slope != 0 and (slope, shift) != (1.0, 0.0) and bands == 1:
        voxels = voxels * slope + shift
    dx, dy, dz = (step if math.isfinite(step) and step > 0 else 1.0 for step in steps[1:4])
    return Volume(voxels, (dz, dy, dx))
