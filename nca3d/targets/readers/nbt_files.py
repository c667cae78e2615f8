"""NBT, the tree of named values in files of Minecraft: unpacked with a limit, read by nbtlib through a stream with bounds."""

import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.errors import InputError
from nca3d.targets.readers.guard import parsing

if TYPE_CHECKING:
    from nbtlib import File

# A lattice of 2^24 blocks takes 16 to 48 MiB in files that pack them; the rest is for chests and their contents.
MAX_UNPACKED = 1 << 27
# The most values that are read one by one: nbtlib makes an object of each, in all about half a gigabyte.
MAX_VALUES = 1 << 22
WHOLE = "a whole Minecraft file (NBT)"


def read_nbt(path: Path) -> "File":
    """Reads an NBT file, packed by gzip or zlib or not at all.

    Raises:
        InputError: If nbtlib is missing, or the file is unreadable, truncated or too large.
    """
    try:
        import nbtlib
    except ImportError as error:
        raise InputError(path, "nbtlib", "not installed", "the extra: pip install 'nca3d[games]'") from error
    stream = _Bounded(_unpacked(path), path)
    with parsing(path, WHOLE):
        return nbtlib.File.parse(stream)


class _Bounded(io.BytesIO):
    """Bytes that end with an error: nbtlib takes a missing number for 0, and believes every length that it reads."""

    def __init__(self, data: bytes, where: object) -> None:
        super().__init__(data)
        self.where, self.length, self.reads, self.last = where, len(data), 0, b""

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns just so many bytes.

        Raises:
            InputError: If there are fewer, too many pieces have been read, or a list of nothing claims to be long.
        """
        left = self.length - self.tell()
        if size is None or not 0 <= size <= left:
            raise InputError(self.where, "data", f"{left:,} bytes where it speaks of {size:,}", WHOLE)
        self.reads += 1
        if self.reads > MAX_VALUES:
            allowed = f"at most {MAX_VALUES:,}; a .schem or .litematic holds the same blocks in few"
            raise InputError(self.where, "values", f"more than {MAX_VALUES:,}", allowed)
        before, self.last = self.last, super().read(size)
        # A zero byte and then a number of four bytes begin a list of entries that take no bytes, and nothing else does: nbtlib
        # would count to two billion.
        if size == 4 and before == b"\0" and self.last > b"\0\0\0\0" and self.last[0] < 128:
            raise InputError(self.where, "list", f"{int.from_bytes(self.last):,} entries of no kind", WHOLE)
        return self.last


def _unpacked(path: Path) -> bytes:
    """Returns the bytes of a file, unpacked if they are packed, once it is sure that they are few enough."""
    with path.open("rb") as file:
        start = file.read(2)
        packed = start == b"\x1f\x8b" or start[:1] == b"\x78"
        file.seek(0)
        if not packed:
            data = file.read(MAX_UNPACKED + 1)
        else:
            unpacker, parts, room = zlib.decompressobj(wbits=47), [], MAX_UNPACKED + 1  # 47: gzip or zlib, whichever it is
            try:
                while room > 0 and not unpacker.eof and (piece := unpacker.unconsumed_tail or file.read(1 << 20)):
                    parts.append(unpacker.decompress(piece, room))
                    room -= len(parts[-1])
            except zlib.error as error:
                raise InputError(path, "file", f"unreadable ({error})", WHOLE) from error
            data = b"".join(parts)
            if not unpacker.eof and room > 0:
                raise InputError(path, "file", f"packed data that ends after {len(data):,} bytes", WHOLE)
    if len(data) > MAX_UNPACKED:
        raise InputError(path, "file", f"more than {MAX_UNPACKED:,} bytes unpacked", f"at most {MAX_UNPACKED:,}")
    return data
