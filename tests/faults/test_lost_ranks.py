"""One of several processes is lost: all end soon, with its rank and the cause in a line, and the run can be resumed."""

import json
import re
import signal
import time
from pathlib import Path

import pytest
from launched import TORCHRUN, Ended, Launched
from tiny_runs import tiny_body

import nca3d
from nca3d import checkpoint

pytestmark = pytest.mark.slow

# Seconds from a fault to the end.
SOON = 15
# What befalls one rank before an iteration. The fault is noted, for the clock.
PLUGIN = """
import ctypes, os, signal, sys, time
from pathlib import Path
from nca3d.training import trainer

fault, rank, iteration = os.environ["FAULT"].split()
real = trainer.Trainer.step

def stuck():  # in C, where Python's handlers never run
    lock, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    while True:
        library.pthread_mutex_lock(lock)

def odd():
    raise ValueError("an odd loss")

FAULTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "raise": odd,
    "hang": stuck,
    "exit": lambda: sys.exit(0),
    "_exit": lambda: os._exit(0),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "none": lambda: None,
}

def step(self):
    if (os.environ["RANK"], self.iteration + 1) == (rank, int(iteration)):
        Path("fault").write_text("here")
        FAULTS[fault]()
    return real(self)

trainer.Trainer.step = step
"""
OWN_LAUNCHER = (TORCHRUN[0], "-m", "nca3d", "train", "config.toml", "--plugins", "plugin.py", "--processes", "2")
BY_TORCHRUN = (*TORCHRUN, "--nproc-per-node=2", "-m", "nca3d", "train", "config.toml", "--plugins", "plugin.py")


def begun(folder: Path, command: tuple, fault: str, **changes) -> Launched:
    """A run of two ranks that is about to be hurt."""
    (folder / "plugin.py").write_text(PLUGIN)
    config = tiny_body(out="run", iterations=100_000, save_every=5, log_every=1, steps=(6, 12), **changes)
    config.save(folder / "config.toml")
    return Launched(command, folder, FAULT=fault)


def ended(work: Launched, folder: Path) -> Ended:
    """How it ended, soon enough, without leaving a process behind, and with a run that goes on in one process."""
    work.until(folder / "fault")
    since = (folder / "fault").stat().st_mtime
    end = work.end()
    assert time.time() - since <= SOON and not end.left, end.text
    saved = checkpoint.load(folder / "run")
    config = nca3d.Config.load(folder / "run" / "config.toml").replace(iterations=saved.step + 2)
    run = nca3d.train(config, resume=folder / "run", plugins=[], progress=False)
    assert run.metrics[-1]["iteration"] == saved.step + 2
    return end


GONE = r" is gone at iteration 8: its process \d+ was killed, or crashed"
RAISED = " failed at iteration 8: ValueError: an odd loss"
LEFT = r": run: iteration 8: something called (sys\.exit|os\._exit)\(0\), a loss or a rule of your own perhaps, .*"


@pytest.mark.parametrize(
    "fault, line",
    [
        ("raise 1", RAISED),
        ("_exit 1", LEFT),
        *(
            pytest.param(f"{fault} {rank}", line, marks=pytest.mark.nightly)
            for fault, rank, line in (("kill", 0, GONE), ("kill", 1, GONE), ("raise", 0, RAISED), ("exit", 1, LEFT))
        ),
    ],
)
def test_a_rank_is_killed_raises_or_leaves(fault, line, tmp_path):
    """F18, F19, F21: the last line names it, and the exit code is that of a run that failed."""
    end = ended(begun(tmp_path, OWN_LAUNCHER, f"{fault} 8"), tmp_path)
    assert end.code == 1
    *_, before, last = end.text.strip().splitlines()
    assert re.fullmatch(f"rank {fault[-1]} of 2{line}", last), end.text
    way_on = "run: goes on from its last checkpoint with: nca3d train --resume run --plugins "
    assert end.text.count(way_on) == 1 and before.startswith(way_on)
    assert checkpoint.load(tmp_path / "run").step == 7
    assert end.text.count("Traceback") == ("raise" in fault), "bugs alone show a trace, and once"


def test_torchrun_has_the_cause_in_its_summary(tmp_path):
    """F18: what it prints last, and our line before it."""
    end = ended(begun(tmp_path, BY_TORCHRUN, "kill 1 8"), tmp_path)
    assert end.code == 1 and end.text.count("rank 1 of 2 is gone at iteration 8: its process ") == 2
    assert "traceback : rank 1 of 2 is gone at iteration 8" in end.text
    assert next(line for line in end.told if "rank" in line).startswith("rank 1 of 2 is gone at iteration 8")


