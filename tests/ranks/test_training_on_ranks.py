"""Several processes train the model of one: `training_cases.py` is what they run, all cases in one start (law 8)."""

from pathlib import Path

import pytest
import torch
import training_cases
from launched import TORCHRUN, Launched
from resuming import cut_short, timeless
from torch import Tensor

from nca3d import checkpoint
from nca3d.executors import native_code
from nca3d.training.run_folder import read_metrics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not native_code.available(torch.zeros(1)), reason="compiled steps alone have gradients by sample"),
]
SCRIPT = Path(training_cases.__file__)
# Figures of what rank 0 itself has run: patterns and the diversity of the pool.
OWN = ("pattern_", "pool_")
# What takes part of the work of the default one, and is looked at in every run of the tests.
QUICK = [
    "default",
    "coded classes",
    "learned codes",
    "growing bodies",
    "learned balance",
    "parts",
    "few samples",
    "looks",
    "NaN",
]


def launched(size: int, folder: Path, *names: str, restarts: int = 0, **more: str) -> None:
    ended = Launched(
        [*TORCHRUN, f"--nproc-per-node={size}", f"--max-restarts={restarts}", SCRIPT, folder, *names], folder, **more
    ).end(300)
    assert ended.code == 0 and not ended.left, ended.text[-3000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The cases as one process trains them, each when it is asked for."""
    folder = tmp_path_factory.mktemp("alone")
    training_cases.labels(folder)

    def trained(name: str) -> Path:
        if not (folder / name).exists():
            training_cases.train(folder, [name])
        return folder / name

    return trained


@pytest.fixture(scope="module")
def names(request):
    """Those that are looked at: a few more each night."""
    nightly = any(item.get_closest_marker("nightly") for item in request.session.items)
    return [*training_cases.CASES, *training_cases.ROUNDED] if nightly else [*QUICK, *training_cases.ROUNDED]


@pytest.fixture(scope="module", params=[2, 3])
def together(request, names, tmp_path_factory):
    """The same as so many processes train them."""
    folder = tmp_path_factory.mktemp(f"ranks-{request.param}")
    training_cases.labels(folder)
    launched(request.param, folder, *names)
    return folder


def tensors(run: Path) -> dict[str, Tensor]:
    """All tensors of a run's newest checkpoint."""
    groups = checkpoint.load(run).groups
    return {f"{group}/{name}": tensor for group, found in groups.items() for name, tensor in found.items()}


def assert_alike(one: Path, other: Path) -> None:
    """Two runs have the same weights, optimizer, pool and figures, to the bit."""
    assert checkpoint.load(one).step == checkpoint.load(other).step
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys() and not [name for name in a if not torch.equal(a[name], b[name])]


@pytest.mark.parametrize("name", QUICK)
def test_several_processes_train_the_model_of_one(name, together, alone):
    assert_alike(alone(name), together / name)


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in training_cases.CASES if name not in QUICK])
def test_several_processes_train_every_model_of_one(name, together, alone):
    assert_alike(alone(name), together / name)


@pytest.mark.parametrize("name", training_cases.ROUNDED)
def test_what_torch_sums_up_is_that_of_one_to_rounding(name, together, alone):
    a, b = tensors(alone(name)), tensors(together / name)
    assert a.keys() == b.keys()
    for weight in (name for name in a if name.startswith("rule/")):
        torch.testing.assert_close(b[weight], a[weight], rtol=1e-3, atol=1e-4)


def test_nan_on_one_rank_is_skipped_by_all(together, alone):
    """F22: weights, optimizer and pool are those of one process that has met the same; the state begins anew."""
    run = together / "NaN"
    assert_alike(alone("NaN"), run)
    assert checkpoint.load(run).scalars["skipped"] == 1
    (line,) = [line for line in read_metrics(run) if "fault" in line]
    assert line["iteration"] == 3 and line["fault"] == "non-finite loss" and line["reseeded_non_finite"] == 1, line


