"""NumPy archives (.npz): everything that `save` was given, compressed, readable without pickle."""

from pathlib import Path
from typing import Any

import numpy as np

from visualize.files import atomic_file
from visualize.formats.content import Content
from visualize.frames import as_picture


def write_npz(content: Content, path: Path) -> None:
    """Writes `frames`, `steps` and `cell_size`; `labels`, `names` and `palette` if there are any.

    Frames keep the rank and the kind they came with, (T,D,H,W,4) or (D,H,W,4), uint8 or float32. Our own
    targets read one frame back: key="frames", or key="labels".
    """
    frames = as_picture(content.frames) if content.as_bytes else content.frames
    arrays: dict[str, Any] = {
        "frames": frames[0] if content.single else frames,
        "steps": content.steps,
        "cell_size": np.float64(content.cell_size),
    }
    if content.labels is not None:
        arrays["labels"] = content.labels[0] if content.single else content.labels
    if content.names:
        arrays["names"] = np.array(content.names)  # fixed-width text: an array of objects would need pickle
    if content.palette is not None:
        arrays["palette"] = content.palette
    with atomic_file(path) as beside, beside.open("wb") as file:  # given a name, numpy would add a suffix of its own
        np.savez_compressed(file, allow_pickle=False, **arrays)
