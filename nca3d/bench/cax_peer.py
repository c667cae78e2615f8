"""The peer CAX, run by `cax_worker.py` in a process of its own: found, started, asked for its times."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nca3d.bench import cax_worker
from nca3d.bench.inputs import make_rule, make_state
from nca3d.bench.settings import Setting
from nca3d.errors import InputError
from nca3d.rules import ConvRule


def find_cax(python: str | None = None) -> str | None:
    """A Python that has CAX: the one given, or this one; None where there is none.

    Raises:
        InputError: the one given has not.
    """
    if python is None:
        here = all(importlib.util.find_spec(name) for name in ("cax", "jax", "flax"))
        return sys.executable if here else None
    try:
        done = subprocess.run([python, "-c", "import cax.core, flax.nnx"], capture_output=True, text=True, check=False)
        trouble = (done.stderr.strip().splitlines() or ["an error"])[-1] if done.returncode else None
    except OSError as error:
        trouble = error.strerror
    if trouble:
        raise InputError("nca3d bench", "--cax", f"{python}: {trouble}", "a Python in which `import cax, flax` works")
    return python


class CaxRunner:
    """CAX at one setting; it computes the same as the textbook.

    Args:
        setting: what.
        python: a Python that has CAX.
        device: its kind decides what JAX may use.
    """

    living = float("nan")

    def __init__(self, setting: Setting, python: str, device: torch.device) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nca3d-bench-")
        self._errors = Path(self._folder.name) / "errors"
        inputs = Path(self._folder.name) / "inputs.npz"
        rule = make_rule(setting)
        np.savez(inputs, **cax_inputs(rule, make_state(setting, rule)))
        words = [str(inputs), str(setting.steps), str(setting.fire_rate), str(torch.get_num_threads())]
        # Blocks of a megabyte go back to the system when they are freed: the C library would keep those of XLA's threads, and
        # the peak of the next run would not show.
        environment = {"JAX_PLATFORMS": device.type, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [python, str(cax_worker.__file__), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )

    def warm_up(self) -> None:
        """Compiles both kinds of run and runs each once."""
        self.living = self._ask("warm-up")

    def loss(self) -> float:
        """The loss after one rollout."""
        return float(self._ask("loss"))

    def time(self, training: bool, random_seed: int) -> float:
        """Seconds of one rollout, with its backward pass if `training`; measured over there. JAX draws fresh masks itself."""
        return float(self._ask("training" if training else "forward"))

    def memory(self) -> tuple[int, int | None]:
        """Peak bytes of a training iteration: as XLA planned it, and as the operating system gave it."""
        planned, resident = self._ask("memory")
        return planned, resident

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()
        self._folder.cleanup()

    def _ask(self, question: str) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer:
            last = (self._errors.read_text().strip().splitlines() or ["no last words; out of memory perhaps"])[-1]
            raise RuntimeError(f"CAX ended: {last}")
        return json.loads(answer)


def cax_inputs(rule: ConvRule, state: Tensor) -> dict[str, Any]:
    """State and weights as CAX orders them: channels last, alpha the last of them, kernels channel by channel."""
    channels, rest = rule.channels, range(rule.alpha + 1, rule.channels)
    order = torch.tensor([*range(rule.alpha), *rest, rule.alpha])
    identity = torch.zeros(3, 3, 3)
    identity[1, 1, 1] = 1
    kernels = torch.stack([identity if kernel is None else kernel[0].cpu() for kernel in rule.kernels()], dim=-1)
    arrays: dict[str, Any] = {
        "state": state.movedim(1, -1)[..., order],
        "kernel": kernels.repeat(1, 1, 1, channels)[..., None, :],
    }
    layers = [layer for layer in rule.network if isinstance(layer, nn.Linear)]
    for place, layer in enumerate(layers):
        weight = layer.weight.detach()
        if place == 0:
            weight = weight.view(-1, 4, channels)[:, :, order].transpose(1, 2).reshape(len(weight), -1)
        if place == len(layers) - 1:
            # nnx.Dropout scales up what it keeps, so a change that fires is larger there by 1 / fire rate.
            weight = weight[order] * rule.fire_rate
        bias = layer.bias.detach() if layer.bias is not None else torch.zeros(len(weight))
        arrays |= {f"weight_{place}": weight.t(), f"bias_{place}": bias}
    return {**{name: array.contiguous().numpy() for name, array in arrays.items()}, "layers": len(layers)}
