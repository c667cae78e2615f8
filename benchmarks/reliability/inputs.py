"""Rows about files that somebody else hands over: code in them, text, bombs, headers that lie."""

import io
import json
import pickle
import resource
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format

from reliability.children import Ended, limited, run
from reliability.peers import Dcp, Lightning, Numpy, Ours, Peer, Safetensors, State, Torch
from reliability.resealing import replace_file
from reliability.signals import NOT_ASKED
from reliability.trainings import OurRun

# What a bomb unpacks to. A child may have so much and no more, so that none takes the machine along.
BOMB, ROOM, CHUNK = 1536 << 20, 8 << 30, 16 << 20


def verdict(ended: Ended, name: str) -> str:
    """Returns a cell: whether a file was refused, in words that name it."""
    if ended.code is None:
        return "**hangs**"
    text = ended.error + ended.said
    if not ended.code:
        return "**accepted**"
    if ended.code < 0:
        return f"**killed by signal {-ended.code}**"
    kind = ended.error.partition(":")[0]
    trace = " **(trace)**" if "Traceback" in ended.said else f" ({kind})" if kind and kind not in ONE_LINE else ""
    return f"refused, {'file named' if name in text else 'file not named'}{trace}"


# What our shell command shows as one line.
ONE_LINE = ("InputError", "InputErrors", "RunError")


class Harm:
    """A pickle that makes a file when it is loaded: somebody's code has run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.mark), "w"))


def our_run(folder: Path) -> tuple[Path, Path]:
    """Returns a run of ten steps, and its newest checkpoint."""
    place = folder / "our-run"
    run(lambda: OurRun().train(place, 10))
    return place, max((place / "checkpoints").iterdir())


def load_ours(place: Path) -> Callable[[], None]:
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
        np.savez(peer.path(folder), w0=np.array([Harm(mark)], dtype=object))
        ended = run(lambda: peer.load(folder) and None)
    elif isinstance(peer, Ours):
        _, checkpoint = our_run(folder)
        replace_file(checkpoint, "rule.safetensors", pickle.dumps(Harm(mark)))
        ended = run(load_ours(checkpoint))
    elif isinstance(peer, Dcp):
        peer.save(folder, 1, state_of_one())
        (peer.path(folder) / ".metadata").write_bytes(pickle.dumps(Harm(mark)))
        ended = run(lambda: peer.load(folder) and None)
    else:
        content = (
            {"state_dict": Harm(mark), "pytorch-lightning_version": "2.0.0"} if isinstance(peer, Lightning) else Harm(mark)
        )
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
        _, checkpoint = our_run(folder)
        (checkpoint / "rule.safetensors").write_text("not found\n")
        return verdict(run(load_ours(checkpoint)), "rule.safetensors")
    if isinstance(peer, Dcp):
        peer.save(folder, 1, state_of_one())
        next(peer.path(folder).glob("*.distcp")).write_text("error 404: not found\n")
        return verdict(run(lambda: peer.load(folder) and None), ".distcp")
    peer.path(folder).write_text("error 404: not found\n")
    return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)


def bomb(peer: Peer, folder: Path) -> str:
    """An archive of a few megabytes that unpacks to 1.5 GB."""
    if isinstance(peer, Torch):
        file = peer.path(folder)
        run(lambda: _torch_bomb(file, folder / "large.pt"), timeout=120)
        load: Callable[[], Any] = lambda: peer.load(folder)  # noqa: E731
    elif isinstance(peer, Numpy | Ours):
        file = folder / "bomb.npz"
        header = io.BytesIO()
        format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (BOMB >> 20, 1024, 1024)})
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
            packed.open("body.npy", "w") as inside,
        ):
            inside.write(header.getvalue())
            for _ in range(BOMB // CHUNK):
                inside.write(bytes(CHUNK))
        load = _grow_ours(file) if isinstance(peer, Ours) else lambda: dict(np.load(file))
    else:
        return NOT_ASKED
    usual = run(lambda: None).peak
    ended = run(limited(resource.RLIMIT_AS, ROOM, lambda: load() and None), timeout=120)
    taken = max(0, ended.peak - usual) / 2**30
    cell = verdict(ended, file.name).strip("*")
    # What a reader takes before it looks at the size is what a bomb is for.
    return f"**{cell}, {taken:.1f} GB taken**" if taken > 0.5 or not ended.code else cell


def _torch_bomb(file: Path, large: Path) -> None:
    torch.save({"w0": torch.zeros(BOMB // 4)}, large)
    with zipfile.ZipFile(large) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name in source.namelist():
            with source.open(name) as whole, packed.open(name, "w", force_zip64=True) as part:
                shutil.copyfileobj(whole, part, CHUNK)
    large.unlink()


def huge_header(peer: Peer, folder: Path) -> str:
    """A file of numbers whose header claims 64 TiB."""
    file = folder / "huge.npy"
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (8796093022208,), }"
    header = header.ljust(117) + "\n"
    file.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 64)
    if isinstance(peer, Numpy):
        return verdict(run(lambda: np.load(file) is None), file.name)
    if isinstance(peer, Ours):
        return verdict(run(_grow_ours(file)), file.name)
    if isinstance(peer, Safetensors):
        head = json.dumps({"w0": {"dtype": "F64", "shape": [8796093022208], "data_offsets": [0, 70368744177664]}}).encode()
        peer.path(folder).write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * 64)
        return verdict(run(lambda: peer.load(folder) and None), peer.path(folder).name)
    return NOT_ASKED


ROWS = {
    "a pickle with code in it": code,
    "a text under a checkpoint's name": text,
    "a deflated bomb of 1.5 GB": bomb,
    "a header that claims 64 TiB": huge_header,
}
