"""What a rule of several bodies asks of a config: bodies that are read together, and settings that suit all of them.

It stands in for the regime of one body (`regimes.py`) wherever a config names more than one target.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nca3d.config.devices import multiplies_bf16
from nca3d.config.recipe import Facts
from nca3d.config.regimes import Regime
from nca3d.errors import nearest
from nca3d.registry import LazyImport
from nca3d.schema.spec import toml

if TYPE_CHECKING:
    from nca3d.config.record import Config

# How many bodies one rule may have.
MOST = 64
# How settings of several bodies are given where these are arrays, which no config names.
ARRAYS = " (of arrays by name: target = as many words of your own)"
# The rules of config `rule` that have a form for several bodies.
RULES = ("conv", "coded", "conditional")
# Suffixes of files that hold a body each. Not those of pictures: a folder of pictures is one body, a stack.
BODIES = (
    *(".npy", ".npz", ".ply", ".obj", ".stl", ".glb", ".gltf", ".off", ".3mf", ".vox", ".nbt", ".schem", ".schematic"),
    *(
        ".nii",
        ".nii.gz",
        ".hdr",
        ".hdr.gz",
        ".img",
        ".img.gz",
        ".mgz",
        ".mgh",
        ".nrrd",
        ".nhdr",
        ".mha",
        ".mhd",
        ".vti",
        ".vtk",
    ),
    *(".litematic", ".csv", ".tsv", ".txt", ".safetensors"),
)
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
# By name, since these modules import torch.
TASK, FINISH = LazyImport("nca3d.training.several:Several"), LazyImport("nca3d.experiment:finish_several")


@dataclass(frozen=True)
class Several(Regime):
    """A regime of bodies, for a rule that grows each of several."""

    @classmethod
    def of(cls, regime: Regime) -> Self:
        """Returns the regime for several bodies that one for a single body stands for."""
        return cls(**vars(regime) | {"task": TASK, "finish": FINISH})

    def subject(self, config: "Config") -> str:
        """Returns what a run's folder is named after: how many bodies there are."""
        return f"{len(config.targets)}-bodies"

    def read(self, config: "Config", folder: str | os.PathLike[str] | None = None) -> object:
        """Reads and returns the bodies that the config names, a `Bodies`; of a resumed run those that it keeps."""
        from nca3d.targets.kept import several_by_run
        from nca3d.targets.together import Bodies, load_several

        if folder is not None:
            kept = several_by_run(Path(folder), config.anchored().targets, config.target_options, config.size)
            if kept is not None:
                return Bodies(tuple(one.target for one in kept), tuple(kept))
        return load_several(config.targets, size=config.size, **config.target_options)

    def facts(self, given: object) -> Facts:
        """Returns the facts of bodies that were read: those of the largest, of all kinds, and how many there are."""
        bodies: Any = given
        return Facts.of_several(bodies.each, multiplies_bf16())


def bodies_in(target: str) -> str | tuple[str, ...]:
    """Returns the files of a folder that hold a body each, sorted, where there are several and no pictures; else the target."""
    folder = Path(target)
    try:
        files = sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    except OSError:
        return target
    bodies = tuple(str(file) for file in files if file.name.lower().endswith(BODIES) and not file.name.startswith("."))
    stack = any(file.name.lower().endswith(PICTURES) for file in files)
    return bodies if 2 <= len(bodies) <= MOST and not stack else target


def several_contradictions(values: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
    """Yields fields about several bodies that don't go together, the one to change first, and what is allowed.

    Args:
        values: all fields by name.
    """
    if values["rule"] == "conditional" and isinstance(values["target"], str):
        yield ("rule", "target"), "conv for one target; several of them have a condition"
    if isinstance(values["target"], str):
        # A single body is told nothing, so nobody could mean these.
        for name, default in (("condition", "input"), ("condition_codes", "one_hot"), ("switch_rate", 0.0)):
            if values[name] != default:
                yield (name, "target"), f"{toml(default)} for one target; several of them have a condition{ARRAYS}"
        return
    if len(set(values["target"])) < len(values["target"]):
        yield ("target",), "each body once"
    if values["regime"] == "growing" and values["switch_rate"]:
        yield ("switch_rate", "regime"), "0 where regime = growing: there are no old bodies to change"
    if values["regime"] != "growing" and values["pool_size"] < len(values["target"]):
        yield ("pool_size", "target"), f"at least {len(values['target'])}, a slot for each of the targets"
    codes = values["condition_codes"]
    if codes not in ("one_hot", "learned") and not codes.lower().endswith((".npy", ".json")):
        yield ("condition_codes",), f"one_hot, learned, or a file .npy or .json{nearest(codes, ('one_hot', 'learned'))}"
    if values["rule"] not in RULES:
        yield ("rule", "target"), f"{', '.join(RULES[:-1])} where there are several targets: they have a form with a condition"
    if values["condition"] == "seed":
        if values["switch_rate"]:
            yield ("switch_rate", "condition"), "0 where condition = seed: no cell is told anything after the first"
        if values["condition_codes"] == "learned":
            yield (
                ("condition_codes", "condition"),
                "one_hot or a file where condition = seed: a pool keeps its seeds as they are",
            )
