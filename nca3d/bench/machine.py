"""What a measurement was made on: the lines above a table, without which its numbers mean nothing."""

import datetime
import os
import platform
import re
from typing import Any

import torch

from nca3d.versions import processor, versions


def describe(device: torch.device) -> dict[str, Any]:
    """Names of device and processor, versions, threads, load, date."""
    found = versions()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "kind": device.type,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        **{name: found[name] for name in ("python", "torch", "nca3d")},
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
    }


def header(machine: dict[str, Any]) -> str:
    """One line to print: a busy machine says so."""
    busy = machine["load"] is not None and machine["load"] > 0.5
    load = f", load {machine['load']:g} before the start: times of a busy machine compare badly" if busy else ""
    return (
        f"{machine['device']}, {threads(machine)} of {machine['cores']} cores, torch {machine['torch']}, "
        f"Python {machine['python']}, nca3d {machine['nca3d']}, {machine['date']}{load}"
    )


def threads(machine: dict[str, Any]) -> str:
    """`1 thread` or `2 threads`."""
    return f"{machine['threads']} thread{'s' * (machine['threads'] > 1)}"


def file_stem(machine: dict[str, Any]) -> str:
    """`2026-11-25-amd-epyc-1-thread`: date, device and threads, fit for a file name."""
    words = f"{machine['date'][:10]} {machine['device']} {threads(machine)}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
