"""The body that goes with a run: the target as it was fitted, in one file of the run folder, with its source and its digest.

Files that bodies are made of are moved, mended and thrown away, and readers change. What was trained, resumed, evaluated and
filmed is this file, and where the source has changed since, that is said.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from nca3d.errors import InputError
from nca3d.files import KEPT_TARGET, file_entry, load_tensors, names_path, read_file, read_verified, sha256, write_atomic
from nca3d.targets.target import OCCUPIED_ALPHA, Size, Target, Wanted

# Version of the file's format. A change of what is in it needs a new number and a reader of the old one.
FORMAT = 1
# The one entry of the file's metadata, which may hold text alone: JSON with all that is no tensor.
ABOUT = "nca3d.target"


@dataclass(frozen=True, eq=False)
class KeptTarget:
    """A target with the file that keeps it.

    Attributes:
        target: The target.
        data: The file's content.
        file: The file's name in the run folder.
        source: The config's `target`, "" for a body that came as an array; its `target_options`; and the SHA-256 of the file
            that it names, "" if it names none.
    """

    target: Target
    data: bytes
    source: Mapping[str, Any]
    file: str = KEPT_TARGET

    @classmethod
    def of(cls, target: Target, name: str = "", options: Mapping[str, Any] | None = None, file: str = KEPT_TARGET) -> Self:
        """Makes the file of a target.

        Args:
            target: The target.
            name: The name or file that it was made of; "" = an array.
            options: The options that it was made with.
            file: The name of the file in the run folder.
        """
        import torch
        from safetensors.torch import save

        source = {"target": name, "target_options": dict(options or {}), "sha256": _digest(name)}
        about = {"format": FORMAT, "name": target.name, "kind": target.kind, "names": list(target.names), "source": source}
        about |= {"first": target.first} if target.first else {}
        # One-hot values would be as many times larger as there are classes.
        classes = target.kind == "classes"
        values = target.values[:-1].argmax(dim=0).to(torch.uint8) if classes else target.values.contiguous()
        tensors = {"labels" if classes else "values": values.cpu()}
        if target.palette is not None:
            tensors["palette"] = torch.from_numpy(np.array(target.palette, np.float64))
        return cls(target, save(tensors, {ABOUT: json.dumps(about)}), source, file)

    @classmethod
    def read(cls, path: Path, digest: Mapping[str, Any] | None = None) -> Self:
        """Reads the file.

        Args:
            path: The file.
            digest: Its size and SHA-256, see `files.file_entry`; None = it is taken as it is.

        Raises:
            InputError: There is no such file, it is another one than the digest says, or no target.
        """
        data = read_file(path) if digest is None else read_verified(path.parent / "the rule's card", path.name, dict(digest))
        tensors = load_tensors(data, path)
        try:
            # A safetensors file begins with the length of its header.
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            about = json.loads(header["__metadata__"][ABOUT])
            if about["format"] != FORMAT:
                raise InputError(path, "format", about["format"], f"{FORMAT}; update nca3d to read a newer one")
            return cls(_target(about, tensors), data, about["source"], path.name)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(path, "target", f"a file without one ({error})", "a target that nca3d train kept") from None

    @property
    def record(self) -> dict[str, Any]:
        """What a rule's card says of the file: its name in the run folder, size and digest."""
        return {"file": self.file, **file_entry(self.data)}

    def write(self, folder: Path) -> Path:
        """Writes the file into a run folder, unless it is there already, and returns its path."""
        path = folder / self.file
        if not path.is_file() or path.read_bytes() != self.data:
            write_atomic(path, self.data)
        return path

    def changed(self) -> str:
        """Returns a line if the source is there and another file than it was; else ""."""
        name, digest = self.source["target"], self.source["sha256"]
        if not digest or _digest(name) in ("", digest):
            return ""
        return f"note: {name} has changed since the run began; the body is the one that the run keeps ({self.file})"


def kept_by_run(folder: Path, target: str, options: Mapping[str, Any], size: object) -> KeptTarget | None:
    """Returns the target that a run keeps, if it is the one that a config names; None = the config names another.

    Args:
        folder: The run folder.
        target: The config's target, with an absolute path if it is a file.
        options: The config's target options.
        size: The config's size.
    """
    path = folder / KEPT_TARGET
    if not path.is_file():
        return None
    kept = KeptTarget.read(path)
    named = _named(kept, target, options)
    return kept if named and tuple(kept.target.size) == tuple(size if isinstance(size, tuple) else ()) else None


def _named(kept: KeptTarget, target: str, options: Mapping[str, Any]) -> bool:
    """Returns whether a body is the one that a config names."""
    # A body that came as an array has no other name than its file.
    own = not kept.source["target"] and Path(target).name == kept.file
    return own or (kept.source["target"] == target and kept.source["target_options"] == dict(options))


def kept_name(place: int) -> str:
    """Returns the name of the file that keeps one of several bodies, from its place among them."""
    return f"target-{place + 1:02d}.safetensors"


def several_by_run(folder: Path, targets: Sequence[str], options: Mapping[str, Any], size: object) -> list[KeptTarget] | None:
    """Returns the bodies that a run keeps, if they are those that a config names; None = the config names others.

    Args:
        folder: The run folder.
        targets: The config's targets, with absolute paths where they are files.
        options: The config's target options.
        size: The config's size.
    """
    files = [folder / kept_name(place) for place in range(len(targets))]
    if not all(file.is_file() for file in files):
        return None
    kept = [KeptTarget.read(file) for file in files]
    named = all(_named(one, name, options) for one, name in zip(kept, targets, strict=True))
    fits = all(one.target.size == size for one in kept)
    return kept if named and fits else None


def read_kept(path: Path, size: Wanted) -> Target:
    """Reads the target that a run keeps, of its own size.

    Args:
        path: The file.
        size: The lattice (D, H, W), which must be the body's own; or "auto".

    Raises:
        InputError: The file is no target, or has another size.
    """
    target = KeptTarget.read(path).target
    if size not in ("auto", target.size):
        raise InputError(path, "size", size, f"{target.size}: this body was fitted to that lattice")
    return target


def _digest(name: str) -> str:
    """Returns the SHA-256 of the file, or of all files of the folder, that a target names; "" if nothing of it is there."""
    path = Path(name)
    if not names_path(name) or not path.exists():
        return ""
    if path.is_dir():
        entries = sorted(entry for entry in path.iterdir() if entry.is_file())
        return sha256("".join(f"{entry.name} {sha256(read_file(entry))}\n" for entry in entries).encode())
    return sha256(read_file(path))


def _place(numbers: Any) -> Size:
    z, y, x = (int(number) for number in numbers)
    return z, y, x


def _target(about: Mapping[str, Any], tensors: Mapping[str, Any]) -> Target:
    """Returns the target of a file's content; errors of any kind mean that it is none."""
    import torch
    from torch.nn import functional as F

    palette = tensors["palette"].numpy() if "palette" in tensors else None
    first = _place(about["first"]) if about.get("first") else None
    if about["kind"] == "rgb":
        values = tensors["values"]
        if values.shape[0] != 4 or values.dtype != torch.float32 or not values.isfinite().all():
            raise ValueError(f"values {tuple(values.shape)}")
        return Target(values, values[-1] > OCCUPIED_ALPHA, "rgb", (), palette, about["name"], first=first)
    labels = tensors["labels"].long()
    one_hot = F.one_hot(labels, len(about["names"])).movedim(-1, 0).float()
    occupied = labels > 0
    values = torch.cat([one_hot, occupied[None].float()])
    return Target(values, occupied, "classes", tuple(about["names"]), palette, about["name"], first=first)
