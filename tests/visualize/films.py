"""How tests make films fast, and read them back."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FAST = {"size": 96, "renderer": "raymarch"}


def read(path: Path) -> np.ndarray:
    """All frames (T,h,w,3) of a film."""
    if path.suffix == ".mp4":
        imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
        stream = imageio_ffmpeg.read_frames(str(path))
        width, height = next(stream)["size"]
        return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in stream])
    with Image.open(path) as film:
        frames = []
        for index in range(film.n_frames):
            film.seek(index)
            frames.append(np.asarray(film.convert("RGB")))
    return np.stack(frames)
