"""Scans: NIfTI, FreeSurfer, NRRD and MetaImage, each read by the library of its field, become one lattice however they lie."""

from pathlib import Path
from typing import Unpack

from nca3d.targets.readers.anatomy import upright
from nca3d.targets.readers.label_tables import find_table
from nca3d.targets.readers.metaimages import read_metaimage
from nca3d.targets.readers.nifti import read_nifti
from nca3d.targets.readers.nrrds import read_nrrd
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, VolumeOptions, from_volume

# Suffix -> what reads one volume of such a file.
FORMATS = {
    **dict.fromkeys((".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz", ".mgz", ".mgh"), read_nifti),
    **dict.fromkeys((".nrrd", ".nhdr"), read_nrrd),
    **dict.fromkeys((".mha", ".mhd"), read_metaimage),
}


def read_scan(path: Path, size: Wanted, *, frame: int | None = None, **options: Unpack[VolumeOptions]) -> Target:
    """Reads a target from a scan, upright: x of the lattice is the right of who was scanned, y the front, z up.

    Args:
        path: The .nii .nii.gz, .hdr .img, .mgz .mgh, .nrrd .nhdr or .mha .mhd file. Names and colours of its labels come from
            itself, or from a file beside it, see `find_table`.
        size: The lattice (D, H, W); "auto" = `place.LONGEST` cells along the longest side.
        frame: The volume, of a file that holds several; -1 = the last.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If the file is unreadable, truncated or too large, holds several volumes and none is chosen, a value is not
            finite, or nothing is in it.
    """
    return from_volume(read_volume(path, frame), size, path, _stem(path), **options)


def read_volume(path: Path, frame: int | None = None) -> Volume:
    """Reads one volume of a scan: values as they are, axes turned to (superior, anterior, right).

    Args:
        path: The file.
        frame: The volume, of a file that holds several; -1 = the last.

    Raises:
        InputError: If the file is unreadable, truncated or too large, or holds several volumes and none is chosen.
    """
    scan = FORMATS[_suffix(path)](path, frame)
    voxels, spacing, notes = upright(scan, path, path.name)
    names, palette, labels, notes = scan.names, scan.palette, scan.labels, (*scan.notes, *notes)
    if names is None and voxels.ndim == 3:
        table, said = find_table(path, _stem(path), voxels)
        notes = (*notes, *said)
        if table is not None:
            names, palette, labels = table.names, table.colours, True
    return Volume(voxels, spacing, names=names, palette=palette, labels=labels, notes=notes)


def _suffix(path: Path) -> str:
    """Returns the suffix of a scan, of two parts if it is packed."""
    return max((suffix for suffix in FORMATS if path.name.lower().endswith(suffix)), key=len)


def _stem(path: Path) -> str:
    """Returns the name of a scan without its suffix, nor that of Slicer's segmentations."""
    stem = path.name[: -len(_suffix(path))]
    return stem[:-4] if stem.lower().endswith(".seg") else stem
