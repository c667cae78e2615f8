"""What a setting will cost on this machine, before it is run: `nca3d bench --plan D H W --steps N --batch B`.

The prediction is made of short real rollouts of the same rule, steps and share of living cells in smaller volumes (fewer
samples, then a smaller lattice). Time and memory are a constant and a part that grows with the volume,

    time   = steps · (a + b · living cells)        memory = c + d · living cells · steps kept

and since the share of living cells is the same, and so is the share of those that fire, cells beside the body, arithmetic,
bookkeeping and copies of the volume all grow alike: two volumes tell the constant from the rest. What a rollout may keep before
it recomputes (its memory budget) is made smaller in the same proportion, so that probes recompute if the setting will.
"""

import math
from dataclasses import dataclass, replace

import torch

from nca3d.bench.contenders import Contender, TorchRunner
from nca3d.bench.inputs import make_rule, make_state
from nca3d.bench.measure import free_bytes
from nca3d.bench.memory import peak_memory
from nca3d.bench.progress import Progress
from nca3d.bench.results import megabytes
from nca3d.bench.settings import Setting
from nca3d.executors import BUDGET, choose

# How long one rollout of the largest probe may take.
PROBE_SECONDS = 1.5

# Living cells of the smallest probe, if the setting has so many: fewer would not be dealt out to threads.
PILOT_CELLS = 5000

REPEATS = 3

# Cells of a probe's side, where the setting has so many.
LEAST_SIDE = 5


@dataclass(frozen=True)
class Plan:
    """What one training iteration of a setting is predicted to take.

    Args:
        setting: what was asked.
        executor: what "auto" will choose.
        seconds: forward and backward.
        allocated, resident: peak bytes above the inputs; resident is None where it can't be measured.
        inputs: bytes of the state.
        free: bytes of memory that are free now.
        probes: the settings that were run for it.
    """

    setting: Setting
    executor: str
    seconds: float
    allocated: int
    resident: int | None
    inputs: int
    free: int
    probes: tuple[Setting, ...]

    @property
    def fits(self) -> bool:
        """Whether inputs and peak fit into the memory that is free."""
        return self.inputs + (self.resident or self.allocated) <= self.free

    def words(self) -> str:
        """For a person."""
        s = self.setting
        resident = f", {megabytes(self.resident)} MB resident" if self.resident is not None else ""
        sizes = ", ".join(f"{'×'.join(map(str, probe.size))} × {probe.batch}" for probe in self.probes)
        time = f"{self.seconds:.3g}" if self.seconds < 999.5 else f"{self.seconds:,.0f}"
        verdict = "fits into" if self.fits else "does NOT fit into"
        return "\n".join(
            [
                f"{s.words()}, {s.channels} channels, hidden {', '.join(map(str, s.hidden))}; executor {self.executor}",
                f"time    {time} s a training iteration, {s.updates / self.seconds / 1e6:.3g} M cell updates/s",
                f"memory  {megabytes(self.allocated)} MB allocated{resident} above the state's {megabytes(self.inputs)} MB: "
                f"{verdict} the {megabytes(self.free)} MB that are free",
                f"predicted from rollouts of {sizes}; a busy machine or a body that grows costs more",
            ]
        )


def plan(setting: Setting, device: torch.device, progress: bool = True) -> Plan:
    """Predicts time and memory of one training iteration with the executor that "auto" will choose.

    Args:
        setting: what is planned; `living` is taken to stay as it is.
        device: where it will run.
        progress: show a bar.
    """
    bar = Progress(progress)
    try:
        bar.expect("plan: probes", 3 * REPEATS * PROBE_SECONDS)
        with bar.doing("plan: probes"):
            pilot, probe, times = _probes(setting, device)
        jobs = [pilot] if pilot == probe else [pilot, probe]
        bar.expect("plan: memory", 6.0, len(jobs))
        peaks = []
        for job in jobs:
            with bar.doing("plan: memory"):
                peaks.append(peak_memory(_contender(setting, job), job, device))
    finally:
        bar.close()
    volumes = [job.volume for job in jobs]

    def extended(values: list[float]) -> float:
        """To the setting's volume, and to its steps if probes had fewer: then what is recomputed is predicted too large."""
        return _extended(volumes, values, setting.volume) * setting.steps / probe.steps

    known = [peak.resident for peak in peaks if peak.resident is not None]
    rule = make_rule(pilot)
    return Plan(
        setting=setting,
        executor=choose(rule, make_state(pilot, rule)),
        seconds=extended(times),
        allocated=round(extended([peak.allocated or 0 for peak in peaks])),
        resident=round(extended([*known])) if len(known) == len(peaks) else None,
        inputs=4 * setting.volume * setting.channels,
        free=free_bytes(device),
        probes=tuple(jobs),
    )


def _probes(setting: Setting, device: torch.device) -> tuple[Setting, Setting, list[float]]:
    """The smallest probe and the largest that does not take too long, and the seconds of each (one, if they are the same)."""
    pilot = shrunk(setting, PILOT_CELLS / max(PILOT_CELLS, setting.living * setting.volume))
    seconds = _time(setting, pilot, device, repeats=1)
    if seconds > PROBE_SECONDS:  # so many steps that even the smallest volume takes long
        pilot = replace(pilot, steps=max(1, int(pilot.steps * PROBE_SECONDS / seconds)))
    seconds = _time(setting, pilot, device)
    probe = shrunk(replace(setting, steps=pilot.steps), pilot.volume / setting.volume * PROBE_SECONDS / seconds)
    if probe.volume <= 1.5 * pilot.volume:
        return pilot, pilot, [seconds]
    return pilot, probe, [seconds, _time(setting, probe, device)]


def shrunk(setting: Setting, share: float) -> Setting:
    """The setting with about `share` of its volume: fewer samples first, which changes nothing else, then shorter sides."""
    if share >= 1:
        return setting
    together = min(setting.batch, torch.get_num_threads())  # as many as threads run at a time, so that none of them waits
    batch = min(setting.batch, together * math.ceil(setting.batch * share / together))
    size = list(setting.size)
    while math.prod(size) * batch > share * setting.volume and max(size) > LEAST_SIDE:
        # One cell off the side that has shrunk least, so that the lattice keeps its shape.
        side = max((place for place in range(3) if size[place] > LEAST_SIDE), key=lambda k: size[k] / setting.size[k])
        size[side] -= 1
    return replace(setting, name="probe", size=(size[0], size[1], size[2]), batch=batch)


def _contender(setting: Setting, probe: Setting) -> Contender:
    """The executor "auto", with a memory budget that is as much smaller as the probe is."""
    return Contender("auto", memory_budget=max(1, math.ceil(BUDGET * probe.updates / setting.updates)))


def _time(setting: Setting, probe: Setting, device: torch.device, repeats: int = REPEATS) -> float:
    """The best of several training iterations, the first not counted."""
    runner = TorchRunner(_contender(setting, probe), probe, device)
    seconds = [runner.time(True, probe.random_seed + turn) for turn in range(repeats + 1)]
    return min(seconds[1:])


def _extended(volumes: list[int], values: list[float], volume: int) -> float:
    """The straight line through (volumes, values) at `volume`; neither its constant nor its slope is below zero."""
    if len(volumes) == 1:
        return values[0] * volume / volumes[0]
    slope = max(0.0, (values[1] - values[0]) / (volumes[1] - volumes[0]))
    constant = values[1] - slope * volumes[1]
    return constant + slope * volume if constant > 0 else values[1] * volume / volumes[1]
