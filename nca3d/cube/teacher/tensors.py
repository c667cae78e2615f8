"""Tables of embeddings as safetensors, never pickle: the same content gives the same bytes. torch inside functions."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.errors import InputError
from nca3d.files import load_tensors

if TYPE_CHECKING:
    from torch import Tensor

# Tensors of a safetensors file begin at a multiple of so many bytes.
ALIGNED = 8


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


def pack(tensors: "dict[str, Tensor]", metadata: dict[str, str]) -> bytes:
    """The bytes of a safetensors file. The same tensors and metadata give the same bytes.

    The library writes metadata in an order that changes from process to process, so the header is written anew.
    """
    from safetensors.torch import save

    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    table = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    table = table.ljust(-(-len(table) // ALIGNED) * ALIGNED)
    return len(table).to_bytes(8, "little") + table + data[end:]


def unpack(data: bytes, where: object) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Tensors and metadata of a safetensors file's bytes.

    Raises:
        InputError: the bytes are something else.
    """
    tensors = load_tensors(data, where)
    table = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, table.get("__metadata__") or {}


def check_vectors(tensor: "Tensor | None", where: object, field: str, count: int | None, width: int | None) -> "Tensor":
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
