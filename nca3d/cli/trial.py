"""One run of a sweep, in a process of its own: trains or goes on, then measures. `nca3d sweep` starts it.

    python -m nca3d.cli.trial PARENT FOLDER CONFIG PRESET [FLAG ...]

It ends when the sweep does, however that ends: nobody would wait for it.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from nca3d.cli.command import main as nca3d
from nca3d.errors import InputError, RunError

# prctl(2): the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1


def main(words: Sequence[str]) -> int:
    """Trains and measures; returns the exit code of `nca3d train`, or 1 if the rule can't be measured."""
    parent, folder, config, preset, *flags = words
    # Whoever started the sweep by nohup had it ignored: here it is what tells a run to save and end.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    die_with(int(parent))
    begun = any((Path(folder) / "checkpoints").glob("step-*[0-9]"))
    code = nca3d(["train", *(["--resume", folder] if begun else [config, "--out", folder]), *flags])
    if code or preset == "none" or (Path(folder) / "report.json").is_file():
        return code
    try:
        measure(Path(folder), preset, flags)
    except (InputError, RunError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def measure(folder: Path, preset: str, flags: Sequence[str]) -> None:
    """Evaluates the trained rule, and writes the figures where `nca3d evaluate` would: no pictures, no page.

    Args:
        folder: the run folder.
        preset: the preset of the evaluation.
        flags: those of the run; `--plugins FILE …` is looked at.
    """
    from nca3d.config import Config
    from nca3d.experiment import evaluate
    from nca3d.files import vacate

    config = Config.load(folder / "config.toml")
    plugins = list(flags[flags.index("--plugins") + 1 :]) if "--plugins" in flags else None
    # The random seed of the run: seeds differ in what they are measured by as well as in what they have learnt.
    report = evaluate(folder, preset=preset, random_seed=config.random_seed, executor=config.executor, plugins=plugins)
    report.about = {"name": str(folder), "preset": preset, **report.about}
    report.to_json(vacate(folder / f"evaluate-{preset}" / "report.json"))


def die_with(parent: int) -> None:
    """Has this process told to save and end when its parent ends, even by kill -9."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGHUP) == 0:
            # It may have died before it could be asked for.
            if os.getppid() != parent:
                sys.exit(128 + signal.SIGHUP)
            return
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """Looks whether the parent is alive, where the system has no signal for its death."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGHUP)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
