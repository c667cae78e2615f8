"""Records: JSON files that know their own digest and those of the files beside them."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nca3d.errors import InputError
from nca3d.files.place import odd
from nca3d.files.read import parse_table, readable

# How many bytes of a sealed record are read at most: whatever is there, it must not fill the memory.
LARGEST_RECORD = 16_000_000
# Names in a record that can't lead out of its folder: no "..", no absolute path.
_PLAIN = re.compile(r"([a-z]+/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")


def sha256(data: bytes) -> str:
    """Returns the SHA-256 digest as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_entry(data: bytes) -> dict[str, Any]:
    """Returns a file's entry in a record, its size and digest: neither torch nor safetensors notices a flipped bit."""
    return {"size": len(data), "sha256": sha256(data)}


def read_verified(record: Path, name: str, entry: object) -> bytes:
    """Returns the bytes of a file beside a record, once they are known to be those of the record's entry.

    Args:
        record: path of the record.
        name: name of the file.
        entry: the file's entry in the record, see `file_entry`.

    Raises:
        InputError: the file is missing, or its size or digest is not the entry's.
    """
    if not _PLAIN.fullmatch(name) or not isinstance(entry, dict) or entry.keys() != {"size", "sha256"}:
        raise InputError(record, "files", repr(name), "plain file names, each with size and sha256")
    path = record.parent / name
    _refuse_odd(path)
    with readable(path):
        # Checked before reading: whatever is there may be too large to read.
        if path.stat().st_size != entry["size"]:
            raise InputError(path, "size", f"{path.stat().st_size} bytes", f"{entry['size']}, as {record.name} says")
        data = path.read_bytes()
    if sha256(data) != entry["sha256"]:
        raise InputError(path, "sha256", f"another digest than that in {record.name}", "the file as it was written")
    return data


def _refuse_odd(path: Path) -> None:
    """Checks that a file is one: what a link leads to may be changed from elsewhere, and a pipe may wait for ever."""
    if (found := odd(path)) and found != "a folder":
        raise InputError(path, "file", found, "a file of its own, as it was written")


def seal(record: Mapping[str, Any]) -> bytes:
    """Returns a record as JSON with its own digest in it, so that a flipped bit in the record is noticed, too."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    digest = sha256(json.dumps(body, indent=1).encode())
    return json.dumps({**body, "sha256": digest}, indent=1).encode()


def read_sealed(path: Path, kinds: Mapping[str, type], version: int, largest: int = LARGEST_RECORD) -> dict[str, Any]:
    """Reads a record that `seal` made, and verifies it.

    Args:
        path: the record's file.
        kinds: the keys that it must have, each with its type; `format`, the first one, must be `version`.
        version: version of the format.
        largest: how many bytes are read at most.

    Raises:
        InputError: there is no such file, a link or a pipe is in its place, the format is another, a key is missing or of
            another type, or a bit flipped.
    """
    _refuse_odd(path)
    with readable(path), path.open("rb") as file:
        data = file.read(largest)
    record = parse_table(data, path)
    for key, kind in kinds.items():
        # Not isinstance: True is no version.
        if type(record.get(key)) is not kind:
            raise InputError(path, key, repr(record[key]) if key in record else "no such key", kind.__name__)
        if key == "format" and record[key] != version:
            hint = "; update nca3d to read a newer one" if record[key] > version else ""
            raise InputError(path, key, record[key], f"{version}{hint}")
    if seal(record) != data:
        raise InputError(path, "sha256", "another digest than the one written", f"{path.name} as it was written")
    return record
