"""What runs here: said in every report, run, rule and checkpoint. Imports nothing heavy until it is asked."""

import platform

import nca3d


def versions() -> dict[str, str]:
    """What figures, runs and rules are made with: nca3d, Python, torch, numpy and the machine."""
    import numpy
    import torch

    return {
        "nca3d": nca3d.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
