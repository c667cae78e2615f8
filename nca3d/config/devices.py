"""What to know of devices before torch is loaded: those that a config may not name, and what the processor can."""

from pathlib import Path


def device_hint(value: object) -> str:
    """Returns what is missing on a device that can't be computed on, or how to choose one of several; "" for anything else."""
    name, _, number = str(value).lower().partition(":")
    if name == "mps":
        return "; Apple's mps has no float64, in which damage and measures are computed"
    if name == "cuda" and number:
        return f"; CUDA_VISIBLE_DEVICES={number} before the command chooses one of several"
    return ""


def multiplies_bf16() -> bool:
    """Returns whether this machine's processor multiplies bfloat16 numbers; False where it can't be known."""
    flags = Path("/proc/cpuinfo")
    words = set(flags.read_text().split()) if flags.exists() else set()
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
