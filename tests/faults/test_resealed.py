"""Whatever a checkpoint says beyond its digest is read or refused in one line; nothing is cast, nothing is touched before."""

import functools
import itertools
import json
import random
import resource
from pathlib import Path

import pytest
import torch
from resealed import changes, only_newest, resealed
from tiny_runs import tiny_body, tiny_cube

import nca3d
from nca3d import checkpoint
from nca3d.errors import InputError, RunError
from nca3d.files import load_tensors

# Of each kind of run, how many of its changes are tried in every run of the tests; `make nightly` tries all.
SOME = 60
KINDS = ("body", "several", "cube")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Gives a run of two iterations: "body" has all that a checkpoint may have; the others are "several" and a "cube"."""
    folder = tmp_path_factory.mktemp("runs")

    @functools.cache
    def run(kind: str) -> Path:
        common = {"out": str(folder / kind), "iterations": 2, "save_every": 1, "keep_checkpoints": 2}
        if kind == "cube":
            words = itertools.product(("train", "validation", "test"), "abcd", "efgh")
            lines = [{"question": f"what is {a} of {b}", "answer": a + b, "split": split} for split, a, b in words]
            (folder / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
            config = tiny_cube(folder / "q.jsonl", batch=4, pool_size=8, **common)
        elif kind == "several":
            config = tiny_body(target=("sphere", "cross"), **common)
        else:
            config = tiny_body(average=0.99, balance="learned", losses={"rgba": 1.0, "overflow": 1.0}, **common)
        nca3d.train(config, progress=False)
        return folder / kind

    return run


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def goes_on(run: Path) -> None:
    config = nca3d.Config.load(run / "config.toml").replace(iterations=3)
    nca3d.train(config, resume=run, progress=False)


def faults_of(run: Path, chosen, tmp_path: Path) -> list[str]:
    """What is wrong with how changed checkpoints are taken: other errors, other lines, and files that were touched."""
    faults = []
    for number, (what, change) in enumerate(chosen):
        for name, use in (("load", nca3d.load), ("resume", goes_on)):
            place = tmp_path / f"{number}-{name}"
            resealed(only_newest(run, place), **change)
            before = contents(place)
            try:
                use(place)
            # A weight of 1e308 is a finite number, and makes a run fail.
            except RunError:
                continue
            except InputError as error:
                lines = str(error).split("\n")
                fair = all(line.isprintable() and ": found " in line and ", allowed " in line for line in lines)
                untouched = contents(place) == before
                faults += [] if fair and untouched else [f"{what}: {name}: {error}" + " (touched)" * (not untouched)]
            except Exception as error:
                faults.append(f"{what}: {name}: {type(error).__name__}: {error}")
    return faults


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sealed_with_other_contents_is_refused(kind, runs, tmp_path, capsys):
    """B4 to B7: of another program's numbers none is taken without a look; no trace, no file touched."""
    every = list(changes(sorted((runs(kind) / "checkpoints").iterdir())[-1]))
    chosen = random.Random(kind).sample(every, SOME)
    assert faults_of(runs(kind), chosen, tmp_path) == []


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_no_change_of_a_sealed_checkpoint_is_a_trace(kind, runs, tmp_path):
    every = changes(sorted((runs(kind) / "checkpoints").iterdir())[-1])
    assert faults_of(runs(kind), every, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.complex64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("group", ["rule", "weights", "optimizer", "pool", "balance"])
def test_weights_are_never_cast(group, dtype, runs, tmp_path):
    """B6: torch would cast them in silence."""
    step = only_newest(runs("body"), tmp_path / "run")
    tensors = load_tensors((step / f"{group}.safetensors").read_bytes(), group)
    name = next(name for name, tensor in tensors.items() if tensor.dtype == torch.float32)
    resealed(step, files={f"{group}.safetensors": {**tensors, name: tensors[name].to(dtype)}})
    with pytest.raises(InputError, match=str(dtype)):
        goes_on(tmp_path / "run")
    if group == "rule":
        with pytest.raises(InputError, match=rf"rule\.safetensors: {name}: found .*{dtype}"):
            nca3d.load(tmp_path / "run")


def test_a_state_that_was_left_out_is_missed(runs, tmp_path):
    """The run would go on as if it had just begun, and nobody would see."""
    step = only_newest(runs("body"), tmp_path / "run")
    resealed(step, files={"optimizer.safetensors": {}})
    with pytest.raises(InputError, match=r"optimizer: tensors: found 0, allowed \d+, as many as were saved"):
        goes_on(tmp_path / "run")


def test_the_one_before_is_used_where_the_newest_makes_no_sense(runs, tmp_path, capsys):
    run = tmp_path / "run"
    newest = only_newest(runs("body"), run)
    newest.rename(newest.with_name("step-000001"))
    scalars = json.loads((newest.with_name("step-000001") / "scalars.json").read_text())
    manifest = newest.with_name("step-000001") / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"step": 2', '"step": 1'))
    resealed(newest.with_name("step-000001"), scalars={**scalars, "iteration": 1})
    other = only_newest(runs("body"), tmp_path / "other")
    resealed(other, scalars={**scalars, "seconds": "long"})
    other.rename(newest)
    assert checkpoint.load(run, check=checkpoint.check_training).step == 1
    assert "seconds: found 'long', allowed a number at least 0" in capsys.readouterr().err


@pytest.mark.parametrize("hidden", [[10**7], [10**5, 10**5], [2**40]])
def test_a_rule_that_asks_for_gigabytes_is_refused_by_its_size(hidden, runs, tmp_path):
    step = only_newest(runs("body"), tmp_path / "run")
    scalars = json.loads((step / "scalars.json").read_text())
    scalars["rule"]["options"]["hidden"] = hidden
    resealed(step, scalars=scalars)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="rule"):
        nca3d.load(tmp_path / "run")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "KiB"
