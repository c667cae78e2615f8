"""The body to grow, in the channels that a rule shows: values, occupied cells, names and colours."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from nca3d.errors import InputError

if TYPE_CHECKING:
    import torch

Size = tuple[int, int, int]

# A cell counts as occupied when its alpha is above this, in a target and in a grown body alike.
OCCUPIED_ALPHA = 0.1


@dataclass(frozen=True, eq=False)
class Target:
    """What a rule should grow: made by `nca3d.targets.load` from a name or a file, by `from_array` from an array.

    Attributes:
        values: float32 (visible + 1, D, H, W). "rgb": premultiplied red, green, blue (0..1), then alpha (0..1).
            "classes": one-hot over K classes (class 0 is empty), then alpha, 1 where a class other than 0 stands.
        occupied: bool (D, H, W), True where alpha > 0.1 (classes: and not class 0).
        kind: "rgb" or "classes".
        names: the K class names, the first of them "empty"; () for "rgb".
        palette: float (K, 3) in 0..1, the colour of each class; None for "rgb".
        name: what the target is called in reports.
    """

    values: "torch.Tensor"
    occupied: "torch.Tensor"
    kind: Literal["rgb", "classes"]
    names: tuple[str, ...] = ()
    palette: np.ndarray | None = None
    name: str = "target"

    @property
    def size(self) -> Size:
        """The lattice (D, H, W)."""
        depth, height, width = self.occupied.shape
        return depth, height, width

    @property
    def visible(self) -> int:
        """The number of visible channels: 3 for "rgb", K for "classes"."""
        return self.values.shape[0] - 1

    @property
    def start(self) -> Size:
        """The occupied cell (z, y, x) nearest the centre cell n // 2: where growth can begin inside the body."""
        cells = np.argwhere(self.occupied.numpy())
        centre = np.array([n // 2 for n in self.size])
        z, y, x = cells[((cells - centre) ** 2).sum(1).argmin()].tolist()
        return z, y, x

    def for_rule(self, kind: str, visible: int, where: object) -> Self:
        """The target, for a rule that shows what it has.

        Args:
            kind: the rule's `visible_kind`.
            visible: the number of its visible channels.
            where: for the error.

        Raises:
            InputError: the rule shows something else.
        """
        if (self.kind, self.visible) != (kind, visible):
            found = f"{self.kind} with {self.visible} visible channels"
            raise InputError(where, "target", found, f"{kind} with {visible}, which this rule shows")
        return self

    def rgba(self) -> np.ndarray:
        """The picture of the target: float32 (D, H, W, 4), straight (not premultiplied) colours, 0..1."""
        values = self.values.numpy()
        alpha = values[-1]
        if self.palette is not None:
            colour = np.asarray(self.palette, np.float32)[values[:-1].argmax(0)]
        else:
            colour = np.moveaxis(values[:3], 0, -1) / np.maximum(alpha, 1e-6)[..., None]
        colour = np.where(alpha[..., None] > 0, colour, 0)
        return np.concatenate([np.clip(colour, 0, 1), alpha[..., None]], -1).astype(np.float32)

    def __repr__(self) -> str:
        cells = int(self.occupied.sum())
        return f"Target({self.name!r}, size={self.size}, kind={self.kind!r}, visible={self.visible}, cells={cells})"
