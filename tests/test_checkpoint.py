"""Checkpoints survive kill -9, a full disk, flipped bits and wrong clocks; what is not whole is never loaded."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from odd_files import plant
from torch import Tensor, nn

from nca3d import checkpoint
from nca3d.errors import InputError, InputErrors, RunError
from nca3d.files import seal

ROOT = Path(checkpoint.__file__).parents[2]


def groups_of(step: int) -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(step)
    return {
        "rule": {"weight": torch.randn(8, 16, generator=generator), "bias": torch.randn(8, generator=generator)},
        "pool": {"states": torch.randn(4, 16, 5, 5, 5, generator=generator), "age": torch.arange(4)},
        "rng": {"pool": generator.get_state()},
    }


def save(folder: Path, step: int, keep: int = 3) -> Path:
    return checkpoint.save(folder, step, groups_of(step), {"iteration": step, "lr": 0.1 + step / 3}, keep=keep)


def whole(found: checkpoint.Checkpoint) -> bool:
    wanted = groups_of(found.step)
    return found.groups.keys() == wanted.keys() and all(
        torch.equal(found.groups[group][key], tensor) and found.groups[group][key].dtype == tensor.dtype
        for group, tensors in wanted.items()
        for key, tensor in tensors.items()
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def child(script: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **options)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = save(tmp_path, 30)
    assert path == tmp_path / "checkpoints" / "step-000030"
    found = checkpoint.load(tmp_path)
    assert whole(found)
    assert found.step == 30
    assert found.scalars == {"iteration": 30, "lr": 0.1 + 10}
    assert found.path == path
    assert found.skipped == ()
    assert whole(checkpoint.load(path))
    assert whole(checkpoint.load(path.parent))
    manifest = json.loads((path / "manifest.json").read_text())
    assert {"format", "step", "files", "torch", "numpy", "nca3d", "threads", "world_size"} <= manifest.keys()
    assert sorted(file.name for file in path.iterdir()) == sorted([*manifest["files"], "manifest.json"])


def test_tensors_of_any_layout_are_safe(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {
        "turned": base.permute(2, 0, 1),
        "slice": base[:, 1],
        "same": base,
        "again": base,
        "scalar": torch.tensor(3.0),
        "none": torch.zeros(0, 3),
        "expanded": torch.ones(1).expand(5),
        "half": base.to(torch.bfloat16),
        "flags": base > 3,
        "learnt": nn.Parameter(base.clone()),
        "last": base[None].to(memory_format=torch.channels_last),
    }
    checkpoint.save(tmp_path, 1, {"odd": tensors, "empty": {}}, {}, keep=2)
    found = checkpoint.load(tmp_path).groups
    assert found["empty"] == {}
    for name, tensor in tensors.items():
        assert torch.equal(found["odd"][name], tensor)
        assert found["odd"][name].dtype == tensor.dtype


def test_the_last_ones_stay(tmp_path: Path) -> None:
    for step in (1, 2, 10, 100, 1_000_000, 3_000_000):
        save(tmp_path, step)
    assert names(tmp_path) == ["step-000100", "step-1000000", "step-3000000"]
    assert checkpoint.load(tmp_path).step == 3_000_000
    with pytest.raises(InputError, match="keep: found 1"):
        save(tmp_path, 4, keep=1)


def test_order_is_by_step_whatever_the_clock_says(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        path = save(tmp_path, step)
        for file in (path, *path.iterdir()):
            os.utime(file, (2_000_000_000 - step, 2_000_000_000 - step))
    assert checkpoint.load(tmp_path).step == 3
    for path in (tmp_path / "checkpoints").iterdir():
        os.utime(path, (0, 0))
    assert checkpoint.load(tmp_path).step == 3
    save(tmp_path, 4)
    assert names(tmp_path) == ["step-000002", "step-000003", "step-000004"]


def test_a_damaged_step_is_replaced_when_it_is_reached_again(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / "pool.safetensors").unlink()
    assert checkpoint.load(tmp_path).step == 1
    save(tmp_path, 2)
    assert checkpoint.load(tmp_path).step == 2
    assert names(tmp_path) == ["step-000001", "step-000002"]


def test_damaged_later_ones_never_push_out_the_good_one(tmp_path: Path) -> None:
    for step in (1, 5, 6, 7):
        path = save(tmp_path, step, keep=9)
        if step > 1:
            (path / "manifest.json").unlink()
    save(tmp_path, 2, keep=2)
    assert checkpoint.load(tmp_path).step == 2
    assert {"step-000001", "step-000002"} <= set(names(tmp_path))


def test_one_that_stepped_aside_still_counts(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    path.rename(path.with_name("step-000001.old-999999999"))  # killed between the two renames
    assert whole(checkpoint.load(tmp_path))
    save(tmp_path, 2)
    assert checkpoint.load(tmp_path).step == 2
    assert names(tmp_path) == ["step-000001", "step-000002"], "nothing else had step 1: it is back in its place"


# ---- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_flipped_bit_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, 100)
    newest, draw = save(tmp_path, 200), random.Random(0)
    for trial in range(60):
        file = sorted(newest.iterdir())[trial % 5]
        data = file.read_bytes()
        broken, place = bytearray(data), draw.randrange(len(data))
        broken[place] ^= 1 << draw.randrange(8)
        file.write_bytes(broken)
        found = checkpoint.load(tmp_path)
        assert found.step == 100, f"byte {place} of {file.name}"
        assert whole(found)
        assert [path for path, _ in found.skipped] == [newest]
        assert file.name in found.skipped[0][1]
        file.write_bytes(data)
    assert "using" in capsys.readouterr().err
    assert checkpoint.load(tmp_path).step == 200
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_every_truncation_is_noticed(tmp_path: Path, share: float) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    files = sorted(newest.iterdir())
    assert "manifest.json" in [file.name for file in files] and len(files) == 5
    for file in files:
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])
        found = checkpoint.load(tmp_path)
        assert found.step == 1
        assert file.name in found.skipped[0][1]
        file.write_bytes(data)


def reseal(path: Path, **changes: Any) -> None:
    """Change the manifest and seal it again, as another program would that means no harm."""
    manifest = {**json.loads((path / "manifest.json").read_text()), **changes}
    data = seal({key: value for key, value in manifest.items() if value is not ...})
    (path / "manifest.json").write_bytes(data)


MANIFESTS = [
    (dict(format=2), "format: found 2, allowed 1; update nca3d"),
    (dict(format="1"), "format: found '1', allowed int"),
    (dict(format=...), "format: found no such key"),
    (dict(step=7), "step: found 7, allowed 2"),
    (dict(step=...), "step: found no such key"),
    (dict(files=...), "files: found no such key"),
    (dict(files={}), "a file that the manifest does not list"),
    (dict(files={"../rule.safetensors": {"size": 1, "sha256": ""}}), "does not list"),
    (dict(threads="many"), "threads: found 'many'"),
    (dict(torch=...), "torch: found no such key"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "words"), MANIFESTS)
def test_a_manifest_that_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    save(tmp_path, 1)
    reseal(save(tmp_path, 2), **changes)
    found = checkpoint.load(tmp_path)
    assert found.step == 1
    assert words in found.skipped[0][1]


def test_the_manifest_reaches_nothing_outside_its_folder(tmp_path: Path) -> None:
    path = save(tmp_path, 2)
    entry = json.loads((path / "manifest.json").read_text())["files"]
    (tmp_path / "out.safetensors").write_bytes((path / "rule.safetensors").read_bytes())
    reseal(path, files={**entry, "../../out.safetensors": entry["rule.safetensors"]})
    with pytest.raises(InputError, match="plain file names"):
        checkpoint.load(path)


@given(st.binary(max_size=200))
def test_any_bytes_as_a_manifest_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("any") / "step-000001"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(data)
    with pytest.raises(InputError):
        checkpoint.load(folder)


def test_numbers_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path: Path) -> None:
    save(tmp_path, 1)
    bad = groups_of(2)
    bad["pool"]["states"][3, 0, 2, 2, 2] = float("nan")
    with pytest.raises(RunError, match=r"pool\.states is not finite"):
        checkpoint.save(tmp_path, 2, bad, {}, keep=2)
    assert names(tmp_path) == ["step-000001"]


def test_what_can_not_be_saved_leaves_the_old_one(tmp_path: Path) -> None:
    save(tmp_path, 1)
    for groups, scalars, words in [
        ({"rule": {"w": torch.eye(3).to_sparse()}}, {}, r"rule\.w: found torch\.sparse_coo"),
        ({"rule": {"w": 3.0}}, {}, r"rule\.w: found a float"),
        ({"../rule": {}}, {}, "group"),
        ({"rule": {}}, {"path": Path("x")}, "scalars"),
    ]:
        with pytest.raises(InputError, match=words):
            checkpoint.save(tmp_path, 2, groups, scalars, keep=2)  # type: ignore[arg-type]
    assert names(tmp_path) == ["step-000001"]


def test_when_none_is_good_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        checkpoint.load(tmp_path / "none")
    with pytest.raises(InputError, match="checkpoint: found none"):
        checkpoint.load(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"\x80\x02.")
    with pytest.raises(InputError, match="found a file"):
        checkpoint.load(tmp_path / "model.pt")
    for step in (1, 2):
        (save(tmp_path, step) / "rule.safetensors").write_bytes(b"")
    with pytest.raises(InputErrors) as caught:
        checkpoint.load(tmp_path)
    lines = str(caught.value).splitlines()
    assert ["step-000002" in lines[0], "step-000001" in lines[1], len(lines)] == [True, True, 2]


def test_a_link_is_followed_only_when_asked_for(tmp_path: Path) -> None:
    elsewhere = save(tmp_path / "elsewhere", 9)
    save(tmp_path, 1)
    link = tmp_path / "checkpoints" / "step-000009"
    link.symlink_to(elsewhere)
    found = checkpoint.load(tmp_path)
    assert found.step == 1
    assert "a link" in found.skipped[0][1]
    assert checkpoint.load(link).step == 9


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe"])
def test_nothing_is_saved_behind_a_link(tmp_path: Path, kind: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    save(tmp_path / "other", 1)
    if kind == "link":
        (own / "checkpoints").symlink_to(tmp_path / "other" / "checkpoints")
    else:
        plant(kind, tmp_path, own / "checkpoints")
    with pytest.raises(
        RunError, match=r"step-000009: not saved: .*checkpoints: folder: found a (link|pipe), allowed a folder of"
    ):
        save(own, 9)
    assert [path.name for path in (tmp_path / "other" / "checkpoints").iterdir()] == ["step-000001"]
    assert not (tmp_path / "nothing").exists()


# ---- faults --------------------------------------------------------------------------------------------------------

KILLED = """
import itertools, os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from test_checkpoint import checkpoint, save, whole
root, trials = Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(trials)
for trial in range(trials):
    folder = root / str(trial)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for step in itertools.count(1):
            save(folder, step, keep=2)
            os.write(writer, b"%d\\n" % step)
    os.close(writer)
    reports = open(reader)
    last = int(reports.readline())
    time.sleep(draw.uniform(0, 0.08))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    last = max([last, *map(int, reports.read().split())])
    found = checkpoint.load(folder)
    assert whole(found) and last <= found.step <= last + 1, (last, found.step, found.skipped)
    assert len(list((folder / "checkpoints").glob("step-??????"))) <= 3
    save(folder, last + 2)
    assert not list((folder / "checkpoints").glob("*.*")), "leftovers of the dead are swept"
    print(trial, last, found.step)
