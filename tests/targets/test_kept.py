"""The body goes with the run: whatever becomes of its source, what was trained is what is resumed, evaluated and filmed."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import tiny_body

import nca3d
from nca3d.cli import main
from nca3d.errors import InputError
from nca3d.files import KEPT_TARGET
from nca3d.targets.kept import KeptTarget


@pytest.fixture
def labels() -> np.ndarray:
    voxels = np.zeros((5, 5, 5), np.uint8)
    voxels[1:4, 1:4, 1:4], voxels[2, 2, 4] = 1, 2
    return voxels


@pytest.fixture
def trained(tmp_path: Path, labels: np.ndarray) -> Path:
    """A run of three iterations on a file of one's own."""
    np.save(tmp_path / "castle.npy", labels)
    config = tiny_body(
        target=str(tmp_path / "castle.npy"), iterations=3, damage_count=0, steps=(2, 4), out=str(tmp_path / "run")
    )
    return Path(nca3d.train(config, progress=False).folder)


def same(one: nca3d.Target, other: nca3d.Target) -> bool:
    alike = (one.kind, one.names, one.name) == (other.kind, other.names, other.name)
    palettes = [None if target.palette is None else np.asarray(target.palette).tolist() for target in (one, other)]
    return (
        alike
        and palettes[0] == palettes[1]
        and torch.equal(one.values, other.values)
        and torch.equal(one.occupied, other.occupied)
    )


@pytest.mark.parametrize("name", ["axolotl", "jack", "labels"])
def test_a_kept_body_comes_back_as_it_was(tmp_path, labels, name):
    array = name == "labels"
    target = nca3d.targets.from_array(labels, size=(7, 6, 5)) if array else nca3d.targets.load(name, size=(10, 18, 14))
    path = KeptTarget.of(target, name).write(tmp_path)
    assert same(KeptTarget.read(path).target, target)
    assert same(nca3d.targets.load(path, size=target.size), target)
    with pytest.raises(InputError, match=r"size: found .*allowed .*fitted to that lattice"):
        nca3d.targets.load(path, size=(9, 9, 9))


def test_what_is_no_kept_body_is_refused_in_one_line(tmp_path):
    from safetensors.numpy import save

    for number, data in enumerate((b"", b"{}", save({"values": np.ones((4, 2, 2, 2))}), save({}, {"nca3d.target": "[]"}))):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            nca3d.targets.load(path, size=(2, 2, 2))
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("change", ["gone", "changed", "moved run"])
def test_a_run_goes_on_with_its_own_body(trained, labels, change, capsys):
    """The source gone, or another body under its name; the run in another place: evaluated and resumed all the same."""
    before, source = nca3d.load(trained).target(), trained.parent / "castle.npy"
    if change == "changed":
        np.save(source, np.flip(labels, 2))
    else:
        source.unlink()
    if change == "moved run":
        trained = Path(shutil.move(trained, trained.parent / "elsewhere"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert same(nca3d.load(trained).target(), before)
    told = "castle.npy has changed since the run began; the body is the one that the run keeps"
    assert (told in " ".join(str(warning.message) for warning in said)) == (change == "changed")
    capsys.readouterr()
    assert main(["train", "--resume", str(trained), "--iterations", "4"]) == 0
    assert (told in capsys.readouterr().err) == (change == "changed")
    assert same(nca3d.load(trained).target(), before)


def test_a_body_that_came_as_an_array_is_named_by_its_file(tmp_path, labels):
    config = tiny_body(size="auto", iterations=2, damage_count=0, steps=(2, 4), out=str(tmp_path / "run"))
    run = nca3d.train(config, target=labels, progress=False)
    assert same(run.rule.target(), nca3d.targets.from_array(labels, size="auto"))
    assert nca3d.Config.load(run.folder / "config.toml").target == str(run.folder / KEPT_TARGET)
    shutil.move(run.folder, tmp_path / "moved")
    again = nca3d.train(resume=tmp_path / "moved", iterations=3, progress=False)
    assert same(again.rule.target(), nca3d.targets.from_array(labels, size="auto"))


def test_a_kept_body_that_was_changed_is_refused(trained):
    other = KeptTarget.of(nca3d.targets.load("sphere", size=(7, 7, 7)))
    other.write(trained)
    with pytest.raises(InputError, match=f"{KEPT_TARGET}: size: found .* bytes, allowed .* as the rule's card says"):
        nca3d.load(trained).target()
    # The source would do, if it still gave the same body.
    np.save(trained.parent / "castle.npy", np.ones((3, 3, 3), np.uint8))
    with pytest.raises(InputError, match="target: found another body, or none, allowed the one that the run was trained on"):
        nca3d.train(resume=trained, iterations=4, progress=False)


def test_another_target_on_resuming_is_another_body(trained, capsys):
    np.save(trained.parent / "other.npy", np.full((3, 3, 3), 2, np.uint8) * np.arange(1, 4, dtype=np.uint8).clip(1, 2))
    nca3d.train(
        nca3d.Config.load(trained / "config.toml").replace(target=str(trained.parent / "other.npy"), iterations=4),
        resume=trained,
        progress=False,
    )
    assert nca3d.load(trained).target().occupied.sum() == 27