@pytest.mark.parametrize("name", QUICK)
def test_the_log_is_that_of_one(name, together, alone):
    one, other = timeless(read_metrics(alone(name))), timeless(read_metrics(together / name))
    assert [line["iteration"] for line in one] == [line["iteration"] for line in other]
    for a, b in zip(one, other, strict=True):
        shared = [name for name in a if name in ("pool_age",) or not name.startswith(("seconds", *OWN))]
        for figure in shared:
            # Means over samples are made of those of each process.
            number = isinstance(a[figure], int | float)
            assert b[figure] == (pytest.approx(a[figure], rel=1e-5, abs=1e-6) if number else a[figure]), figure


# What is done to a rank before an iteration, on the first attempt.
PLUGIN = """
import os, signal
from nca3d.training import trainer
what, rank, iteration = os.environ["DONE_TO"].split()
real = trainer.Trainer.step
def step(self):
    if (os.environ.get("RANK", "0"), self.iteration + 1) == (rank, int(iteration)):
        if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
            os.kill(os.getpid(), getattr(signal, what))
    return real(self)
trainer.Trainer.step = step
"""


def plugged(folder: Path) -> list[object]:
    """The default case with the plug-in, as words after `python`."""
    (folder / "plugin.py").write_text(PLUGIN)
    training_cases.config("default", folder).save(folder / "config.toml")
    return ["-m", "nca3d", "train", folder / "config.toml", "--plugins", folder / "plugin.py"]


def test_a_run_goes_on_on_another_number_of_processes(alone, tmp_path):
    """One process begins it, two go on, three end it: the run of one process alone (law 11)."""
    cut_short(training_cases.config("default", tmp_path), 3)
    plugin = plugged(tmp_path)[-2:]
    for size, until in ((2, 6), (3, 100)):
        words = ["-m", "nca3d", "train", "--resume", tmp_path / "default", "--processes", size, *plugin]
        ended = Launched([TORCHRUN[0], *words], tmp_path, DONE_TO=f"SIGTERM {size - 1} {until}").end()
        assert ended.code == (143 if until < 100 else 0) and not ended.left, ended.text
        assert until == 100 or checkpoint.load(tmp_path / "default").step == until
    assert_alike(alone("default"), tmp_path / "default")


@pytest.mark.parametrize("killed", ["0", pytest.param("1", marks=pytest.mark.nightly)])
def test_what_torchrun_starts_anew_goes_on(killed, alone, tmp_path):
    """From the checkpoint of iteration 4, which is the same as if nothing had happened."""
    command = [*TORCHRUN, "--nproc-per-node=2", "--max-restarts=1", *plugged(tmp_path)]
    ended = Launched(command, tmp_path, DONE_TO=f"SIGKILL {killed} 7").end()
    assert ended.code == 0 and not ended.left, ended.text
    assert f"rank {killed} of 2 is gone at iteration 7: its process " in ended.text
    assert_alike(alone("default"), tmp_path / "default")


def test_a_script_trains_several_times(tmp_path, alone):
    """Each training is one of all processes; what a notebook calls, torchrun can run."""
    (tmp_path / "script.py").write_text(
        "import sys, nca3d\n"
        "for name in ('one', 'two'):\n"
        "    config = nca3d.Config.load('config.toml').replace(out=name)\n"
        "    run = nca3d.train(config, progress=False)\n"
        "    print(run.folder.name, run.rule.card['size'], file=sys.stderr)\n"
    )
    training_cases.config("default", tmp_path).save(tmp_path / "config.toml")
    ended = Launched([*TORCHRUN, "--nproc-per-node=2", tmp_path / "script.py"], tmp_path).end()
    assert ended.code == 0, ended.text
    for name in ("one", "two"):
        assert ended.text.count(f"{name} [7, 7, 7]") == 2
        assert_alike(alone("default"), tmp_path / name)
