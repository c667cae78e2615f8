"""Textures: pictures that a mesh names are found beside it or in it, opened with care, and asked for the colour at a place."""

import io
import os
import re
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.options import MAX_BYTES

# 8192 x 8192: larger pictures are left out, before they are unpacked; and all pictures of a file together.
MAX_PIXELS, ALL_PIXELS = 1 << 26, 1 << 28
# A picture is made smaller down to this: a lattice shows some hundred points of it.
ENOUGH = 1024
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA")


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture on a surface.

    Attributes:
        pixels: Straight RGBA, uint8 (rows, columns, 4), the first row at v = 0.
        wrap: What lies beyond its edges along u and v: "repeat", "clamp" or "mirror".
        smooth: Whether colours run between the middles of pixels; False = each pixel is one square.
    """

    pixels: np.ndarray
    wrap: tuple[str, str] = ("repeat", "repeat")
    smooth: bool = True

    def at(self, uv: np.ndarray) -> np.ndarray:
        """Returns the colours at (u, v), (S, 2): RGBA float32 (S, 4) in 0..1."""
        rows, columns = self.pixels.shape[:2]
        low, high, part = zip(*(self._texels(uv[:, i], (columns, rows)[i], self.wrap[i]) for i in (0, 1)), strict=True)
        if not self.smooth:
            return self.pixels[low[1], low[0]].astype(np.float32) / 255
        right, down = part[0][:, None], part[1][:, None]
        upper = self.pixels[low[1], low[0]] * (1 - right) + self.pixels[low[1], high[0]] * right
        lower = self.pixels[high[1], low[0]] * (1 - right) + self.pixels[high[1], high[0]] * right
        colours: np.ndarray = (upper * (1 - down) + lower * down) / np.float32(255)
        return colours

    def _texels(self, place: np.ndarray, count: int, wrap: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the two texels along one axis that a place lies between, and how far it is from the first (0..1)."""
        place = np.nan_to_num(place.astype(np.float64), posinf=0.0, neginf=0.0)
        place = np.clip(place, 0, 1) if wrap == "clamp" else np.mod(place, 2 if wrap == "mirror" else 1)
        at = place * count - (0.5 if self.smooth else 0)
        first = np.floor(at).astype(np.int64)
        texels = [first, first + 1]
        if wrap == "repeat":
            texels = [index % count for index in texels]
        elif wrap == "mirror":
            texels = [np.where(index % (2 * count) < count, index % count, count - 1 - index % count) for index in texels]
        else:
            texels = [np.clip(index, 0, count - 1) for index in texels]
        return texels[0], texels[1], (at - first).astype(np.float32)

    @cached_property
    def alpha(self) -> tuple[float, float]:
        """The lowest and the highest alpha in it, 0..1."""
        return float(self.pixels[..., 3].min()) / 255, float(self.pixels[..., 3].max()) / 255


@dataclass
class Beside:
    """The files that a mesh names: those beside it, no others (no URL, no device, nothing above its folder).

    Attributes:
        path: The mesh file.
        notes: What was left out, one line each.
        pixels: The pixels that were unpacked so far.
        folders: Where in its folder files are looked for: those that lie elsewhere name others from there.
    """

    path: Path
    notes: list[str] = field(default_factory=list)
    pixels: int = 0
    folders: list[str] = field(default_factory=lambda: [""])

    def read(self, name: str) -> bytes | None:
        """Returns what is in a file beside the mesh; None if there is none of that name.

        Raises:
            InputError: If it is a pipe or a device, which would be read for ever, or too large.
        """
        folder, name = self.path.parent.resolve(), name.strip()
        plain = unquote(name).replace("\\", "/")
        # An absolute path is that of the exporter's machine: its last part may lie here.
        names = dict.fromkeys((name, plain, plain.rsplit("/", 1)[-1]))
        for start, one in ((start, one) for one in names for start in self.folders):
            try:
                place = folder / start / one
                there = place.exists()
            except (OSError, ValueError):  # a name too long, or with a NUL in it
                continue
            if there and not place.is_file() and not place.is_dir():
                raise InputError(self.path, "file", f"{name!r}, a device or pipe, named in it", "names of files")
            if one and there and place.is_file() and place.resolve().is_relative_to(folder):
                if place.stat().st_size > MAX_BYTES:
                    raise InputError(self.path, "file", f"{name!r} of {place.stat().st_size:,} bytes", f"{MAX_BYTES:,} at most")
                return place.read_bytes()
        return None

    def missing(self, name: str) -> str:
        """Returns why there is no file of a name, as the end of a sentence."""
        outside = re.match(r"\w{2,}://", name) or ".." in name
        return "lies outside its folder, and must lie beside it" if outside else "is not there"

    def texture(self, name: str, data: bytes | None = None, alpha: bool = True) -> np.ndarray | None:
        """Returns a picture as straight RGBA, uint8 (rows, columns, 4); None, and a note, if it can't be had.

        Args:
            name: Its file name, or another name for notes.
            data: What is in it; None = it is read from beside the mesh.
            alpha: Whether its alpha is meant as such: of an opaque material it may be anything.
        """
        called = os.path.basename(name.strip().replace("\\", "/")) or repr(name)
        if data is None:
            data = self.read(name)
        if data is None:
            self._left_out(f"texture {called} {self.missing(name)}")
            return None
        from PIL import Image

        try:
            with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
                warnings.simplefilter("ignore")
                size = image.width * image.height
                # Asked of the header, before any pixel is unpacked.
                if size > MAX_PIXELS or self.pixels + size > ALL_PIXELS:
                    self._left_out(f"texture {called} has {image.width} × {image.height} pixels, too many")
                    return None
                self.pixels += size
                return _unpacked(image, alpha)
        except Image.DecompressionBombError:
            self._left_out(f"texture {called} has too many pixels")
        except Exception as error:  # decoders of broken pictures raise anything
            self._left_out(f"texture {called} can't be read ({type(error).__name__})")
        return None

    def _left_out(self, why: str) -> None:
        """Says once why something is drawn without its picture."""
        line = f"{why}: drawn without it"
        if line not in self.notes and len(self.notes) < 20:
            self.notes.append(line)


def _unpacked(image: object, alpha: bool) -> np.ndarray:
    """Returns a picture as straight RGBA, uint8 (rows, columns, 4), made smaller where it is larger than `ENOUGH`."""
    from PIL import Image

    assert isinstance(image, Image.Image)
    factor = max(image.width, image.height) // ENOUGH
    if image.mode[:1] in "IF":  # one band of 16 bits
        grey = np.asarray(image, np.float64)
        most = 65535 if image.mode.startswith("I") else 1
        image = Image.fromarray(np.rint(np.clip(grey / most, 0, 1) * 255).astype(np.uint8))
    transparent = alpha and (image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info)
    if image.mode == "RGBA" and not alpha:
        image.putalpha(255)
    image = image.convert("RGBA" if transparent else "RGB")
    if factor > 1:
        image = image.reduce(factor)
    return np.asarray(image.convert("RGBA"))
