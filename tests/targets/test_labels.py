"""Labels stay labels: rounded, chosen, merged, and told what has no cell."""

from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from target_laws import one_line

from nca3d.targets import Target, from_array, load
from nca3d.targets.labels import as_labels
from nca3d.targets.volumes import Volume, from_volume, otsu

BODY = np.zeros((8, 10, 12), np.uint8)
BODY[2:6, 3:7, 2:6], BODY[2:4, 3:7, 6:10] = 1, 2


def classes(target: Target) -> np.ndarray:
    return target.values[:-1].argmax(0).numpy()


def of(voxels: np.ndarray, size: object = (10, 12, 14), **options: object) -> Target:
    return from_volume(Volume(voxels, names=options.pop("file_names", None)), size, "own", "own", **{"fit": False} | options)  # type: ignore[arg-type]


@settings(max_examples=examples(30))
@given(
    dtype=st.sampled_from(["u1", "i2", ">u4", "<i8", "f4", ">f8"]),
    off=st.floats(-9e-4, 9e-4),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 99),
)
def test_whole_numbers_are_labels_whatever_their_type(dtype: str, off: float, order: str, seed: int) -> None:
    voxels = BODY.astype(dtype, order=order)
    if voxels.dtype.kind == "f":
        voxels = voxels + (np.random.default_rng(seed).random(BODY.shape) < 0.3) * off
    for target in (of(voxels), from_array(voxels, (10, 12, 14))):
        np.testing.assert_array_equal(classes(target), np.pad(BODY, 1))
        assert any("rounded" in note for note in target.notes) == bool(np.any(voxels != np.rint(voxels)))


def test_minus_one_is_background() -> None:
    counted_from_0 = of(BODY.astype(np.int16) - 1)
    np.testing.assert_array_equal(classes(counted_from_0), np.pad(BODY, 1))
    assert counted_from_0.names == ("empty", "0", "1") and "0, which -1 surrounds, is a label" in counted_from_0.notes[0]
    named = of(BODY.astype(np.int16) - 1, file_names={0: "moss", 1: "bark"})
    assert named.names == ("empty", "moss", "bark")
    unknown = BODY.astype(np.int16)
    unknown[0, 0] = -1
    both = of(unknown)
    np.testing.assert_array_equal(classes(both), np.pad(BODY, 1))
    assert "12 voxels are empty" in both.notes[0]
    one_line(lambda: from_array(BODY.astype(int) * 2 - 2, (10, 12, 14)), "negative", "-2", "background")


def test_nan_is_refused_with_the_way_on() -> None:
    voxels = np.where(np.arange(12) == 0, np.nan, BODY.astype(np.float32))
    for call in (of, lambda voxels, **options: from_array(voxels, (10, 12, 14), **options)):
        one_line(lambda call=call: call(voxels), "80 not finite", "nan = 0")
        target = call(voxels, nan=0)
        np.testing.assert_array_equal(classes(target), np.pad(BODY, 1))
        assert "80 voxels that are NaN are read as 0" in target.notes[0]
        one_line(lambda call=call: call(voxels, nan="0"), "nan", "'0'")
        one_line(lambda call=call: call(np.where(BODY == 1, np.inf, voxels), nan=0), "not finite")


MANY = np.arange(960).reshape(8, 10, 12) % 70 + 1


def test_many_labels_are_refused_with_what_to_choose() -> None:
    for call in (of, lambda voxels, **options: from_array(voxels, (10, 12, 14), **options)):
        one_line(lambda call=call: call(MANY), "70 different labels", "at most 63", "merge = {", "labels = 'commonest'")
        kept = call(MANY, labels="commonest")
        assert len(kept.names) == 64 and "63 of 70 labels are kept; 7 with" in kept.notes[0]
        few = call(MANY, labels=[5, 9])
        assert few.names == ("empty", "5", "9") and int(few.occupied.sum()) == int(np.isin(MANY, (5, 9)).sum())
        one = call(MANY, merge={"low": list(range(1, 40)), "41": [40]})
        assert one.names[1] == "41" and "low" in one.names and len(one.names) == 32
        assert int((classes(one) == one.names.index("low")).sum()) == int((MANY < 40).sum())
        one_line(lambda call=call: call(MANY, labels=[71]), "71", "which no voxel has")
        one_line(lambda call=call: call(MANY, labels="all"), "'all'", "commonest")
        one_line(lambda call=call: call(MANY, merge={"low": [71]}), "merge", "71")
        one_line(lambda call=call: call(MANY, merge=[1]), "merge", "{new = [old, old], …}")


