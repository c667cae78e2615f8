"""Faults injected into a throw-away run, to see them survived.

Each case saves a real checkpoint, breaks something in a child process or on the disk, and looks whether the newest good
checkpoint is found again, bit for bit.
"""

import itertools
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from nca3d import checkpoint
from nca3d.errors import InputError, nearest
from nca3d.executors.child import python_with_nca3d
from nca3d.training.optimizer_state import pack_optimizer


def inject(case: str) -> int:
    """Injects one fault into a throw-away run folder; returns 0 if the newest good checkpoint survived it, else 1.

    Raises:
        InputError: no such case.
    """
    if case not in CASES:
        raise InputError("nca3d doctor", "--inject", repr(case), f"{', '.join(CASES)}{nearest(case, CASES)}")
    with tempfile.TemporaryDirectory(prefix="nca3d-doctor-") as folder:
        survived = CASES[case](Path(folder))
    print(f"{case}: the rule {'held' if survived else 'was BROKEN'}")
    return 0 if survived else 1


def _groups(step: int) -> dict[str, dict[str, Tensor]]:
    """Returns weights, optimizer state, pool and a generator, as a real checkpoint has them: a pure function of the step."""
    generator = torch.Generator().manual_seed(step)
    layer = torch.nn.Linear(64, 128)
    optimizer = torch.optim.Adam(layer.parameters())
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()
    pool = {"states": torch.randn(16, 16, 8, 8, 8, generator=generator)}
    tensors, _ = pack_optimizer(optimizer)
    return {"rule": layer.state_dict(), "optimizer": tensors, "pool": pool, "rng": {"pool": generator.get_state()}}


def _save(folder: Path, step: int) -> Path:
    return checkpoint.save(folder, step, _groups(step), {"iteration": step}, keep=3)


def _survivor(folder: Path) -> int | None:
    """Returns the step of the newest checkpoint that loads, if its tensors are bit for bit those that were saved."""
    try:
        newest = checkpoint.load(folder)
    except InputError as error:
        print(error)
        return None
    saved = _groups(newest.step)
    same = all(torch.equal(newest.groups[group][key], value) for group in saved for key, value in saved[group].items())
    return newest.step if same else None


def _flip_bit(folder: Path) -> bool:
    """Turns over one bit of the newest checkpoint, 20 times, anywhere in any of its files."""
    _save(folder, 100)
    newest, draw = _save(folder, 200), random.Random(0)
    for _ in range(20):
        file = draw.choice(sorted(newest.iterdir()))
        whole = file.read_bytes()
        broken, place = bytearray(whole), draw.randrange(len(whole))
        broken[place] ^= 1 << draw.randrange(8)
        file.write_bytes(broken)
        print(f"flipped a bit in byte {place} of {newest.name}/{file.name}")
        if _survivor(folder) != 100:
            return False
        file.write_bytes(whole)
    return _survivor(folder) == 200


def _truncate(folder: Path) -> bool:
    """Cuts each file of the newest checkpoint short: to nothing, to half, by one byte."""
    _save(folder, 100)
    newest = _save(folder, 200)
    for file in sorted(newest.iterdir()):
        whole = file.read_bytes()
        for length in (0, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:length])
            print(f"cut {newest.name}/{file.name} from {len(whole)} bytes to {length}")
            if _survivor(folder) != 100:
                return False
        file.write_bytes(whole)
    return _survivor(folder) == 200


def _kill_in_save(folder: Path) -> bool:
    """Kills a child that saves without pause (kill -9), 20 times; what it reported as saved must be there."""
    torch.set_num_threads(1)  # a forked child must not wait for threads that only its parent has
    draw = random.Random(0)
    for trial in range(20):
        place = folder / str(trial)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _save_for_ever(place, writer)
        os.close(writer)
        with open(reader) as reports:
            reported = int(reports.readline())
            time.sleep(draw.uniform(0, 0.15))  # so that the kill meets every moment of a save
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            reported = max([reported, *(int(line) for line in reports.read().splitlines())])
        loaded = _survivor(place)
        print(f"killed after it reported step {reported}: step {loaded} loads")
        if loaded is None or loaded < reported:
            return False
    return True


def _save_for_ever(folder: Path, reports: int) -> NoReturn:
    try:
        for step in itertools.count(1):
            _save(folder, step)
            os.write(reports, f"{step}\n".encode())
    finally:
        os._exit(1)  # whatever happens: a forked child must not run its parent's code on the way out


_SAVE_ONCE = """
import resource, sys
from pathlib import Path
from nca3d import errors
from nca3d.cli import faults
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    faults._save(Path(sys.argv[1]), 200)
except errors.RunError as error:
    print(error)
    raise SystemExit(9)
"""


def _full_disk(folder: Path) -> bool:
    """Saves where files may grow to 200 kB only, which acts like a full disk without filling one."""
    _save(folder, 100)
    python, environment = python_with_nca3d()
    child = subprocess.run([*python, "-c", _SAVE_ONCE, folder], capture_output=True, text=True, env=environment)
    print(child.stdout.strip() or child.stderr.strip())
    left = sorted(path.name for path in (folder / "checkpoints").iterdir())
    print(f"left on the disk: {', '.join(left)}")
    return child.returncode == 9 and left == ["step-000100"] and _survivor(folder) == 100


CASES: dict[str, Callable[[Path], bool]] = {
    "flip-bit": _flip_bit,
    "truncate": _truncate,
    "kill-in-save": _kill_in_save,
    "full-disk": _full_disk,
}