@pytest.mark.parametrize("fault", ["hang", "stop"])
def test_a_rank_hangs(fault, tmp_path):
    """F20: in a library, where it does not even hear that it is to end; or stopped, as by a debugger."""
    end = ended(begun(tmp_path, OWN_LAUNCHER, f"{fault} 1 8", timeout=5), tmp_path)
    assert end.code == 1
    told = "rank 1 of 2 has not answered for 5 s at iteration 8: it hangs, or needs longer: --timeout SECONDS"
    assert end.text.strip().splitlines()[-1] == told


def test_one_rank_is_told_to_stop(tmp_path):
    """F21: then all do, after the same iteration, and save it."""
    end = ended(begun(tmp_path, OWN_LAUNCHER, "term 1 8"), tmp_path)
    assert end.code == 143 and "stopped at iteration 8; go on with: nca3d train --resume run" in end.text
    assert end.text.strip().splitlines()[-1] == "rank 1 of 2 was stopped by SIGTERM at iteration 8"


@pytest.mark.parametrize(
    "command, number, code",
    [(BY_TORCHRUN, signal.SIGKILL, -9), pytest.param(OWN_LAUNCHER, signal.SIGINT, 130, marks=pytest.mark.nightly)],
)
def test_the_launcher_is_ended(command, number, code, tmp_path):
    """F24: its processes save, and are gone in five seconds."""
    work = begun(tmp_path, command, "none 1 8")
    work.until(tmp_path / "fault")
    work.process.send_signal(number)
    since = time.monotonic()
    while work.processes():
        assert time.monotonic() - since < 30
        time.sleep(0.05)
    assert time.monotonic() - since < 5 + 2 * (number == signal.SIGINT)
    end = ended(work, tmp_path)
    assert end.code == code
    stopped = int(end.text.partition("stopped at iteration ")[2].partition(";")[0])
    assert stopped >= 8 and f"stopped at iteration {stopped}; go on with: nca3d train --resume run" in end.text


# Ranks that differ ------------------------------------------------------------------------------------------------------

DIFFERENT = """
import json, os, sys
from pathlib import Path
import numpy as np
import nca3d
from nca3d.cli import main
from nca3d.errors import InputError
from nca3d.ranks.joined import joined
from tiny_runs import tiny_body

second = os.environ["RANK"] == "1"
body = np.zeros((5, 5, 5, 4), np.float32)
body[1:4, 1:4, 1:3 + second] = 1
config = tiny_body(out="run", iterations=3)
cases = {
    "config": lambda: nca3d.train(config.replace(learning_rate=0.001 if second else 0.002)),
    "body": lambda: nca3d.train(config, target=body),
    "shape": lambda: nca3d.train(config, rule=nca3d.ConvRule(8, (24,) if second else (16,), perception="gradient")),
}
told = {}
with joined(60):
    for name, train in cases.items():
        try:
            train()
        except InputError as error:
            told[name] = str(error)
Path(f"told-{os.environ['RANK']}.json").write_text(json.dumps(told))
# Last, as a command, what one of them can't even read.
config.replace(target="sphere").save(Path("config-0.toml"))
sys.exit(main(["train", "config-1.toml" if second else "config-0.toml"]))
"""


def test_ranks_of_other_shapes_configs_and_bodies_are_refused(tmp_path):
    """F23: the rank and the field are named, and nothing is written."""
    (tmp_path / "different.py").write_text(DIFFERENT)
    end = Launched([*TORCHRUN, "--nproc-per-node=2", "different.py"], tmp_path).end()
    told, other = (json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in (0, 1))
    assert told == other and told.keys() == {"config", "body", "shape"}
    assert told["config"].startswith("rank 1: config.learning_rate: found 0.001 (rank 1), allowed 0.002, as rank 0 has it")
    assert told["body"].startswith("rank 1: ") and "rank 0" in told["body"]
    assert told["shape"].startswith("rank 1: shape of network.0.bias: found (24,) (rank 1), allowed (16,), as rank 0 has it")
    assert end.code == 1 and "exitcode  : 2" in end.text and not end.left
    assert [line for line in end.told if "config-1.toml" in line], end.text
    assert not (tmp_path / "run").exists()
