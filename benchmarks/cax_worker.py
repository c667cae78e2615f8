"""The peer CAX (JAX), in a process and, if need be, a Python of its own: this file imports nothing of nca3d and no torch.

    nca3d bench --cax PYTHON

`nca3d/bench/peers.py` says what a worker is given and asked. Peak memory is as XLA planned it and as the system gave it.
Written as CAX's own notebook on growing neural cellular automata is, with a third axis (Faldor and Cully 2024, CAX).
"""

import ctypes
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def main(inputs: str, steps: int, fire_rate: float, threads: int, device: str) -> None:
    """Answers until stdin ends."""
    if hasattr(os, "sched_setaffinity"):  # the only limit that all of XLA's threads respect; before jax is imported
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["JAX_PLATFORMS"] = device
    import jax

    calls = _calls(inputs, steps, fire_rate)
    for line in sys.stdin:
        asked = line.strip()
        if asked == "warm-up":
            jax.block_until_ready(calls["training"]())
            answer: Any = float(calls["living"](calls["forward"]()))
        elif asked == "loss":
            answer = float(calls["training"]()[0])
        elif asked == "memory":
            answer = [calls["planned"](), _resident(lambda: jax.block_until_ready(calls["training"]()))]
        else:
            start = time.perf_counter()
            jax.block_until_ready(calls[asked]())
            answer = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


def _resident(run: Callable[[], object]) -> int | None:
    """How far the resident memory rises in a run; None where the kernel does not say."""
    time.sleep(0.5)  # XLA's own threads free what they used a moment after the answer is there
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field + ":")]
    return int(line.split()[1]) * 1024


def ordered(arrays: dict[str, Any], fire_rate: float) -> tuple[Any, Any, list[Any], list[Any]]:
    """State, kernels, weights (in, out) and biases of the layers as CAX orders them: channels last, alpha the last of them."""
    channels = arrays["state"].shape[1]
    order = [0, 1, 2, *range(4, channels), 3]
    weights = [array[:, :, 0, 0, 0] for name, array in arrays.items() if name.startswith("update") and name.endswith("weight")]
    biases = [array for name, array in arrays.items() if name.endswith("bias")]
    weights[0] = weights[0].reshape(-1, channels, 4)[:, order].reshape(len(weights[0]), -1)
    # nnx.Dropout scales up what it keeps, so a change that fires is larger there by 1 / fire rate.
    weights[-1] = weights[-1][order] * fire_rate
    kernel = arrays["perceive.weight"].transpose(2, 3, 4, 1, 0)  # the same for all channels, so any order will do
    state = np.moveaxis(arrays["state"], 1, -1)[..., order]
    return state, kernel, [weight.T for weight in weights], [*biases, np.zeros(channels, np.float32)]


def _calls(inputs: str, steps: int, fire_rate: float) -> dict[str, Any]:
    """What can be asked, by name."""
    import jax.numpy as jnp
    from cax.core import ComplexSystem
    from cax.core.perceive import ConvPerceive
    from cax.core.update import NCAUpdate
    from flax import nnx

    state, kernel, weights, biases = ordered(dict(np.load(inputs)), fire_rate)
    channels, rngs = state.shape[-1], nnx.Rngs(0)

    class Growing(ComplexSystem):
        def __init__(self) -> None:
            self.perceive = ConvPerceive(
                channel_size=channels,
                perception_size=4 * channels,
                kernel_size=(3, 3, 3),
                feature_group_count=channels,
                rngs=rngs,
            )
            self.update = NCAUpdate(
                channel_size=channels,
                perception_size=4 * channels,
                hidden_layer_sizes=tuple(weight.shape[1] for weight in weights[:-1]),
                cell_dropout_rate=1 - fire_rate,
                kernel_size=(3, 3, 3),
                rngs=rngs,
            )
            self.perceive.conv.kernel = nnx.Param(jnp.asarray(kernel))
            for layer, weight, bias in zip(self.update.layers, weights, biases, strict=True):
                layer.kernel, layer.bias = nnx.Param(jnp.asarray(weight)[None, None, None]), nnx.Param(jnp.asarray(bias))

        def _step(self, state: Any, input: Any = None) -> Any:
            return self.update(state, self.perceive(state), input)

    system, state = Growing(), jnp.asarray(state)
    trained = nnx.All(nnx.Param, nnx.PathContains("update"))

    def loss(system: Growing, state: Any) -> Any:
        last = system(state, num_steps=steps)
        return jnp.square(last[..., :3]).sum() + jnp.square(last[..., -1]).sum()

    @nnx.jit
    def training(system: Growing, state: Any) -> Any:
        return nnx.value_and_grad(loss, argnums=nnx.DiffState(0, trained))(system, state)

    def planned() -> int:
        sizes = training.lower(system, state).compile().memory_analysis()
        return int(sizes.temp_size_in_bytes + sizes.output_size_in_bytes)

    return {
        "forward": lambda: system(state, num_steps=steps),
        "training": lambda: training(system, state),
        "living": lambda last: system.update.get_alive_mask(last).mean(),
        "planned": planned,
    }


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    else:
        importlib.import_module("cax.core")
