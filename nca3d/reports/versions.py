"""What figures, runs and rules were made with."""

from __future__ import annotations

import platform

import nca3d


def versions() -> dict[str, str]:
    """The versions of nca3d, Python, torch and numpy, and the machine; torch is imported when this is called."""
    import numpy
    import torch

    return {
        "nca3d": nca3d.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
