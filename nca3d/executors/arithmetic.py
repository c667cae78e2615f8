"""In which arithmetic a GPU computes float32: in float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Runs the block without TF32, which torch lets convolutions use on a GPU: 10 bits of mantissa are no float32 (law 5).

    Args:
        device: Where the block computes; on a CPU nothing changes.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
