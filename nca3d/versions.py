"""Versions of the software that runs here, and its processor, for reports, runs and checkpoints. Nothing heavy is imported."""

import platform
import re
from pathlib import Path

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


def processor() -> str:
    """Returns the processor's name, as its maker writes it."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0].strip() if names else platform.processor() or platform.machine()
