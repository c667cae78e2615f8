"""Rows about files that somebody else hands over: code in them, bombs, wrong types and shapes, versions that are yet to come."""

import io
import json
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reliability.children import Ended, limited, run
from reliability.peers import Dcp, Lightning, Numpy, Ours, Peer, Safetensors, State, Torch
from reliability.resealing import replace_file, reseal
from reliability.signals import NOT_ASKED
from reliability.trainings import OurRun

# What a bomb unpacks to. A child may have so much and no more, so that none takes the machine along.
BOMB, ROOM = 512 << 20, 8 << 30


def verdict(ended: Ended, name: str) -> str:
    """Returns a cell: whether a file was refused, in words that name it."""
    if ended.code is None:
        return "**hangs**"
    text = ended.error + ended.said
    if not ended.code:
        return "**accepted**"
    if ended.code < 0:
        return f"**killed by signal {-ended.code}**"
    trace = "Traceback" in ended.said or (ended.error and ended.error.split(":")[0] not in _OURS and ended.code == 1)
    kind = f" ({ended.error.split(':')[0]})" if trace and ended.error else ""
    return f"refused, {'file named' if name in text else 'file not named'}{kind}"


_OURS = {"InputError", "InputErrors", "RunError"}


class Harm:
    """A pickle that makes a file when it is loaded: somebody's code has run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.mark), "w"))


def _our_run(folder: Path) -> tuple[Path, Path]:
    """Returns a run of ten steps, and its newest checkpoint."""
    place = folder / "our-run"
    run(lambda: OurRun().train(place, 10))
    return place, max((place / "checkpoints").iterdir())


def _load_ours(place: Path) -> Callable[[], None]:
    def load() -> None:
        import nca3d

        nca3d.load(place)

    return load


def _grow_ours(file: Path) -> Callable[[], None]:
    """Returns a training of the shell's whose body is a file."""

    def grow() -> None:
        from nca3d.cli import main

        words = ["--size", "8", "8", "8", "--iterations", "1", "--out", str(file.with_name("grown")), "--no-report"]
        raise SystemExit(main(["train", "--target", str(file), *words]))

    return grow


def code(peer: Peer, folder: Path) -> str:
    """A pickle with code in it, under the name that a checkpoint has: was the code run?"""
    mark = folder / "mark"
    if isinstance(peer, Numpy):
        import numpy as np

        np.savez(peer.path(folder), w0=np.array([Harm(mark)], dtype=object))
        ended = run(lambda: peer.load(folder) and None)
    elif isinstance(peer, Ours):
        place, checkpoint = _our_run(folder)
        replace_file(checkpoint, "rule.safetensors", pickle.dumps(Harm(mark)))
        ended = run(_load_ours(checkpoint))
    elif isinstance(peer, Dcp):
        peer.save(folder, 1, state_of_one())
        (peer.path(folder) / ".metadata").write_bytes(pickle.dumps(Harm(mark)))
        ended = run(lambda: peer.load(folder) and None)
    else:
        content = {"state_dict": Harm(mark), "pytorch-lightning_version": "2.0.0"} if isinstance(peer, Lightning) else Harm(mark)
        torch.save(content, peer.path(folder))
        ended = run(lambda: peer.load(folder) and None)
    if mark.exists():
        return "**code was run**"
    return "refused, not run" if ended.code else "**accepted, not run**"


def state_of_one() -> State:
    return {"w0": torch.zeros(4)}


def text(peer: Peer, folder: Path) -> str:
    """A text under the name of a checkpoint's file."""
    if isinstance(peer, Ours):
        place, checkpoint = _our_run(folder)
        (checkpoint / "rule.safetensors").write_text("not found\n")
        return verdict(run(_load_ours(checkpoint)), "rule.safetensors")
    if isinstance(peer, Dcp):
        peer.save(folder, 1, state_of_one())
        next(peer.path(folder).glob("*.distcp")).write_text("error 404: not found\n")
        return verdict(run(lambda: peer.load(folder) and None), ".distcp")
    peer.path(folder).write_text("error 404: not found\n")
    return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)


