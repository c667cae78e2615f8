"""What the kernel says of this process: its memory, its open handles, its threads. Linux; elsewhere it says nothing."""

from pathlib import Path


def status_bytes(field: str) -> int:
    """Returns what /proc/self/status says of this process's memory, in bytes.

    Args:
        field: Such as VmRSS (resident now) or VmHWM (the most that was resident at once).

    Raises:
        OSError, ValueError: The kernel does not say.
    """
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field + ":")]
    return int(line.split()[1]) * 1024
