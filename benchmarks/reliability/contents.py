"""Rows about what is in a checkpoint whose bytes are whole: other types, shapes and versions, a name twice, NaN."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reliability.children import run
from reliability.inputs import load_ours, our_run, state_of_one, verdict
from reliability.peers import Dcp, Lightning, Numpy, Ours, Peer, Safetensors, Torch
from reliability.resealing import replace_file, reseal
from reliability.signals import NOT_ASKED

# What tensors of a checkpoint may have become, all digests mended.
CHANGES: dict[str, Callable[[Tensor], Tensor | None]] = {
    "float64": lambda tensor: tensor.double(),
    "int8": lambda tensor: tensor.to(torch.int8),
    "shape": lambda tensor: tensor[:1] if tensor.dim() else torch.zeros(3),
    "missing": lambda tensor: None,
    "extra": lambda tensor: torch.ones(3),
    "NaN": lambda tensor: torch.full_like(tensor, float("nan")),
}


def strange_tensors(peer: Peer, folder: Path) -> str:
    """Weights of another type or shape, missing, extra, NaN: loaded into the model that they are for."""
    accepted = []
    for name, change in CHANGES.items():
        place = folder / name
        place.mkdir()
        if isinstance(peer, Ours):
            _, checkpoint = our_run(place)
            key = "rule.more" if name == "extra" else "rule.network.2.weight"
            reseal(checkpoint, {key: change})
            ended = run(load_ours(checkpoint))
        else:
            ended = run(lambda place=place, name=name, change=change: _into_model(peer, place, name, change))
        accepted += [name] * (not ended.code)
    refused = len(CHANGES) - len(accepted)
    return f"refused {refused} of {len(CHANGES)}" if not accepted else f"**accepted {', '.join(accepted)}**"


def _into_model(peer: Peer, folder: Path, name: str, change: Callable[[Tensor], Tensor | None]) -> None:
    model = nn.Linear(4, 3)
    state = {**model.state_dict()}
    changed = change(state["weight"].clone())
    if name == "extra":
        state["more"] = torch.ones(3)
    elif changed is None:
        del state["weight"]
    else:
        state["weight"] = changed
    if isinstance(peer, Lightning):
        from reliability.lightning_parts import linear

        torch.save({"state_dict": state, "pytorch-lightning_version": "2.6.6"}, peer.path(folder))
        linear().load_from_checkpoint(peer.path(folder))
        return
    peer.save(folder, 1, {key: tensor.contiguous() for key, tensor in state.items()})
    if isinstance(peer, Dcp):
        into = model.state_dict()
        peer.dcp.load(into, checkpoint_id=peer.path(folder))
        model.load_state_dict(into)
    else:
        model.load_state_dict(peer.load(folder))


def future(peer: Peer, folder: Path) -> str:
    """A file that says it is of format version 99."""
    if isinstance(peer, Ours):
        _, checkpoint = our_run(folder)
        reseal(checkpoint, {}, format=99)
        return verdict(run(load_ours(checkpoint)), "manifest.json")
    if isinstance(peer, Torch):
        peer.save(folder, 1, state_of_one())
        data = peer.path(folder).read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(peer.path(folder), "w") as changed:
            for name in source.namelist():
                changed.writestr(name, b"99\n" if name.endswith("/version") else source.read(name))
    elif isinstance(peer, Lightning):
        peer.save(folder, 1, state_of_one())
        content = torch.load(peer.path(folder), weights_only=False)
        torch.save(content | {"pytorch-lightning_version": "99.0.0"}, peer.path(folder))
    elif isinstance(peer, Numpy):
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(4))
        with zipfile.ZipFile(peer.path(folder), "w") as packed:
            packed.writestr("w0.npy", b"\x93NUMPY\x63\x00" + buffer.getvalue()[8:])
    else:
        return "no version"
    return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)


def _duplicate(data: bytes, name: str) -> bytes:
    """Returns a safetensors file with one of its float32 tensors named a second time: the same bytes, as int32."""
    length = struct.unpack("<Q", data[:8])[0]
    head = data[8 : 8 + length].decode().rstrip()
    again = json.dumps({name: json.loads(head)[name] | {"dtype": "I32"}})
    head = f"{head[:-1]}, {again[1:]}"
    head = head.ljust(-(-len(head) // 8) * 8)
    return struct.pack("<Q", len(head)) + head.encode() + data[8 + length :]


def duplicates(peer: Peer, folder: Path) -> str:
    """A name that is there twice: as float32, and the same bytes as int32."""
    if isinstance(peer, Safetensors):
        peer.save(folder, 1, state_of_one())
        peer.path(folder).write_bytes(_duplicate(peer.path(folder).read_bytes(), "w0"))
        return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)
    if isinstance(peer, Numpy):
        with zipfile.ZipFile(peer.path(folder), "w") as packed:
            for kind in (np.float32, np.int32):
                buffer = io.BytesIO()
                np.save(buffer, np.ones(4, kind))
                packed.writestr("w0.npy", buffer.getvalue())
        return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)
    if isinstance(peer, Ours):
        _, checkpoint = our_run(folder)
        file = checkpoint / "rule.safetensors"
        replace_file(checkpoint, file.name, _duplicate(file.read_bytes(), "network.2.weight"))
        return verdict(run(load_ours(checkpoint)), "rule.safetensors")
    return NOT_ASKED


def not_a_number(peer: Peer, folder: Path) -> str:
    """A checkpoint whose numbers are NaN, saved as it should be: is it saved, is it loaded?"""
    state = {"w0": torch.full((4,), float("nan"))}
    saved = run(lambda: peer.save(folder, 1, state))
    if saved.code:
        return "refused in the save"
    return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)


ROWS = {
    "weights as float64, int8, of another shape, missing, extra, NaN": strange_tensors,
    "format version 99": future,
    "a name twice in one file": duplicates,
    "NaN saved": not_a_number,
}
