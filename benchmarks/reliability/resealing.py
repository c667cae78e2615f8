"""Changes what is in one of our checkpoints and seals it again, so that every digest fits: what a stranger could hand out."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

Change = Callable[[Tensor], Tensor | None]


def reseal(checkpoint: Path, changes: Mapping[str, Change], **entries: Any) -> None:
    """Rewrites tensors of a checkpoint.

    Args:
        checkpoint: its folder.
        changes: by "group.name", what becomes of a tensor; None = it is left out. A name that is new is given an empty tensor.
        entries: of the manifest.
    """
    import torch
    from safetensors.torch import load_file, save

    for group in {name.partition(".")[0] for name in changes}:
        tensors = load_file(checkpoint / f"{group}.safetensors")
        for full, change in changes.items():
            owner, _, name = full.partition(".")
            if owner == group:
                changed = change(tensors.pop(name, torch.zeros(0)))
                tensors |= {} if changed is None else {name: changed.contiguous()}
        replace_file(checkpoint, f"{group}.safetensors", save(tensors))
    _write_manifest(checkpoint, **entries)


def replace_file(checkpoint: Path, name: str, data: bytes) -> None:
    """Puts other bytes into a checkpoint, with their digest in its manifest."""
    from nca3d.files import file_entry

    (checkpoint / name).write_bytes(data)
    files = json.loads((checkpoint / "manifest.json").read_text())["files"]
    _write_manifest(checkpoint, files=files | {name: file_entry(data)})


def _write_manifest(checkpoint: Path, **entries: Any) -> None:
    from nca3d.files import seal

    manifest = json.loads((checkpoint / "manifest.json").read_text())
    (checkpoint / "manifest.json").write_bytes(seal(manifest | entries))
