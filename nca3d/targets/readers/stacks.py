"""Stacks of images: the pages of a TIFF, or the pictures of a folder in the order of the numbers in their names.

A stack is what `numpy.stack` makes of its pictures: (D, H, W) = (picture, row, column), nothing flipped, which is no mirror
image of what ImageJ shows (x to the right, y down, z away from the eye).
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.options import MAX_BYTES, MAX_CELLS
from nca3d.targets.palette import parse_color
from nca3d.targets.readers.guard import in_child
from nca3d.targets.readers.images import FORMATS, PIXEL_ART, opened, read_image
from nca3d.targets.target import Target, Wanted
from nca3d.targets.volumes import Volume, VolumeOptions, from_volume

if TYPE_CHECKING:
    from PIL import Image

# Pillow's modes that hold one number a pixel; all others are colours.
GREY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
# Suffixes of formats that keep values only nearly.
LOSSY = (".jpg", ".jpeg", ".webp")
# Four times as many voxels as a lattice has cells: scans of that size are common, and are resampled.
MOST = 16 * MAX_CELLS


def read_stack(path: Path, size: Wanted, *, background: object = None, **options: Unpack[VolumeOptions]) -> Target:
    """Reads a target from a stack of images.

    Grey pictures hold labels, where they are whole numbers of few kinds, or measurements; coloured ones are straight RGBA, or
    RGB on a ground.

    Args:
        path: A folder of images, or a TIFF of one page or several.
        size: The lattice (D, H, W); "auto" = its own cells and the margin, if it is `PIXEL_ART` voxels long at most, else
            `place.LONGEST` cells along the longest side.
        background: The colour of empty voxels, for colours without alpha; None = that of the eight corners, if it is one.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If a picture is unreadable, they differ in size, there are too many, or nothing is in them.
    """
    notes: tuple[str, ...] = ()
    if path.is_dir():
        files = pictures(path)
        notes = _about_names(path, files)
        pages, spacing = _stacked(path, (_only_page(file) for file in files), len(files)), 1.0
    else:
        # libtiff writes what it thinks of broken files to the terminal.
        with opened(path, "TIFF") as image:
            count, mode = getattr(image, "n_frames", 1), image.mode
            promised = 4 * count * image.width * image.height
            spacing, notes = _slice_distance(image, path)
        if count == 1 and mode not in GREY:
            return _picture(path, size, background, options)
        pages = in_child(read_pages, path, "a whole TIFF", path, promised=min(promised, MAX_BYTES))["pages"]
    voxels = pages
    if voxels.ndim == 4:
        voxels, told = _on_ground(voxels, background, path)
        notes += told
    elif background is not None:
        raise InputError(path, "background", repr(background), "only with colours")
    # What JPEG makes of a label is a number near it.
    lossy = path.is_dir() and voxels.ndim == 3 and pictures(path)[0].suffix.lower() in LOSSY
    if lossy:
        notes += (f"{path.name}: JPEG and WebP change values: read as measurements, not as labels",)
    labels = False if lossy else None
    volume = Volume(voxels, (spacing, 1.0, 1.0), max(voxels.shape[:3]) <= PIXEL_ART, labels=labels, notes=notes)
    return from_volume(volume, size, path, path.stem, **options)


def read_pages(path: str) -> dict[str, np.ndarray]:
    """Returns all pages of a TIFF as one array "pages", (D, H, W) or (D, H, W, 3 or 4).

    Raises:
        InputError: If a page is unreadable, they differ in size or kind, or there are too many.
    """
    with opened(Path(path), "TIFF") as image:
        count: int = getattr(image, "n_frames", 1)
        return {"pages": _stacked(Path(path), (_page(image, Path(path), at) for at in range(count)), count)}


def pictures(folder: Path) -> list[Path]:
    """Returns the images of a folder, in the order of the numbers in their names: 2 comes before 10.

    Raises:
        InputError: If there are none, or images of several kinds.
    """
    from PIL import Image

    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    files = [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    found = [file for file in files if file.suffix.lower() in known]
    kinds = sorted({file.suffix.lower() for file in found})
    if not found:
        allowed = "a folder of images (.png, .tif, …), one a slice"
        scans = any(file.suffix.lower() == ".dcm" for file in files)
        told = "; DICOM slices: dcm2niix makes a .nii.gz of them" if scans else ""
        told += "; or of several files (64 at most) that hold a body each, which one rule is to grow" if not scans else ""
        raise InputError(folder, "folder", f"{len(files)} files, none an image", allowed + told)
    if len(kinds) > 1:
        raise InputError(folder, "folder", f"images of several kinds: {', '.join(kinds)}", "slices of one kind")
    return sorted(found, key=lambda file: [(int(part), "") if part.isdigit() else (-1, part) for part in _parts(file)])


def _about_names(folder: Path, files: list[Path]) -> tuple[str, ...]:
    """Returns what is odd about the names of slices: numbers that are missing, several series."""
    found = [[part for part in _parts(file) if not part.isdigit()] for file in files]
    series = sorted({"".join(words) for words in found})
    if len(series) > 1:
        named = ", ".join(repr(one) for one in series[:4])
        return (f"{folder.name}: pictures of {len(series)} names ({named}), one after the other",)
    numbers = [[int(part) for part in _parts(file) if part.isdigit()] for file in files]
    last = sorted(one[-1] for one in numbers if one)
    gaps = last[-1] - last[0] + 1 - len(last) if len(last) == len(files) and len(set(last)) == len(last) else 0
    even = len(last) > 2 and len(set(np.diff(last).tolist())) == 1  # every tenth slice, say
    return (f"{folder.name}: {gaps} numbers between {last[0]} and {last[-1]} have no picture",) if gaps and not even else ()


def _parts(file: Path) -> list[str]:
    """Returns the words and numbers that a file's name is made of."""
    return [part for part in re.split(r"(\d+)", file.stem) if part]