"""


@pytest.mark.slow
@pytest.mark.parametrize("trials", [12, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_in_the_middle_of_a_save(tmp_path: Path, trials: int) -> None:
    done = child(KILLED, tmp_path, trials, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == trials


AT_EACH_CALL = """
import os, shutil, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from test_checkpoint import checkpoint, save, whole
root = Path(sys.argv[1])
for step in (1, 2, 3):
    save(root / "before", step, keep=2)
saved = {name: getattr(os, name) for name in ("fsync", "rename", "unlink", "rmdir", "mkdir")}
def run(folder, step, fatal):
    child = os.fork()
    if child == 0:
        calls = 0
        def counted(call):
            def wrapper(*args, **kw):
                nonlocal calls
                calls += 1
                if calls == fatal:
                    os.kill(os.getpid(), 9)
                return call(*args, **kw)
            return wrapper
        for name, call in saved.items():
            setattr(os, name, counted(call))
        save(folder, step, keep=2)
        os._exit(0)
    return os.waitpid(child, 0)[1]
for again in (False, True):
    for fatal in range(1, 200):
        folder = root / f"{again}-{fatal}"
        shutil.copytree(root / "before", folder)
        step = 3 if again else 4
        alive = run(folder, step, fatal) == 0
        found = checkpoint.load(folder)
        assert whole(found) and found.step in (3, step), (again, fatal, found.step)
        if alive:
            print(fatal)
            break
