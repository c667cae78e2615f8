"""Files that are there whole or not at all, and tensors in them that say what they are: safetensors, never pickle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_JSON = 256_000_000
ALIGNED = 8
"""Tensors of a safetensors file begin at a multiple of so many bytes."""


def write_whole(path: Path, data: bytes) -> None:
    """Written beside, synced, renamed: a reader sees the old file or the new one.

    Raises:
        OSError: the disk is full or the folder can't be written; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)  # mkstemp's files are for their owner alone
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def read_file(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        InputError: there is none, or it can't be read.
    """
    try:
        if not path.is_file():  # a pipe would block for ever
            found = "a folder" if path.is_dir() else "a device or pipe" if path.exists() else "no such file"
            raise InputError(path, "file", found, "a file")
        return path.read_bytes()
    except OSError as error:
        raise InputError(path, "file", error.strerror or error, "a file that can be read") from None


def sha256(data: bytes) -> str:
    """As 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def parse_table(data: bytes, where: object) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: no JSON, or no object.
    """
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(where, "JSON", str(error) or type(error).__name__, "an object") from None
    if not isinstance(table, dict):
        raise InputError(where, "JSON", f"a {type(table).__name__}", "an object")
    return table


def header(path: Path) -> dict[str, str] | None:
    """The metadata of a safetensors file, read without torch; None if it is no such file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= 100_000_000:
                return None
            table = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError):
        return None
    found = table.get("__metadata__", {}) if isinstance(table, dict) else None
    return found if isinstance(found, dict) else None


def pack(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """The bytes of a safetensors file. The same tensors and metadata give the same bytes.

    The library writes metadata in an order that changes from process to process, so the header is written anew.
    """
    from safetensors.torch import save

    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    table = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    table = table.ljust(-(-len(table) // ALIGNED) * ALIGNED)
    return len(table).to_bytes(8, "little") + table + data[end:]


def unpack(data: bytes, where: object) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file's bytes.

    Raises:
        InputError: the bytes are something else.
    """
    from safetensors.torch import load

    try:
        tensors = load(data)
        table = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except Exception as error:  # safetensors has errors of its own kind; whatever it is, the file is no good
        raise InputError(where, "safetensors", str(error) or type(error).__name__, "tensors") from None
    return tensors, table.get("__metadata__") or {}


def check_vectors(tensor: Tensor | None, where: object, field: str, count: int | None, width: int | None) -> Tensor:
    """A table of finite float32 numbers (count, width); None = any.

    Raises:
        InputError: missing, another type or shape, or numbers that are not finite.
    """
    import torch

    shape = f"({'N' if count is None else count}, {'E' if width is None else width})"
    if tensor is None:
        raise InputError(where, field, "nothing", f"float32 {shape}")
    if tensor.dtype != torch.float32:
        raise InputError(where, field, str(tensor.dtype).removeprefix("torch."), f"float32 {shape}")
    if tensor.ndim != 2 or (width is not None and tensor.shape[1] != width) or not tensor.shape[1]:
        raise InputError(where, field, f"shape {tuple(tensor.shape)}", f"{shape}: the width of the teacher")
    if count is not None and len(tensor) != count:
        raise InputError(where, field, f"{len(tensor)} rows", f"{count}, one for each text")
    if not torch.isfinite(tensor).all():
        raise InputError(where, field, "numbers that are not finite", "finite numbers")
    return tensor


def cache_folder() -> Path:
    """Where things are kept that can be made again: $NCA3D_CACHE, else nca3d in the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("NCA3D_CACHE") or user_cache_path("nca3d", appauthor=False))
