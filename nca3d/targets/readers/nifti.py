"""NIfTI-1 and -2, Analyze pairs and FreeSurfer's .mgz .mgh: nibabel reads the headers, and says what the bytes are.

The bytes themselves are read here: nibabel would make room for all that a header promises before it reads, and doesn't
compare the checksum of a packed file.
"""

import gzip
import html
import math
import re
from pathlib import Path
from typing import IO, Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.options import MAX_BYTES
from nca3d.targets.readers.anatomy import HEADER, Scan, check_held, check_room, choose_frame, library, read_bytes
from nca3d.targets.readers.guard import parsing

WHOLE = "a whole NIfTI, Analyze or FreeSurfer volume"
# NIFTI_INTENT_LABEL; and the intents of vectors, RGB and RGBA, whose bands are the fifth axis (nifti1.h).
LABEL, BANDS = 1002, (1007, 2003, 2004)


def read_nifti(path: Path, frame: int | None) -> Scan:
    """Reads one volume of a .nii .nii.gz, of a pair .hdr .img (either of them, packed or not), or of a .mgz .mgh.

    Args:
        path: The file.
        frame: The volume, if there are several; -1 = the last.

    Raises:
        InputError: If the file is unreadable, truncated or too large, or holds several volumes and none is chosen.
    """
    head_path, data_path = _pair(path)
    with parsing(path, WHOLE, "nibabel.global"):
        with _open(head_path) as file:
            start = file.read(HEADER)
        header = _header(start, path)
        voxels = _read_voxels(header, data_path, frame, path)
        if voxels.ndim == 3:
            slope, shift = header.get_slope_inter()
            voxels = _scaled(voxels, slope, shift, path)
        names = _names(start if data_path != head_path else start[: int(header.get_data_offset())])
        labels = True if names or _field(header, "intent_code") == LABEL else None
        said = (f"{path.name}: names of {len(names)} labels from its header",) * bool(names)
        steps = [float(step) for step in header.get_zooms()[:3]]
        return Scan(voxels, _affines(header), steps, names or None, labels=labels, notes=said)