def _only_page(file: Path) -> np.ndarray:
    """Returns the one picture of a file."""
    with opened(file) as image:
        if (count := getattr(image, "n_frames", 1)) > 1:
            raise InputError(file, "pages", count, "one picture a file")
        return _page(image, file)


def _page(image: "Image.Image", path: Path, at: int = 0) -> np.ndarray:
    """Returns one page: numbers (rows, columns), RGB (rows, columns, 3) or RGBA (rows, columns, 4)."""
    if at:
        image.seek(at)
    if image.width * image.height > MAX_CELLS:
        raise InputError(path, "size", f"{image.width} × {image.height} pixels on page {at}", f"at most {MAX_CELLS:,}")
    if image.mode in GREY:
        return np.asarray(image)
    clear = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if clear else "RGB"))


def _stacked(path: Path, pages: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Returns pages as one array (D, H, W) or (D, H, W, 3 or 4).

    Raises:
        InputError: If they differ in size or kind, or there are too many.
    """
    stack: np.ndarray | None = None
    for number, page in enumerate(pages):
        if stack is None:
            if count * page.shape[0] * page.shape[1] > MOST or count * page.nbytes > MAX_BYTES:
                found = f"{count} pictures of {page.shape[1]} × {page.shape[0]} pixels"
                raise InputError(path, "size", found, f"at most {MOST:,} pixels and {MAX_BYTES:,} bytes in all")
            stack = np.empty((count, *page.shape), page.dtype)
        if page.shape != stack.shape[1:] or page.dtype != stack.dtype:
            found = f"{page.shape} of {page.dtype} in picture {number}, {stack.shape[1:]} of {stack.dtype} before"
            raise InputError(path, "pictures", found, "pictures of one size and kind")
        stack[number] = page
    assert stack is not None  # a file has a page, and a folder without pictures is refused
    return stack


def _slice_distance(image: "Image.Image", path: Path) -> tuple[float, tuple[str, ...]]:
    """Returns the distance of slices in pixels, as ImageJ writes it into a TIFF, and a line about it; 1 where it doesn't."""
    tags: Any = getattr(image, "tag_v2", {})
    text = tags.get(270, "")
    spacing = re.search(r"^spacing=([0-9.eE+-]+)", text, re.MULTILINE) if str(text).startswith("ImageJ") else None
    try:
        distance = float(spacing[1]) * float(tags.get(282, 1)) if spacing else 1.0
    except (ValueError, ZeroDivisionError, TypeError):
        return 1.0, ()
    if not 1e-3 < distance < 1e3 or distance == 1:
        return 1.0, ()
    return distance, (f"{path.name}: slices are {distance:.3g} pixels apart, as ImageJ says",)


def _picture(path: Path, size: Wanted, background: object, options: VolumeOptions) -> Target:
    """Makes a flat body of a TIFF with one coloured page."""
    rest = options.keys() - {"margin", "fit", "coverage"}
    if rest:
        raise InputError(path, "option", ", ".join(sorted(rest)), "background, coverage, fit, margin for a single picture")
    share = options.get("coverage")
    margin, fit = options.get("margin", 1), options.get("fit", "auto")
    return read_image(path, size, margin=margin, fit=fit, threshold=0.5 if share is None else share, background=background)


def _on_ground(colours: np.ndarray, background: object, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns RGBA (D, H, W, 4) where a colour is known that means empty, else RGB (D, H, W, 3), and what was decided."""
    if colours.shape[3] == 4 and background is None and (colours[..., 3] < 255).any():
        return colours, ()
    rgb, corners = colours[..., :3], colours[np.ix_(*[(0, -1)] * 3)].reshape(8, -1)[:, :3]
    if background is not None:
        ground = np.rint(255 * np.array(parse_color(background, path, "background")))
    elif np.ptp(corners, axis=0).max() == 0:
        ground = corners[0]
    else:
        return rgb, ()
    body = (rgb != ground).any(-1)
    if not body.any():
        raise InputError(path, "pictures", "one colour alone", "a body on a ground of another colour")
    said = f"{path.name}: no transparency; the colour {tuple(int(c) for c in ground)} of its corners is empty"
    return np.concatenate([rgb, np.where(body, 255, 0)[..., None].astype(np.uint8)], -1), (said,) * (background is None)