def bomb(peer: Peer, folder: Path) -> str:
    """An archive of half a megabyte that unpacks to 512."""
    if isinstance(peer, Torch):
        file = peer.path(folder)
        buffer = io.BytesIO()
        torch.save({"w0": torch.zeros(BOMB // 4)}, buffer)
        with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in source.namelist():
                packed.writestr(name, source.read(name))
        load: Callable[[], Any] = lambda: peer.load(folder)  # noqa: E731
    elif isinstance(peer, Numpy | Ours):
        import numpy as np

        file = folder / "bomb.npz"
        np.savez_compressed(file, body=np.zeros(BOMB, np.uint8).reshape(512, 1024, 1024))
        load = _grow_ours(file) if isinstance(peer, Ours) else lambda: dict(np.load(file))
    else:
        return NOT_ASKED
    ended = run(limited(resource.RLIMIT_AS, ROOM, lambda: load() and None), timeout=120)
    return f"**unpacked: {BOMB >> 20} MB from {file.stat().st_size / 2**20:.1f}**" if not ended.code else verdict(ended, file.name)


def huge_header(peer: Peer, folder: Path) -> str:
    """A file of numbers whose header claims 64 TiB."""
    file = folder / "huge.npy"
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (8796093022208,), }"
    header = header.ljust(117) + "\n"
    file.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 64)
    if isinstance(peer, Numpy):
        import numpy as np

        return verdict(run(lambda: np.load(file) is None), file.name)
    if isinstance(peer, Ours):
        return verdict(run(_grow_ours(file)), file.name)
    if isinstance(peer, Safetensors):
        head = json.dumps({"w0": {"dtype": "F64", "shape": [8796093022208], "data_offsets": [0, 70368744177664]}}).encode()
        peer.path(folder).write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * 64)
        return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)
    return NOT_ASKED


# What tensors of a checkpoint may have become, all digests mended.
CHANGES: dict[str, Callable[[Tensor], Tensor | None]] = {
    "float64": lambda tensor: tensor.double(),
    "int8": lambda tensor: tensor.to(torch.int8),
    "shape": lambda tensor: tensor[:1],
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
            _, checkpoint = _our_run(place)
            key = "rule.more" if name == "extra" else "rule.network.2.weight"
            reseal(checkpoint, {key: change})
            ended = run(_load_ours(checkpoint))
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
        _, checkpoint = _our_run(folder)
        reseal(checkpoint, {}, format=99)
        return verdict(run(_load_ours(checkpoint)), "manifest.json")
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
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, np.zeros(4))
        with zipfile.ZipFile(peer.path(folder), "w") as packed:
            packed.writestr("w0.npy", b"\x93NUMPY\x63\x00" + buffer.getvalue()[8:])
    else:
        return "no version"
    return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)


def _duplicate(tensors: State) -> bytes:
    """Returns a safetensors file in which the first tensor is there twice, with other numbers."""
    name, tensor = next(iter(tensors.items()))
    entry = '"%s": {"dtype": "F32", "shape": %s, "data_offsets": [%d, %d]}'
    size, shape = tensor.nbytes, list(tensor.shape)
    head = ("{" + ", ".join(entry % (name, shape, at, at + size) for at in (0, size)) + "}").encode()
    return struct.pack("<Q", len(head)) + head + tensor.numpy().tobytes() + (tensor + 1).numpy().tobytes()


def duplicates(peer: Peer, folder: Path) -> str:
    """A name that is there twice, with other numbers each."""
    if isinstance(peer, Safetensors):
        peer.path(folder).write_bytes(_duplicate(state_of_one()))
        return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)
    if isinstance(peer, Numpy):
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, np.zeros(4))
        with zipfile.ZipFile(peer.path(folder), "w") as packed:
            for _ in range(2):
                packed.writestr("w0.npy", buffer.getvalue())
        return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)
    if isinstance(peer, Ours):
        from safetensors.torch import load_file

        _, checkpoint = _our_run(folder)
        weights = load_file(checkpoint / "rule.safetensors")
        replace_file(checkpoint, "rule.safetensors", _duplicate({"network.2.weight": weights["network.2.weight"]}))
        return verdict(run(_load_ours(checkpoint)), "rule.safetensors")
    return NOT_ASKED


def not_a_number(peer: Peer, folder: Path) -> str:
    """A checkpoint whose numbers are NaN, saved as it should be: is it saved, is it loaded?"""
    state = {"w0": torch.full((4,), float("nan"))}
    saved = run(lambda: peer.save(folder, 1, state))
    if saved.code:
        return "refused in the save"
    return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)


ROWS = {
    "a pickle with code in it": code,
    "a text under a checkpoint's name": text,
    "a deflated bomb, 512 MB from 0.5": bomb,
    "a header that claims 64 TiB": huge_header,
    "weights as float64, int8, of another shape, missing, extra, NaN": strange_tensors,
    "format version 99": future,
    "a name twice in one file": duplicates,
    "NaN saved": not_a_number,
}
