"""Broken files end in one line: bytes of valid ones are flipped, put in, taken out and doubled."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nca3d
from nca3d.errors import ArgumentError, InputError
from nca3d.reports.report import read_report

pytestmark = pytest.mark.nightly
SIZE = (7, 7, 7)


def load_target(path: Path) -> None:
    nca3d.targets.load(str(path), size=SIZE)


def valid_files(folder: Path) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    """A valid file of each kind, and what reads it."""
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[1:4, 1:4, 1:4] = 1
    np.save(folder / "body.npy", labels)
    np.savez_compressed(folder / "body.npz", body=labels)
    rgba = np.repeat((labels > 0)[..., None], 4, axis=-1).astype(np.float32)
    found: dict[str, tuple[Path, Callable[[Path], object]]] = {
        "npy": (folder / "body.npy", load_target),
        "npz": (folder / "body.npz", load_target),
    }
    trimesh = pytest.importorskip("trimesh")
    cube = trimesh.creation.box((2, 3, 4))
    for suffix in ("ply", "obj", "stl", "glb"):
        cube.export(folder / f"box.{suffix}")
        found[suffix] = (folder / f"box.{suffix}", load_target)
    pytest.importorskip("pyvista")
    import visualize

    visualize.save(rgba, folder / "body.vti")
    found["vti"] = (folder / "body.vti", load_target)
    nca3d.Config().save(folder / "config.toml")
    found["toml"] = (folder / "config.toml", nca3d.Config.load)
    (folder / "report.json").write_text(json.dumps({"grow_iou": 0.5, "spread": {}, "series": {}, "about": {}, "schema": 2}))
    found["report"] = (folder / "report.json", read_report)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    return valid_files(tmp_path_factory.mktemp("valid"))


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """One to four changes of some bytes."""
    changes = draw(st.lists(st.tuples(st.sampled_from("fidc"), st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4))

    def apply(data: bytes) -> bytes:
        for kind, place, some in changes:
            at = int(place * len(data))
            if kind == "f":
                data = data[:at] + some + data[at + len(some) :]
            elif kind == "i":
                data = data[:at] + some + data[at:]
            elif kind == "d":
                data = data[:at] + data[at + 64 * len(some) :]
            else:
                data = data[:at] + data[max(0, at - 64) :]
        return data

    return apply


def read_or_refuse(read: Callable[[Path], object], path: Path) -> None:
    try:
        read(path)
    except (InputError, ArgumentError) as error:
        assert "\n" not in str(error) or len(getattr(error, "errors", [])) > 1
        assert path.stem in str(error) or str(path.parent) in str(error)


@pytest.mark.parametrize("kind", ["npy", "npz", "ply", "obj", "stl", "glb", "vti", "toml", "report"])
@given(change=damage())
def test_a_broken_file_is_read_or_refused_in_one_line(kind, change, files, tmp_path_factory):
    source, read = files[kind]
    path = tmp_path_factory.mktemp("broken") / source.name
    path.write_bytes(change(source.read_bytes()))
    read_or_refuse(read, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing is written beside it"


@given(change=damage(), place=st.integers(0, 10_000))
def test_a_broken_checkpoint_is_refused_or_is_whole(change, place, zoo_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(zoo_run, folder)
    checkpoints = sorted(file for file in (folder / "checkpoints").rglob("*") if file.is_file())
    path = checkpoints[place % len(checkpoints)]
    before = path.read_bytes()
    path.write_bytes(change(before))
    try:
        rule = nca3d.load(folder)
    except InputError:
        assert path.read_bytes() != before
        return
    assert path.read_bytes() == before or (rule is not None and len(checkpoints) > 4)


@pytest.fixture(scope="module")
def zoo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one iteration with one checkpoint."""
    folder = tmp_path_factory.mktemp("zoo") / "run"
    config = nca3d.Config(
        target="cross", size=(8, 9, 8), channels=8, hidden=(8,), batch=2, pool_size=4, steps=(2, 3), iterations=1, report=False
    )
    nca3d.train(config.replace(out=str(folder)), progress=False)
    return folder
