"""Images (.png .jpg .webp .gif .bmp): a flat body, one cell thick, upright and unmirrored in pictures."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.arrays import from_voxels
from nca3d.targets.fit import room_for
from nca3d.targets.options import MAX_CELLS
from nca3d.targets.palette import parse_color
from nca3d.targets.place import scaled_size
from nca3d.targets.readers.guard import parsing
from nca3d.targets.target import Target, Wanted

if TYPE_CHECKING:
    from PIL import Image

# The longest side up to which a picture is taken for one whose pixels are meant as cells.
PIXEL_ART = 64
# The longest side of the lattice of a larger one: that of the lizard in "Growing Neural Cellular Automata" (2020).
LONGEST = 40
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
# How far a colour may lie from the ground's, of 255, where a format keeps colours only nearly.
LOSSY = {"JPEG": 40, "WEBP": 16}


def read_image(
    path: Path,
    size: Wanted,
    *,
    margin: int = 1,
    fit: bool | str = "auto",
    threshold: float = 0.5,
    background: object = None,
    frame: int | None = None,
) -> Target:
    """Reads a target from an image: transparent pixels are empty, the others coloured cells.

    A flat lattice is the picture's plane: with one cell along z (1, H, W) it lies, the top of the picture at high y; with one
    cell along y it stands, facing low y, and with one along x, facing high x, its top at high z. In any other lattice it lies
    in the middle.

    Args:
        path: The image.
        size: The lattice (D, H, W); "auto" = (1, H, W): the picture's own pixels and the margin where they are `PIXEL_ART`
            along the longest side at most, else `LONGEST` cells along it.
        margin: The cells left free at each face, where the picture is resampled or the size is "auto".
        fit: False takes a pixel for a cell, True resamples, "auto" resamples what is larger than the lattice, or than
            `PIXEL_ART`.
        threshold: The share of its area from which a cell is filled, above 0 to 1, where the picture is resampled.
        background: The colour of empty pixels, for an image without alpha; None = that of its corners, if it is one.
        frame: The number of one picture of a moving image; −1 is the last.

    Raises:
        InputError: If the file is unreadable, too large or moves, or it has neither alpha nor one colour in its corners.
    """
    pixels, notes = _ground(*_load(path, frame), background, path)
    occupied = np.argwhere(pixels[..., 3] > 0)
    if not len(occupied):
        raise InputError(path, "pixels", "none that is not transparent", "a picture with something on it")
    (top, left), (bottom, right) = occupied.min(0), occupied.max(0) + 1
    # The first row of an image is its top, and lies at the high end of its axis.
    pixels = pixels[top:bottom, left:right][::-1]
    rows, columns = pixels.shape[:2]
    if size == "auto":
        plane = 0
        fitted = fit is True or (fit == "auto" and max(rows, columns) > PIXEL_ART)
        size = scaled_size((0, rows, columns), margin, LONGEST) if fitted else size
    else:
        plane = size.index(1) if 1 in size else 0
        height, width = (size[axis] for axis in range(3) if axis != plane)
        fitted = fit is True or (fit == "auto" and (rows > height or columns > width))
    if fitted and size != "auto":
        room_for(size, margin, path)
        notes.append(f"{path.name}: resampled from {columns} × {rows} pixels")
    voxels = np.expand_dims(pixels, plane)
    target = from_voxels(voxels, path, path.stem, size, margin=margin, fit=fitted, threshold=threshold)
    return replace(target, notes=(*target.notes, *notes))


@contextlib.contextmanager
def opened(path: Path, *formats: str) -> Iterator["Image.Image"]:
    """Opens an image of one of these formats, all that are read here if none is named; only its header is read.

    Raises:
        InputError: If it is none of them, or too large, or whatever goes wrong with it while it is open.
    """
    from PIL import Image

    allowed = f"a whole {', '.join(formats or FORMATS)}"
    with parsing(path, allowed, "PIL"), Image.open(path, formats=formats or FORMATS) as image:
        # Asked of the header, before any pixel is unpacked.
        if image.width * image.height > MAX_CELLS:
            raise InputError(path, "size", f"{image.width} × {image.height} pixels", f"at most {MAX_CELLS:,}")
        yield image


def _load(path: Path, frame: int | None) -> tuple[np.ndarray, bool, int]:
    """Reads straight RGBA, uint8 (rows, columns, 4), whether alpha says where the picture is, and how exact colours are."""
    from PIL import ImageOps

    with opened(path) as image:
        frames: int = getattr(image, "n_frames", 1)
        if frame is not None:
            if isinstance(frame, bool) or not isinstance(frame, int) or not -frames <= frame < frames:
                raise InputError(path, "frame", repr(frame), f"a whole number from {-frames} to {frames - 1}")
            image.seek(frame % frames)
        elif frames > 1:
            allowed = f"one picture, not a moving one: frame = 0 to {frames - 1}, or -1 for the last"
            raise InputError(path, "frames", frames, allowed)
        if image.mode[:1] in "IF":
            raise InputError(
                path, "mode", image.mode, "8 bits a colour; several such pictures in a folder are a stack of slices"
            )
        off = LOSSY.get(image.format or "", 0)
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
    return pixels, bool((pixels[..., 3] < 255).any()), off


def _ground(pixels: np.ndarray, cut_out: bool, off: int, background: object, path: Path) -> tuple[np.ndarray, list[str]]:
    """Returns the picture with empty pixels where its ground shows, and what was decided about that.

    Args:
        pixels: Straight RGBA, uint8 (rows, columns, 4).
        cut_out: Whether alpha says where the picture is.
        off: How far a colour may lie from the ground's, 0..255.
        background: The user's choice of the ground, see `read_image`.
        path: The file.
    """
    if background is not None:
        ground = np.rint(255 * np.array(parse_color(background, path, "background")))
    elif cut_out:
        return pixels, []
    else:
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1], :3].astype(int)
        ground = np.rint(corners.mean(0))
        if np.abs(corners - ground).max() > off:
            found = f"no transparency, and corners of different colours: {', '.join(map(_code, corners))}"
            raise InputError(path, "ground", found, "an alpha channel, or the ground: --target-options background='#ffffff'")
    ours = np.abs(pixels[..., :3] - ground).max(-1) <= off
    empty = np.where(ours[..., None], 0, pixels).astype(np.uint8)
    said = (
        "" if background is not None else f"{path.name}: no transparency; its corners' {_code(ground)} is the ground, and empty"
    )
    return empty, [said] * bool(said)


def _code(colour: np.ndarray) -> str:
    """Returns a colour of 0..255 as text, '#ffffff'."""
    return "#" + "".join(f"{int(part):02x}" for part in colour[:3])