"""


@pytest.mark.slow
def test_killed_at_each_system_call_of_a_save(tmp_path: Path) -> None:
    done = child(AT_EACH_CALL, tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert all(int(line) > 10 for line in done.stdout.splitlines())
    assert len(done.stdout.splitlines()) == 2


FULL = """
import resource, sys
from pathlib import Path
from test_checkpoint import save, RunError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save(Path(sys.argv[1]), 2)
except RunError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    save(tmp_path, 1)
    done = child(FULL, tmp_path)
    assert "step-000002: not saved: File too large" in done.stdout, done.stderr
    assert "free" in done.stdout
    needed = int(re.search(r"([\d,]+) bytes needed", done.stdout)[1].replace(",", ""))
    written = sum(file.stat().st_size for file in (tmp_path / "checkpoints" / "step-000001").iterdir())
    assert needed == pytest.approx(written, rel=0.02)
    assert names(tmp_path) == ["step-000001"]
    assert whole(checkpoint.load(tmp_path))


@pytest.mark.parametrize("error", [28, 5, 122])
def test_a_sync_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    save(tmp_path, 1)

    def broken(descriptor: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(RunError, match=os.strerror(error)):
        save(tmp_path, 2)
    assert names(tmp_path) == ["step-000001"]


def test_leftovers_are_swept_but_not_those_of_the_living(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for name in (f"step-000003.tmp-{os.getppid()}", "step-000003.tmp-999999999", f"step-000001.tmp-{os.getpid()}"):
        (folder / name).mkdir(parents=True)
    save(tmp_path, 4)
    assert names(tmp_path) == [f"step-000003.tmp-{os.getppid()}", "step-000004"]
    assert checkpoint.load(tmp_path).step == 4


def test_a_resume_that_is_not_bit_exact_says_why(tmp_path: Path) -> None:
    save(tmp_path, 1)
    manifest = checkpoint.load(tmp_path).manifest
    assert checkpoint.bit_exact_warning(manifest) is None
    assert checkpoint.bit_exact_warning(manifest, "cpu") is None
    other = {**manifest, "threads": 64, "torch": "2.6.0"}
    assert checkpoint.bit_exact_warning(other) == (
        f"not bit-exact: torch was 2.6.0, is {torch.__version__}; threads was 64, is {torch.get_num_threads()}"
    )
    assert "device was cpu, is cuda" in str(checkpoint.bit_exact_warning(manifest, "cuda"))


def test_the_old_is_kept_when_the_folder_vanishes(tmp_path: Path) -> None:
    save(tmp_path / "run", 1)
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunError, match="not saved: Not a directory"):
        save(tmp_path / "run", 2)
