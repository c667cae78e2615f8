"""The target: the body to grow, in the visible channels of a rule, with its occupied cells, names and colours."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.pieces import Pieces

if TYPE_CHECKING:
    import torch

Size = tuple[int, int, int]
# A lattice as it is asked for: its size, or the one that the body itself suggests.
Wanted = Size | Literal["auto"]

# A cell counts as occupied when its alpha is above this, in a target and in a grown body alike. It is the alive threshold of
# the default rule (Mordvintsev et al. 2020), so that what is judged is what lives.
OCCUPIED_ALPHA = 0.1


@dataclass(frozen=True, eq=False)
class Target:
    """The body that a rule should grow. `nca3d.targets.load` reads one by name or from a file, `from_array` from an array.

    Attributes:
        values: The visible channels and alpha, float32 (visible + 1, D, H, W). "rgb": premultiplied red, green, blue (0..1),
            then alpha (0..1). "classes": one-hot over K classes (class 0 is empty), then alpha, 1 where a class other than 0
            stands.
        occupied: The cells of the body, bool (D, H, W): True where alpha > 0.1 (classes: and not class 0).
        kind: The kind of its visible channels, "rgb" or "classes".
        names: The K class names, the first of them "empty"; () for "rgb".
        palette: The colour of each class, float (K, 3) in 0..1; None for "rgb".
        name: The target's name in reports.
        source_size: The size (d, h, w) of its source where each cell of that became one here; None = it was computed or
            resampled.
        notes: What was decided while it was read, one line each: the lattice where none was asked for, the ground of an image.
        first: The cell (z, y, x) that `start` is, where another body has a say in it; None = it follows from the body alone.
    """

    values: "torch.Tensor"
    occupied: "torch.Tensor"
    kind: Literal["rgb", "classes"]
    names: tuple[str, ...] = ()
    palette: np.ndarray | None = None
    name: str = "target"
    source_size: Size | None = None
    notes: tuple[str, ...] = ()
    first: Size | None = None

    @property
    def size(self) -> Size:
        """The lattice (D, H, W)."""
        depth, height, width = self.occupied.shape
        return depth, height, width

    @property
    def visible(self) -> int:
        """The number of visible channels: 3 for "rgb", K for "classes"."""
        return self.values.shape[0] - 1

    @cached_property
    def pieces(self) -> Pieces:
        """The pieces of the body, and the steps of growth from cell to cell."""
        return Pieces(self.occupied.cpu().numpy())

    @cached_property
    def start(self) -> Size:
        """The cell (z, y, x) of the body where a new run puts its first cell: few steps from all others, see `Pieces.start`."""
        return self.first or self.pieces.start()

    @cached_property
    def cells(self) -> int:
        """The number of the body's cells."""
        return int(self.occupied.sum())

    def to(self, device: "torch.device") -> Self:
        """Returns the target with its tensors on a device; itself where they are there."""
        if self.values.device == device and self.occupied.device == device:
            return self
        moved = replace(self, values=self.values.to(device), occupied=self.occupied.to(device))
        # Counted where it can be counted without waiting for a device.
        vars(moved)["cells"] = self.cells
        return moved

    def for_rule(self, kind: str, visible: int, where: object) -> Self:
        """Returns the target itself, once it is sure that a rule can show it.

        Args:
            kind: The rule's `visible_kind`.
            visible: The number of the rule's visible channels.
            where: The name that an error gives the caller.

        Raises:
            InputError: If the rule's visible channels are of another kind or number.
        """
        if (self.kind, self.visible) != (kind, visible):
            found = f"{self.kind} with {self.visible} visible channels"
            raise InputError(where, "target", found, f"{kind} with {visible}, which this rule shows")
        return self

    def rgba(self) -> np.ndarray:
        """Returns the picture of the target, RGBA with straight (not premultiplied) colours, float32 (D, H, W, 4), 0..1."""
        values = self.values.numpy()
        alpha = values[-1]
        if self.palette is not None:
            colour = np.asarray(self.palette, np.float32)[values[:-1].argmax(0)]
        else:
            colour = np.moveaxis(values[:3], 0, -1) / np.maximum(alpha, 1e-6)[..., None]
        # Premultiplied colours of an empty cell are rounding: straight ones would be noise in any colour.
        colour = np.where(alpha[..., None] > 0, colour, 0)
        return np.concatenate([np.clip(colour, 0, 1), alpha[..., None]], -1).astype(np.float32)

    def __repr__(self) -> str:
        shape = f"size={self.size}, kind={self.kind!r}, visible={self.visible}, cells={self.cells}"
        return f"Target({self.name!r}, {shape})"
