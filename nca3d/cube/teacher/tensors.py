"""Tables of embeddings as safetensors, never pickle: the same content gives the same bytes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.errors import InputError
from nca3d.files import load_tensors

if TYPE_CHECKING:
    from torch import Tensor

# Tensors of a safetensors file begin at a multiple of this many bytes.
ALIGNED = 8


def header(path: Path) -> dict[str, str] | None:
    """Returns the metadata of a safetensors file, read without torch; None if it is no such file.

    Args:
        path: The file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            # A wrong file may begin with any number: memory for a false length is never asked for.
            if not 2 <= length <= 100_000_000:
                return None
            table = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError):
        return None
    metadata = table.get("__metadata__", {}) if isinstance(table, dict) else None
    return metadata if isinstance(metadata, dict) else None


def pack(tensors: "dict[str, Tensor]", metadata: dict[str, str]) -> bytes:
    """Returns the bytes of a safetensors file; the same tensors and metadata give the same bytes.

    Args:
        tensors: The tensors by name, of any shape.
        metadata: Texts by name.
    """
    from safetensors.torch import save

    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    # The library writes metadata in an order that changes from process to process, so the header is written anew, sorted.
    table = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    table = table.ljust(-(-len(table) // ALIGNED) * ALIGNED)
    return len(table).to_bytes(8, "little") + table + data[end:]


def unpack(data: bytes, where: object) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Returns the tensors, of any shape, and the metadata of a safetensors file's bytes.

    Args:
        data: The bytes.
        where: What the error calls the file.

    Raises:
        InputError: The bytes are something else.
    """
    tensors = load_tensors(data, where)
    table = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, table.get("__metadata__") or {}


def check_vectors(tensor: "Tensor | None", where: object, field: str, count: int | None, width: int | None) -> "Tensor":
    """Checks and returns a table of finite float32 numbers, (count, width).

    Args:
        tensor: The table; None = the file has none.
        where: What the error calls the file.
        field: What the error calls the table.
        count: The number of rows; None = any.
        width: The number of columns; None = any but 0.

    Raises:
        InputError: The table is missing, has another type or shape, or holds numbers that are not finite.
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
