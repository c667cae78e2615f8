"""The public ways to a `Target`: by name, from a file, from an array; options are checked and axes turned in one place."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError, nearest
from nca3d.files import names_path
from nca3d.registry import Registry
from nca3d.targets.analytic import cross, gyroid, heart, jack, letter, sphere, torus
from nca3d.targets.animals import cactus, duck, fish, penguin, snail, turtle
from nca3d.targets.arrays import from_voxels
from nca3d.targets.buildings import castle, cathedral
from nca3d.targets.creatures import axolotl, mushroom, toucan
from nca3d.targets.fit import Axes, parse_orientation, room_for, source_size, turn, turned_size
from nca3d.targets.kept import read_kept
from nca3d.targets.landscapes import coral, island, oak
from nca3d.targets.options import check_options, check_wanted
from nca3d.targets.pieces import MENDS
from nca3d.targets.pyvista_examples import ant, channels, frog
from nca3d.targets.readers.arrays import read_array
from nca3d.targets.readers.images import read_image
from nca3d.targets.readers.magicavoxel import read_vox
from nca3d.targets.readers.meshes import read_mesh
from nca3d.targets.readers.minecraft import read_minecraft
from nca3d.targets.readers.scans import read_scan
from nca3d.targets.readers.stacks import read_stack
from nca3d.targets.readers.tables import read_table
from nca3d.targets.readers.vtk import read_vtk
from nca3d.targets.target import Size, Target, Wanted

if TYPE_CHECKING:
    import numpy as np
    import torch

# Name -> builder(size, **options) that returns straight RGBA (D, H, W, 4), labels (D, H, W) or a `Target`. The first line of
# a builder's docstring is its line in the catalogue.
TARGETS = Registry("target")

for _body in (
    *(axolotl, mushroom, toucan, snail, penguin, cactus, fish, turtle, duck, cross, jack, gyroid, heart, letter, sphere, torus),
    *(oak, coral, island, castle, cathedral, frog, ant, channels),
):
    TARGETS.register(_body.__name__)(_body)

# The lattice of a body that has a name, where size = "auto"; that of a config, too.
NAMED: Size = (10, 18, 14)
# The same of those that are made for a larger one.
HOMES: dict[str, Size] = {
    "oak": (28, 24, 25),
    "coral": (32, 32, 32),
    "island": (34, 52, 50),
    "castle": (20, 18, 18),
    "cathedral": (31, 20, 34),
}

# File suffix -> reader(path, size, **options); a size of "auto" is handed on to what the reader ends in, see `place`.
READERS: dict[str, Callable[..., Target]] = {
    **dict.fromkeys((".npy", ".npz"), read_array),
    **dict.fromkeys((".ply", ".obj", ".stl", ".glb", ".gltf", ".off", ".3mf"), read_mesh),
    **dict.fromkeys((".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"), read_scan),
    **dict.fromkeys((".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd"), read_scan),
    **dict.fromkeys((".vti", ".vtk"), read_vtk),
    ".vox": read_vox,
    **dict.fromkeys((".nbt", ".schem", ".schematic", ".litematic"), read_minecraft),
    ".safetensors": read_kept,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"), read_image),
    **dict.fromkeys((".tif", ".tiff"), read_stack),
    **dict.fromkeys((".csv", ".tsv", ".txt"), read_table),
}
# What people bring that is not read, and what to do instead.
INSTEAD = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".pkl", ".pickle"), "nca3d.targets.from_array(tensor): a pickle can run programs"),
    **dict.fromkeys((".blend", ".fbx", ".dae", ".usdz", ".usd", ".step", ".stp"), "a mesh exported from it as .glb or .ply"),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), "the series as .nii.gz: dcm2niix makes one of DICOM slices"),
    **dict.fromkeys((".h5", ".hdf5", ".mat", ".zarr"), "the array in it: numpy.save('body.npy', array)"),
    **dict.fromkeys((".binvox", ".qb", ".gox", ".kv6"), "the model saved as MagicaVoxel .vox"),
}


def catalogue() -> dict[str, str]:
    """Returns the names that `load` knows, each with one line about it. Nothing is built or loaded."""
    return {name: (inspect.getdoc(builder) or "").partition("\n")[0] for name, builder in TARGETS.items()}


def load(name_or_path: str | Path, size: Wanted = (11, 20, 15), **options: object) -> Target:
    """Loads a target by its name in `catalogue()` or from a file.

    Files: arrays (.npy .npz), voxels (.vox .csv .tsv .txt), games (.nbt .schem .litematic), scans (.nii .hdr .img, packed or
    not, .mgz .mgh .nrrd .nhdr .mha .mhd .vti .vtk), meshes (.ply .obj .stl .glb .gltf .off .3mf), pictures (.png .jpg .webp
    .gif .bmp), stacks of them (.tif .tiff, or a folder), and the one that a run keeps: docs/formats.md.

    Args:
        name_or_path: A name, or the path of a file.
        size: The lattice (D, H, W). "auto" = of a voxel file or a small picture its own cells and the margin, of a mesh or a
            scan 24 cells along the longest side, of a larger picture 40, of a name (10, 18, 14) or the one that it is made
            for. `Target.notes` says it.
        **options: `orientation` and `pieces` for every target, and those of the target itself: `margin` in cells (default 1),
            `fit`, `threshold`, `labels`, `merge`, `color`, `palette`, `fill`, `key`, `frame`, ... `pieces` says what becomes of
            a body whose pieces lie more than one void cell apart, so that growth doesn't come from one to the others: "keep",
            "join" (by the shortest lines of cells) or "largest" (alone).

    Raises:
        InputError: If there is no such target, it doesn't take an option, or the file can't be used.
    """
    return _build(*_source(name_or_path), size, options)


def from_array(
    rgba_or_labels: "np.ndarray | torch.Tensor", size: Wanted = "auto", *, name: str = "array", **options: object
) -> Target:
    """Makes a target from an array in memory, just as `load` makes one from an array in a .npy file.

    Args:
        rgba_or_labels: Straight RGBA (D, H, W, 4), uint8 or float 0..1, which becomes an "rgb" target; or integer or bool
            labels (D, H, W) with 0 empty, which become "classes". numpy or torch, on any device; it is copied.
        size: The lattice (D, H, W). The array keeps its own size and is centred. "auto" = what is occupied of it and the
            margin at each face, none along an axis of one cell.
        name: The target's name in reports.
        **options: `fit=True` resamples it to fill the room inside `margin` (cells, default 1; aspect kept), each cell
            filled from the share `threshold` (default 0.5) of its volume; `orientation` turns it; `pieces` is that of `load`;
            `palette` and `names` are those of the classes, `labels` and `merge` choose among them, and `nan` is what NaN is
            read as.

    Raises:
        InputError: If it is no such array, is empty, is larger than the lattice without `fit=True`, or an option isn't one
            of these.
    """
    where = f"target {name!r}"
    return _build(partial(from_voxels, rgba_or_labels, where, name), where, name, size, options)


def _build(builder: Callable[..., Any], where: object, name: str, size: object, options: dict[str, Any]) -> Target:
    """Builds a target of the lattice `size`, turned as `orientation` says.

    Args:
        builder: Takes (size, **options); returns straight RGBA, labels or a `Target`.
        where: The name that errors give the target, or the path of its file.
        name: The target's name in reports.
        size: The lattice (D, H, W) or "auto", not checked yet.
        options: The user's options, not checked yet.
    """
    named = builder is TARGETS.get(name)
    wanted = check_wanted(HOMES.get(name, NAMED) if named and isinstance(size, str) and size == "auto" else size, where)
    check_options(builder, options, where)
    axes = parse_orientation(options.pop("orientation", "xyz"), where)
    mend = MENDS[str(options.pop("pieces", "keep"))]
    before: Wanted = "auto"
    if wanted != "auto":
        # The body is built on the lattice that turning makes the right one.
        before = source_size(wanted, axes)
        if named:
            _check_room(builder, before, options, where)
    try:
        source = builder(before, **options)
    except InputError:
        raise
    except Exception as error:
        if named and (file := TARGETS.plugins.get(name)):  # a user's code can fail in any way
            found = f"{type(error).__name__}: {error}"
            raise InputError(file, f"target {name!r}", found, "a builder(size, **options) that returns a body") from error
        if not isinstance(error, OSError) or not isinstance(where, Path):
            raise
        raise InputError(where, "file", f"unreadable ({error.strerror or error})", "a readable file") from error
    target = source if isinstance(source, Target) else from_voxels(source, where, name, before)
    if before not in ("auto", target.size):  # a builder of one's own may ignore the size
        raise InputError(where, "size", target.size, f"the lattice {before} that was asked for")
    target = mend(_turn(target, axes))
    return replace(target, notes=(_sized(target, where, options), *target.notes)) if wanted == "auto" else target


def _check_room(builder: Callable[..., Any], size: Size, options: dict[str, Any], where: object) -> None:
    """Checks that a registered body has room in its lattice, before a shape is computed for nothing."""
    margin = inspect.signature(builder).parameters.get("margin")
    free = options.get("margin", margin.default if margin else 0)
    # Shipped bodies are solid ones: in a flat lattice they would be a dot.
    if "margin" not in options and min(size) < 1 + 2 * free and getattr(builder, "__module__", "").startswith("nca3d."):
        allowed = (
            f"{1 + 2 * free} cells or more along each axis for this body (--size); a flat one is an image or array of your own"
        )
        raise InputError(where, "size", list(size), allowed)
    room_for(size, free, where)


def _sized(target: Target, where: object, options: dict[str, Any]) -> str:
    """Returns the line that says which lattice a body of one's own got where none was asked for, and why."""

    def sides(size: Size) -> str:
        return " × ".join(map(str, size))

    margin = options.get("margin", 1)
    name = where.name if isinstance(where, Path) else str(where).removeprefix("target ")
    why = f"{max(target.size)} cells along the longest side of {name}, with a margin of {margin}; --size sets another"
    if target.source_size is not None:
        why = f"the {sides(target.source_size)} cells of {name} and a margin of {margin}"
    return f"size = {sides(target.size)}: {why}"


