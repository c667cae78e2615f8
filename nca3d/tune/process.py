"""The process of one point, at both ends: it is started, it measures, and it may end in any way without taking others along."""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from nca3d.config import Config
from nca3d.errors import InputError, InputErrors, RunError
from nca3d.executors.child import Ended, python_with_nca3d, run_limited, signal_name
from nca3d.process.room import ran_out
from nca3d.tune.point import Point

MODULE = "nca3d.tune.process"
OUT_OF_MEMORY = "out of memory"
# Seconds that loading may take, and how many times longer than asked the iterations, before a point is given up.
LOADING, LONGER = 300.0, 5.0


def measure_point(config: Config, seconds: float) -> Point:
    """Returns a point, measured in a process of its own; one that can't be measured says why in `trouble`.

    Args:
        config: The experiment at this point; nothing is written for it.
        seconds: How long its iterations may take.

    Raises:
        InputErrors: The config can't be trained.
        RunError: The process failed for another reason than memory.
    """
    job = json.dumps({"config": config.plain(), "plugins_from": config.plugins_from, "seconds": seconds})
    result, writer = os.pipe()
    # Nothing is ever written to the second pipe: its end tells the process that this one is gone.
    alive, holder = os.pipe()
    try:
        python, environment = python_with_nca3d()
        command = [*python, "-m", MODULE, job, str(writer), str(alive)]
        environment |= {"KINETO_LOG_LEVEL": "5"}
        ended = run_limited(command, LOADING + LONGER * seconds, environment, (writer, alive))
        os.close(writer)
        writer = -1
        with open(result, "rb", closefd=False) as said:
            found = _read(said.read(), ended)
    finally:
        for descriptor in (result, writer, alive, holder):
            if descriptor >= 0:
                os.close(descriptor)
    if "refused" in found:
        raise InputErrors([InputError(*line) for line in found["refused"]])
    if "failed" in found:
        raise RunError(f"batch {config.batch}: {found['failed']}")
    return Point(config.batch, config.memory, config.pool_size, **found)


def _read(said: bytes, ended: Ended) -> dict[str, Any]:
    """Returns what a process has found, or how it ended without saying anything."""
    if said:
        found: dict[str, Any] = json.loads(said)
        return found
    if ended.code is None:
        return {"trouble": "it did not end"}
    # What the system does to a process that takes the last memory.
    if ended.code == -9:
        return {"trouble": OUT_OF_MEMORY}
    last = (ended.text.strip().splitlines() or [""])[-1]
    how = f"exit code {ended.code}" if ended.code >= 0 else signal_name(ended.code)
    return {"failed": f"its process ended with {how}: {last}" if last else f"its process ended with {how}"}


# In the process itself ------------------------------------------------------------------------------------------------


def main(text: str, writer: int, alive: int) -> None:
    """Measures what a job says, and writes what was found, as JSON.

    Args:
        text: The job, as `measure_point` writes it.
        writer: The descriptor to write to.
        alive: A descriptor that ends when the parent does.
    """
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    # Should memory run out, it is this process that the system ends, and none that somebody misses.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    job = json.loads(text)
    with open(writer, "w", encoding="utf-8") as out:
        json.dump(_found(job), out)


def _found(job: dict[str, Any]) -> dict[str, Any]:
    """Returns the measured fields of a point, or `trouble`, `refused` or `failed`."""
    try:
        from nca3d.tune.iterations import measure

        raw, source = job["config"], job["plugins_from"]
        # Who named the plug-ins decides whether they must have been confirmed.
        named = {} if source is not None else {"plugins": raw.pop("plugins")}
        config = Config.from_dict(raw, source or "config", over=named)
        return measure(config, job["seconds"])
    except InputError as error:
        return {"refused": [[str(e.where), e.field, str(e.found), e.allowed] for e in error.errors]}
    except Exception as error:  # whatever it is, the parent tells of it in one line
        if ran_out(error):
            return {"trouble": OUT_OF_MEMORY}
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"}


def _end_with(alive: int) -> None:
    os.read(alive, 1)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
