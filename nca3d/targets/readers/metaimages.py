"""MetaImage (.mha .mhd) by SimpleITK, after a look at the lines of its header that name files and lengths.

ITK would open whatever file or list of files a header names, and make room for whatever it promises; what it reads of a
header before any voxel doesn't tell where these lie, so that a few of its lines are read here.
"""

import importlib.util
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.readers.anatomy import CHUNK, HEADER, LPS_TO_RAS, SCANS, Scan, check_held, check_room, choose_frame
from nca3d.targets.readers.guard import in_child, parsing

WHOLE = "a whole MetaImage file"
# The bytes of each type that ITK reads.
BYTES = {
    **dict.fromkeys(("CHAR", "UCHAR"), 1),
    **dict.fromkeys(("SHORT", "USHORT"), 2),
    **dict.fromkeys(("INT", "UINT", "LONG", "ULONG", "FLOAT"), 4),
    **dict.fromkeys(("LONG_LONG", "ULONG_LONG", "DOUBLE"), 8),
}
# The fields that say how a volume lies: without any of them, axes are taken as they are stored.
LIES = ("TransformMatrix", "Rotation", "Orientation", "AnatomicalOrientation")


def read_metaimage(path: Path, frame: int | None) -> Scan:
    """Reads one volume of a .mha or .mhd.

    Args:
        path: The file. Its data may lie in a second one beside it.
        frame: The volume, if there are several; -1 = the last.

    Raises:
        InputError: If the file is unreadable, truncated or too large, or holds several volumes and none is chosen.
    """
    if importlib.util.find_spec("SimpleITK") is None:
        raise InputError(path, "SimpleITK", "not installed", SCANS)
    with parsing(path, WHOLE):
        fields, offset = _fields(path)
        shape, bands, need = _check(path, fields, offset)
    found = in_child(read_in_child, path, WHOLE, path, promised=need)
    voxels, n = found["voxels"], len(shape)
    if (found["size"], found["bands"]) != (shape, bands):
        itk = f"{found['size']} voxels of {found['bands']} numbers"
        raise InputError(path, "DimSize", f"{itk} by ITK", f"{shape} of {bands}, as in its lines")
    # ITK's arrays run x last, bands after it, and times before all.
    voxels = (np.moveaxis(voxels, -1, 0) if bands > 1 else voxels).reshape(-1, *voxels.shape[n - 3 : n]).T
    if bands in (3, 4) and voxels.dtype == np.uint8 and n == 3:
        choose_frame(1, frame, path)
    else:
        voxels = voxels[..., choose_frame(voxels.shape[-1], frame, path)]
    spacing = found["spacing"][:3]
    directions = np.array(found["directions"]).reshape(n, n)[:3, :3]
    affines = (LPS_TO_RAS * directions * np.array(spacing),) if any(field in fields for field in LIES) else ()
    return Scan(voxels, affines, spacing)


def read_in_child(path: str) -> dict[str, Any]:
    """Reads an image in a child of `guard.in_child`: odd numbers in a header make ITK crash, and it prints what it thinks."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(path)
    image = reader.Execute()
    return {
        "voxels": sitk.GetArrayFromImage(image),
        "size": list(image.GetSize()),
        "bands": image.GetNumberOfComponentsPerPixel(),
        "spacing": list(image.GetSpacing()),
        "directions": list(image.GetDirection()),
    }


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Returns the lines of a header by their names, the last of which is ElementDataFile, and the byte behind it.

    Raises:
        InputError: If there is no such header.
    """
    with path.open("rb") as file:
        start = file.read(HEADER)
    end = re.search(rb"^[ \t]*ElementDataFile[ \t]*[=:][^\r\n]*\r?(\n|\Z)", start, re.MULTILINE)
    if end is None:
        raise InputError(
            path, "header", repr(start[:24]), "a MetaImage header: lines of NAME = VALUE, ElementDataFile the last"
        )
    lines = re.findall(r"^[ \t]*(\w+)[ \t]*[=:][ \t]*([^\r\n]*?)[ \t]*\r?$", start[: end.end()].decode("latin-1"), re.MULTILINE)
    return dict(lines), end.end()


def _check(path: Path, fields: Mapping[str, str], offset: int) -> tuple[list[int], int, int]:
    """Checks the lines of a header that speak of bytes, and the bytes.

    Args:
        path: The file.
        fields: Its lines.
        offset: The byte at which its data begins, if they are in the same file.

    Returns:
        The voxels along each axis, the numbers of each voxel, and the bytes of all.

    Raises:
        InputError: If they are too many or too few, or lie anywhere but in one file in the same folder.
    """
    shape = [int(n) for n in fields.get("DimSize", "").split()]
    bands, kind = int(fields.get("ElementNumberOfChannels", 1)), fields.get("ElementType", "").removeprefix("MET_")
    if kind not in BYTES:
        raise InputError(path, "ElementType", repr(fields.get("ElementType", "")), ", ".join(f"MET_{one}" for one in BYTES))
    if bands < 1:
        raise InputError(path, "ElementNumberOfChannels", bands, "1 or more")
    need = check_room(shape, bands * BYTES[kind], path)
    name = fields["ElementDataFile"]
    data = path if name.upper() == "LOCAL" else path.parent / name
    if data != path and (name != data.name or "%" in name or name.upper().split()[0] == "LIST" or not data.is_file()):
        raise InputError(path, "ElementDataFile", repr(name), "LOCAL, or the name of one file in the same folder")
    skipped = int(fields.get("HeaderSize", 0))
    start = (offset if data == path else 0) + max(skipped, 0)
    held = data.stat().st_size - start
    if fields.get("CompressedData", "False").upper().startswith("T"):
        packed = int(fields.get("CompressedDataSize", held))
        if skipped or not 0 < packed <= held:
            raise InputError(path, "CompressedDataSize", packed, f"at most the {held:,} bytes in the file, and no HeaderSize")
        _check_packed(path, data, start, packed, need)
    elif fields.get("BinaryData", "True").upper().startswith("F"):
        check_held(2 * need // BYTES[kind] - 1, held, path)  # a digit and what parts it from the next
    else:
        check_held(need, held, path)
    return shape, bands, need


def _check_packed(path: Path, data: Path, start: int, packed: int, need: int) -> None:
    """Checks that packed data are whole and as long as promised: ITK would leave the rest of the volume as it is.

    Raises:
        InputError: If they are not, or don't unpack.
    """
    unpacker, length = zlib.decompressobj(zlib.MAX_WBITS | 32), 0
    with data.open("rb") as file:
        file.seek(start)
        rest = b""
        while length <= need and not unpacker.eof:
            rest = rest or file.read(min(CHUNK, packed))
            packed -= 0 if unpacker.unconsumed_tail else len(rest)
            piece = unpacker.decompress(rest, CHUNK)
            if not rest and not piece:
                break
            length, rest = length + len(piece), unpacker.unconsumed_tail
    if length != need or not unpacker.eof:
        raise InputError(path, "data", f"{length:,} bytes unpacked", f"the {need:,} bytes that its header speaks of")