def _read_voxels(header: Any, data_path: Path, frame: int | None, where: Path) -> np.ndarray:
    """Reads one volume as it is stored: numbers (i, j, k), or colours as uint8 (i, j, k, bands)."""
    shape, kind, offset = tuple(map(int, header.get_data_shape())), header.get_data_dtype(), header.get_data_offset()
    # Colours are records of bytes to nibabel, and to us an axis of bands.
    bands, dtype = (len(kind.names), np.dtype("u1")) if kind.names else (1, kind)
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise InputError(where, "datatype", dtype, "integers or floats of 8 to 64 bits, RGB or RGBA")
    planes = shape[3:] in ((1, 3), (1, 4)) and dtype == np.uint8 and _field(header, "intent_code") in BANDS
    if planes:  # bands may also be a volume each
        bands, shape = shape[4], shape[:3]
    total = check_room(shape, bands * dtype.itemsize, where)
    count = math.prod(shape[3:])
    chosen = choose_frame(count, frame, where)
    if not 0 <= offset <= HEADER:
        raise InputError(where, "header", f"voxels from byte {offset:,}", f"byte {HEADER:,} at most")
    with _open(data_path) as file:
        if not isinstance(file, gzip.GzipFile):
            check_held(total, data_path.stat().st_size - int(offset), where)
        file.seek(int(offset) + chosen * (total // count))
        flat = np.frombuffer(read_bytes(file, total // count, where), dtype)
    if bands == 1:
        return flat.reshape(shape[:3], order="F")
    if planes:
        return flat.reshape(*shape[:3], bands, order="F")
    return np.moveaxis(flat.reshape(bands, *shape[:3], order="F"), 0, -1)


def _open(path: Path) -> IO[bytes]:
    """Opens a file, unpacking it if its name says that it is packed."""
    return gzip.open(path) if path.suffix.lower() in (".gz", ".mgz") else path.open("rb")  # type: ignore[return-value]


def _pair(path: Path) -> tuple[Path, Path]:
    """Returns the files of a volume's header and of its voxels: the same one, or those of a pair.

    Raises:
        InputError: If one of a pair is missing.
    """
    packed = path.name[-3:] if path.name.lower().endswith(".gz") else ""
    name = path.name.removesuffix(packed)
    if name[-4:].lower() not in (".hdr", ".img"):
        return path, path
    # Either case, and either packed or not: what lies there is found by its name alone.
    beside = {other.name.lower(): other for other in path.parent.iterdir() if other.name.lower().startswith(name[:-4].lower())}
    found = []
    for suffix in (".hdr", ".img"):
        wanted = (name[:-4] + suffix).lower()
        one = path if name[-4:].lower() == suffix else beside.get(wanted + packed.lower(), beside.get(wanted))
        if one is None or not one.is_file():
            raise InputError(path, "file", f"no {name[:-4]}{suffix} beside it", "both files of a pair, .hdr and .img")
        found.append(one)
    return found[0], found[1]


def _header(start: bytes, path: Path) -> Any:
    """Returns nibabel's header of a volume, from the first bytes of its file.

    Raises:
        InputError: If it is none.
    """
    nibabel = library("nibabel", path)
    name = path.name.lower()
    if name.endswith((".mgz", ".mgh")):
        # What follows the voxels says nothing about them.
        block = start[: nibabel.freesurfer.mghformat.header_dtype.itemsize]
        if len(block) < nibabel.freesurfer.mghformat.header_dtype.itemsize:
            raise InputError(path, "header", f"{len(start)} bytes", WHOLE)
        return nibabel.MGHImage.header_class(block)
    single = name.endswith((".nii", ".nii.gz"))
    kinds = {
        348: nibabel.Nifti1Image if single else nibabel.Nifti1Pair,
        540: nibabel.Nifti2Image if single else nibabel.Nifti2Pair,
    }
    # A header begins with its own length, in the order of bytes of all its numbers.
    length = next((n for n in kinds if start[:4] in (n.to_bytes(4, "little"), n.to_bytes(4, "big"))), 0)
    magic = start[344:348] if length == 348 else start[4:8]
    if len(start) < length or not length or (single and magic[:3] not in (b"n+1", b"n+2")):
        raise InputError(path, "header", repr(start[:4]), "a NIfTI file (348 ... n+1, or 540 n+2)")
    kind = nibabel.Spm99AnalyzeImage if length == 348 and magic[:2] != b"ni" and not single else kinds[length]
    return kind.header_class(start[:length])


def _scaled(voxels: np.ndarray, slope: float | None, shift: float | None, where: object) -> np.ndarray:
    """Returns slope · voxels + shift, where the file asks for it; else the voxels as they are.

    Raises:
        InputError: If there is no room for what comes of it.
    """
    slope, shift = 1.0 if slope is None else float(slope), 0.0 if shift is None else float(shift)
    if (slope, shift) == (1.0, 0.0):
        return voxels
    # Single precision keeps any 16-bit number to a ten-millionth, and scans that large have no more.
    kind = np.float64 if voxels.size * 8 <= MAX_BYTES else np.float32
    check_room(voxels.shape, np.dtype(kind).itemsize, where)
    scaled = np.multiply(voxels, slope, dtype=kind)
    return np.add(scaled, shift, out=scaled)


def _affines(header: Any) -> tuple[np.ndarray, ...]:
    """Returns the affines (3, 3) that a header carries, the most trusted first; () = none.

    nibabel would make up a radiological one where there is none: a file without it is taken as it is stored.
    """
    found = []
    if hasattr(header, "get_sform"):
        for field, get in (("sform_code", header.get_sform), ("qform_code", header.get_qform)):
            if _field(header, field) > 0:
                try:
                    found.append(get())
                except Exception:  # quaternions of no rotation: the other affine may do, else none
                    found.append(np.full((4, 4), np.nan))
    elif hasattr(header, "get_affine"):
        found.append(header.get_affine())
    return tuple(np.asarray(affine, np.float64)[:3, :3] for affine in found)


def _names(start: bytes) -> dict[int, str]:
    """Returns the names of labels that AFNI keeps in an extension of a header, as text within text; {} = none."""
    table = re.search(rb"VALUE_LABEL_DTABLE.*?/VALUE_LABEL_DTABLE", start, re.DOTALL)
    text = html.unescape(table[0].decode("utf-8", "replace")) if table else ""
    return {int(label): name for label, name in re.findall(r'"(-?\d{1,9})"\s+"([^"]+)"', text)}


def _field(header: Any, name: str) -> int:
    """Returns a whole number of a header; 0 where its format has no such field."""
    return int(header[name]) if name in header.keys() else 0  # noqa: SIM118 - a header is no mapping
