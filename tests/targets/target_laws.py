"""What holds of every target, and of every refusal."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nca3d import targets
from nca3d.errors import InputError

# Bytes that a refusal may have asked Python and NumPy for on its way: a packed volume's claim of 250 MB is believed.
MOST = 1 << 28


def check_laws(target: targets.Target, size: tuple[int, int, int], margin: int) -> np.ndarray:
    """What holds of every target; returns the indices of its occupied cells."""
    values, occupied = target.values.numpy(), target.occupied.numpy()
    assert target.size == size and values.shape == (target.visible + 1, *size) and values.dtype == np.float32
    assert np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1
    assert occupied.any() and occupied.dtype == bool
    np.testing.assert_array_equal(occupied, values[-1] > 0.1)
    if target.kind == "rgb":
        assert (values[:3] <= values[3] + 1e-6).all()
        assert target.names == () and target.palette is None
    else:
        np.testing.assert_array_equal(values[:-1].sum(0), 1)
        np.testing.assert_array_equal(occupied, values[:-1].argmax(0) > 0)
        assert target.names[0] == "empty" and len(target.names) == target.visible == len(target.palette)
    rgba = target.rgba()
    assert rgba.shape == (*size, 4) and rgba.min() >= 0 and rgba.max() <= 1
    np.testing.assert_array_equal(rgba[..., 3] > 0.1, occupied)
    if target.kind == "rgb":
        np.testing.assert_allclose(np.moveaxis(rgba[..., :3] * rgba[..., 3:], -1, 0), values[:3], atol=1e-5)
    cells = np.argwhere(occupied)
    assert cells.min(0).min() >= margin and (cells.max(0) < np.array(size) - margin).all()
    return cells


def one_line(call: Callable[[], Any], *words: str) -> None:
    """The call is refused by one line that has all the words in it, before much memory is asked for."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            call()
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    line = str(caught.value)
    assert "\n" not in line and "found" in line and "allowed" in line
    for word in words:
        assert word in line, line
