"""Versions of the software that runs here, for reports, runs and checkpoints. Nothing heavy is imported before the call."""

import platform

import nca3d


def versions() -> dict[str, str]:
    """Returns the versions of nca3d, Python, torch and numpy, and the machine."""
    import numpy
    import torch

    return {
        "nca3d": nca3d.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
