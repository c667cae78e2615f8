"""Peers: other people's automata, each in a process and a Python of its own, run by `benchmarks/NAME_worker.py`.

    PYTHON NAME_worker.py INPUTS.npz STEPS FIRE_RATE THREADS DEVICE

INPUTS.npz has `state` (B, C, D, H, W) and the parameters of `Textbook` by name: what a peer must compute. It answers each line
on stdin with a line of JSON: `warm-up` → share of living cells at the end, after both kinds of run; `forward`, `training` →
seconds; `loss` → the loss; `memory` → peak bytes of a training iteration, [allocated, resident], null where it can't tell.
Started without arguments it imports what it needs and ends. Workers are files of the repository: no wheel carries them.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from nca3d.bench.inputs import make_rule, make_state
from nca3d.bench.settings import Setting
from nca3d.bench.textbook import Textbook
from nca3d.errors import InputError

FOLDER = Path(__file__).parents[2] / "benchmarks"


def find_peer(name: str, python: str | None) -> dict[str, list[str]]:
    """The command that starts a peer, under its name; empty where this Python has no such peer and no other was asked for.

    Args:
        name: of the peer, of its flag and of its worker.
        python: what the flag says; None = this one, if it has the peer.

    Raises:
        InputError: the one given has not, or there is no worker to run.
    """
    worker = FOLDER / f"{name}_worker.py"
    command = [python or sys.executable, str(worker)]
    try:
        os.stat(worker)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        trouble = (done.stderr.strip().splitlines() or ["an error"])[-1] if done.returncode else None
    except OSError as error:
        trouble = error.strerror
    if trouble and python is not None:
        clone = f"the flag where nca3d comes from a clone (pip install -e .): a wheel has no benchmarks/{worker.name}"
        allowed = f"a Python in which benchmarks/{worker.name} runs" if worker.is_file() else clone
        raise InputError("nca3d bench", f"--{name}", f"{python}: {worker.name}: {trouble}", allowed)
    return {} if trouble else {name: command}


class Peer:
    """A peer at one setting; it computes the same as the textbook.

    Args:
        command: of `find_peer`.
        setting: what.
        device: where.
    """

    #: Share of the cells that were alive at the end of the warm-up.
    living = float("nan")

    def __init__(self, command: Sequence[str], setting: Setting, device: torch.device) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nca3d-bench-")
        self._errors = Path(self._folder.name) / "errors"
        inputs = Path(self._folder.name) / "inputs.npz"
        rule = make_rule(setting)
        weights = {name: value.numpy() for name, value in Textbook(rule).state_dict().items()}
        np.savez(inputs, state=make_state(setting, rule).numpy(), **weights)
        words = [inputs, setting.steps, setting.fire_rate, torch.get_num_threads(), device.type]
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*command, *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # Blocks of a megabyte go back to the system when they are freed: the C library would keep those of a peer's
                # threads, and the peak of the next run would not show.
                env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)},
            )

    def warm_up(self) -> None:
        """Compiles both kinds of run and runs each once."""
        self.living = cast(float, self.ask("warm-up"))

    def time(self, training: bool, random_seed: int) -> float:
        """Seconds of one rollout, with its backward pass if `training`; measured over there, where masks are drawn afresh."""
        return cast(float, self.ask("training" if training else "forward"))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()
        self._folder.cleanup()

    def ask(self, question: str) -> object:
        """Returns the worker's answer: whatever its line of JSON holds.

        Raises:
            RuntimeError: the worker ended; the line has its last words.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer:
            last = (self._errors.read_text().strip().splitlines() or ["no last words; out of memory perhaps"])[-1]
            raise RuntimeError(f"the peer ended: {last}")
        return json.loads(answer)