def _source(name_or_path: str | Path) -> tuple[Callable[..., Any], object, str]:
    """Returns the builder of a name or a file, the name that errors give it, and its name in reports."""
    if isinstance(name_or_path, str) and name_or_path in TARGETS:
        return TARGETS[name_or_path], f"target {name_or_path!r}", name_or_path
    suffixes = " ".join(sorted(READERS))
    if not isinstance(name_or_path, str | Path) or not str(name_or_path):
        raise InputError("target", "name", repr(name_or_path), f"{', '.join(sorted(TARGETS))}, or a file ({suffixes})")
    path = Path(name_or_path)
    # ".nii.gz" is one suffix of two parts.
    suffix = next(
        (known for known in READERS if known.count(".") > 1 and path.name.lower().endswith(known)), path.suffix.lower()
    )
    if not path.exists() and not suffix and len(path.parts) == 1:  # a bare word is a misspelt name, not a missing file
        allowed = f"{', '.join(sorted(TARGETS))}, or a file ({suffixes}){nearest(path.name, TARGETS)}"
        raise InputError("target", "name", repr(path.name), allowed)
    if not path.exists():
        raise InputError(path, "file", "nothing there", "a file that exists, or a name that `nca3d targets` lists")
    if path.is_dir():
        if isinstance(name_or_path, str) and not names_path(name_or_path):
            raise InputError(
                "target",
                "name",
                f"{name_or_path!r}, a folder",
                f"'{name_or_path}/': a folder of images, or of several bodies, has a slash",
            )
        return partial(read_stack, path), path, path.name
    if not path.is_file():
        raise InputError(path, "file", "no regular file", f"a file ({suffixes}), or a folder of images")
    if suffix not in READERS:
        raise InputError(path, "suffix", repr(suffix), INSTEAD.get(suffix, suffixes))
    if path.stat().st_size == 0:
        raise InputError(path, "file", "0 bytes", "a file with something in it")
    return partial(READERS[suffix], path), path, path.stem


def _turn(target: Target, axes: Axes) -> Target:
    """Returns the target with its axes permuted and flipped; the target itself where nothing changes."""
    if axes == ((0, 1), (1, 1), (2, 1)):
        return target
    import torch

    values = torch.from_numpy(turn(target.values.numpy(), axes, first=1))
    occupied = torch.from_numpy(turn(target.occupied.numpy(), axes))
    own = target.source_size
    return replace(target, values=values, occupied=occupied, source_size=own and turned_size(own, axes))
