"""Say what works on this machine, or inject a fault into a throw-away run."""

import argparse
import importlib.util
import os
import platform
import shutil
import warnings
from pathlib import Path

from nca3d.config.devices import multiplies_bf16
from nca3d.errors import InputError, nearest

# The extras of setup.cfg, and the modules by which one sees that they are installed.
EXTRAS = {
    "viz": ("pyvista", "trimesh", "imageio_ffmpeg"),
    "gpu": ("bitsandbytes",),
    "tensorboard": ("tensorboard",),
    "graph": ("torch_geometric",),
    "notebooks": ("anywidget", "ipykernel", "nbclient"),
    "zarr": ("zarr",),
    "teacher": ("transformers", "tokenizers", "sklearn"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "serve": ("fastapi", "uvicorn"),
    "sweep": ("optuna",),
}

# The faults that `nca3d.cli.faults` injects: by name here, since that module imports torch.
FAULTS = ("flip-bit", "truncate", "kill-in-save", "full-disk")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d doctor`."""
    parser.add_argument("--inject", metavar="CASE", help=", ".join(FAULTS))


def run(args: argparse.Namespace) -> int:
    """Injects a fault, or prints what this machine offers, and returns the exit code.

    Raises:
        InputError: There is no such fault.
    """
    if args.inject:
        if args.inject not in FAULTS:
            raise InputError(
                "nca3d doctor", "--inject", repr(args.inject), f"{', '.join(FAULTS)}{nearest(args.inject, FAULTS)}"
            )
        from nca3d.cli.faults import inject

        return inject(args.inject)
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    rows = {
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": f"{torch.__version__}, CUDA: {cuda}",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "bf16": "native" if _bf16() else 'emulated: precision = "bf16" saves no time here',
        "living cells": _compiled(),
        "OpenGL": _opengl(),
        "free disk": f"{shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB in {Path.cwd()}",
    }
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        rows[f"extra {extra}"] = f"without {', '.join(missing)}: pip install 'nca3d[{extra}]'" if missing else "installed"
    for name, value in rows.items():
        print(f"{name:<18} {value}")
    return 0  # whatever is missing: all of it is optional


def _bf16() -> bool:
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return multiplies_bf16()


def _compiled() -> str:
    import torch

    from nca3d.executors import library, native_code

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Loaded, not only built: what can't be loaded is not in use.
        found = library.load(native_code.CODE, native_code.SIGNATURES, native_code.MIRRORS, torch.float32)
    if found:
        return f"compiled steps in {found.place}"
    return "; ".join(str(warning.message) for warning in caught) or "run through torch (NCA3D_NATIVE=0)"


def _opengl() -> str:
    from visualize.render import opengl_trouble

    trouble = opengl_trouble()
    return f"{trouble}; pictures are ray-marched" if trouble else "works"
