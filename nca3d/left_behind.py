"""What a killed process leaves: NAME.tmp-PID, half written, or NAME.old-PID, moved aside for what never came."""

from __future__ import annotations

import os


def is_running(pid: int) -> bool:
    """Whether another process of this number lives: it may be writing."""
    if pid == os.getpid() or not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
