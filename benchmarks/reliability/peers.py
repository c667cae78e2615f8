"""How each of the peers saves and loads, in the few lines that its documentation begins with.

A state is a table of tensors that follow from its step, so that whoever loads one can tell which it is, bit for bit. All but
ours write to one path again and again.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]


def state_of(step: int, megabytes: float = 1.0) -> State:
    """Returns the state of a step: eight tensors of random numbers."""
    generator = torch.Generator().manual_seed(step)
    return {f"w{number}": torch.randn(int(megabytes * 2**20) // 32, generator=generator) for number in range(8)}


class Peer(ABC):
    """Saves states and loads the newest; one whose package is missing can't be made."""

    name = ""

    @abstractmethod
    def path(self, folder: Path) -> Path:
        """Returns where the newest checkpoint of a folder lies: a file or a folder."""

    def next_path(self, folder: Path) -> Path:
        """Returns where step 2 will lie."""
        return self.path(folder)

    @abstractmethod
    def save(self, folder: Path, step: int, state: State) -> None:
        """Saves a state."""

    @abstractmethod
    def load(self, folder: Path) -> State:
        """Returns the newest state of a folder, or raises what the library raises."""


class Ours(Peer):
    """`nca3d.checkpoint`, as a run uses it."""

    name = "nca3d"

    def __init__(self) -> None:
        from nca3d import checkpoint

        self.checkpoint = checkpoint

    def path(self, folder: Path) -> Path:
        return max((folder / "checkpoints").iterdir())

    def next_path(self, folder: Path) -> Path:
        return folder / "checkpoints" / "step-000002"

    def save(self, folder: Path, step: int, state: State) -> None:
        self.checkpoint.save(folder, step, {"rule": state}, {"iteration": step}, keep=2)

    def load(self, folder: Path) -> State:
        return self.checkpoint.load(folder).groups["rule"]


class Torch(Peer):
    """torch.save and torch.load."""

    name = "torch.save"

    def path(self, folder: Path) -> Path:
        return folder / "checkpoint.pt"

    def save(self, folder: Path, step: int, state: State) -> None:
        torch.save(state, self.path(folder))

    def load(self, folder: Path) -> State:
        return torch.load(self.path(folder))


class Safetensors(Peer):
    """save_file and load_file of safetensors.torch."""

    name = "safetensors"

    def __init__(self) -> None:
        import safetensors.torch

        self.module: Any = safetensors.torch

    def path(self, folder: Path) -> Path:
        return folder / "model.safetensors"

    def save(self, folder: Path, step: int, state: State) -> None:
        self.module.save_file(state, self.path(folder))

    def load(self, folder: Path) -> State:
        return self.module.load_file(self.path(folder))


class Numpy(Peer):
    """numpy.savez and numpy.load."""

    name = "numpy.savez"

    def path(self, folder: Path) -> Path:
        return folder / "state.npz"

    def save(self, folder: Path, step: int, state: State) -> None:
        import numpy as np

        np.savez(self.path(folder), **{name: tensor.numpy() for name, tensor in state.items()})

    def load(self, folder: Path) -> State:
        import numpy as np

        with np.load(self.path(folder)) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


class Lightning(Peer):
    """Trainer.save_checkpoint, which ModelCheckpoint calls for its `last.ckpt`, and LightningModule.load_from_checkpoint."""

    name = "Lightning"

    def __init__(self) -> None:
        from reliability.lightning_parts import holder, quiet_trainer

        # Made here, once: a child that is killed must be killed in its save, not in an import.
        self.holder, self.trainer = holder(), quiet_trainer()

    def path(self, folder: Path) -> Path:
        return folder / "last.ckpt"

    def save(self, folder: Path, step: int, state: State) -> None:
        self.trainer.strategy.connect(self.holder(state))
        self.trainer.save_checkpoint(self.path(folder))

    def load(self, folder: Path) -> State:
        return dict(self.holder.load_from_checkpoint(self.path(folder)).state_dict())


class Dcp(Peer):
    """torch.distributed.checkpoint in one process."""

    name = "DCP"

    def __init__(self) -> None:
        import torch.distributed.checkpoint as dcp

        self.dcp = dcp

    def path(self, folder: Path) -> Path:
        return folder / "dcp"

    def save(self, folder: Path, step: int, state: State) -> None:
        self.dcp.save(state, checkpoint_id=self.path(folder))

    def load(self, folder: Path) -> State:
        # DCP loads into tensors that are there: zeros, so that what it leaves out shows.
        names = self.dcp.FileSystemReader(self.path(folder)).read_metadata().state_dict_metadata
        state = {name: torch.zeros(kept.size, dtype=kept.properties.dtype) for name, kept in names.items()}
        self.dcp.load(state, checkpoint_id=self.path(folder))
        return state


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Ours, Torch, Safetensors, Numpy, Lightning, Dcp)}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def found(peer: Peer, folder: Path, megabytes: dict[int, float]) -> str:
    """Returns what loading a folder gives: "old" (step 1), "new" (step 2), "wrong" (neither), or "Type: text" of the error.

    Args:
        peer: loads.
        folder: where states of steps 1 and 2 were saved.
        megabytes: their sizes.
    """
    try:
        state = peer.load(folder)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    names = {1: "old", 2: "new"}
    return next((names[step] for step, size in megabytes.items() if same(state, state_of(step, size))), "wrong")