def test_labels_are_chosen_and_merged_by_name() -> None:
    names = {1: "oak", 2: "moss"}
    assert (
        of(BODY, file_names=names, labels=["moss"]).names
        == ("empty", "moss")
        == of(BODY, file_names=names, labels="moss").names
    )
    assert of(BODY, file_names=names, merge={"moss": "oak"}).names == ("empty", "oak")
    assert of(BODY, file_names=names, merge={"tree": ["oak", "moss"]}).names == ("empty", "tree")
    one_line(lambda: of(BODY, file_names=names, labels=["mos"]), "'mos'", "did you mean 'moss'")


def test_grey_values_are_measured_and_regions_are_not() -> None:
    """Whole numbers of more kinds than grey values have: those that run on smoothly are cut, those in regions are refused."""
    z, y, x = np.mgrid[:40, :40, :40] - 20
    grey = np.clip(255 - 12 * np.sqrt(z**2 + y**2 + x**2) + np.random.default_rng(0).integers(0, 20, x.shape), 0, 255).astype(
        np.uint8
    )
    assert as_labels(grey, "own") is None and of(grey, (24, 24, 24), fit=True).kind == "rgb"
    regions = (z // 6 * 13 + y // 6 * 17 + x // 6 * 5) % 150 + 1
    one_line(lambda: of(regions, (24, 24, 24), fit=True), "different labels", "threshold = … cuts measurements")
    assert of(regions, (24, 24, 24), fit=True, threshold=70).kind == "rgb"
    one_line(lambda: of(grey, (24, 24, 24), labels=[1]), "labels", "measurements")


def dusty() -> np.ndarray:
    dust = np.zeros((60, 60, 60), np.uint8)
    dust[10:50, 10:50, 10:50], dust[30, 30, 50], dust[5:7, 5:7, 5:7] = 1, 2, 3
    return dust


@pytest.mark.parametrize("longest", [12, 24])
def test_what_vanishes_is_told_with_the_size_that_shows_it(longest: int) -> None:
    target = of(dusty(), (longest,) * 3, fit=True)
    lost = [name for name in "123" if name not in target.names]
    (note,) = [note for note in target.notes if "no cell" in note]
    assert f"{len(lost)} of 3 labels have no cell at {longest}³: {', '.join(lost)}; " in note
    need = int(note.rpartition("at least ")[2].removesuffix("³"))
    assert of(dusty(), (need,) * 3, fit=True).names == ("empty", "1", "2", "3")
    assert of(dusty(), (need - 1,) * 3, fit=True).names != ("empty", "1", "2", "3")


def test_a_body_thinner_than_a_cell_keeps_its_volume() -> None:
    """At half of a cell's volume it would be nothing: as many cells are filled as its volume makes."""
    lesions = np.zeros((64, 64, 64), bool)
    lesions[::8, ::8, ::8] = lesions[1::8, ::8, ::8] = True
    target = of(lesions, (18, 18, 18), fit=True)
    assert int(target.occupied.sum()) >= lesions.sum() / 64 and "thinner than a cell" in target.notes[0]
    one_line(lambda: of(lesions, (18, 18, 18), fit=True, coverage=0.5), "no occupied cell")


def test_measurements_are_cut_between_dark_and_bright() -> None:
    rng = np.random.default_rng(1)
    two = np.concatenate([rng.normal(0, 1, 4000), rng.normal(10, 1, 500), [1000.0]])
    assert 2 < otsu(two[:-1]) < 8
    scan = np.zeros((20, 20, 20))
    scan[5:15, 5:15, 5:15] = 1.5 + rng.random((10, 10, 10))
    target = of(scan, (22, 22, 22))
    np.testing.assert_array_equal(target.occupied.numpy(), np.pad(scan > 0, 1))
    assert "cut at" in target.notes[0]


def test_names_lie_beside_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", BODY)
    (tmp_path / "own.json").write_text('{"1": "bark", "2": "moss"}')
    target = load(tmp_path / "own.npy", "auto")
    assert target.names == ("empty", "bark", "moss") and any("from own.json" in note for note in target.notes)
    assert load(tmp_path / "own.npy", "auto", names=["empty", "a", "b"]).names[1] == "a"


SHELL = ["labels=[1]", "labels=2", "labels=commonest", "merge={tree=[1,2]}"]
SHELL += ["labels=[bark]", "merge={tree=[bark,moss]}", "labels=bark"]


@pytest.mark.parametrize("options", SHELL)
def test_options_go_through_the_shell(options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nca3d.cli import main

    np.save(tmp_path / "own.npy", BODY)
    (tmp_path / "own.csv").write_text("index,name\n1,bark\n2,moss\n")
    main(["targets", str(tmp_path / "own.npy"), "--target-options", options])
    assert "classes" in capsys.readouterr().out
    assert load(tmp_path / "own.npy", "auto").names == ("empty", "bark", "moss")
