"""Numbers and files that flags name are refused before anything is done."""

from argparse import Namespace
from pathlib import Path

import pytest

from nca3d.cli.flags import SEEDS, wrong_file, wrong_folder, wrong_numbers


def test_numbers() -> None:
    args = Namespace(steps=0, every=None, fps=float("nan"), random_seed=1 << 32, pixels=64)
    found = wrong_numbers(args, steps=(1, None), every=(1, None), fps=(0.1, 60), random_seed=SEEDS, pixels=(64, 4096))
    assert [str(error) for error in found] == [
        "--steps: number: found 0, allowed 1 or more",
        "--fps: number: found nan, allowed 0.1 to 60",
        "--random-seed: number: found 4294967296, allowed 0 .. 2**32 - 1",
    ]


@pytest.mark.parametrize(
    ("check", "name", "field"),
    [
        (wrong_file, "new.json", ""),
        (wrong_file, "there.json", ""),
        (wrong_file, "", "file"),
        (wrong_file, "none/new.json", "file"),
        (wrong_folder, "", ""),
        (wrong_folder, "a/b/c", ""),
        (wrong_folder, "there.json", "folder"),
        (wrong_folder, "there.json/a", "place"),
    ],
)
def test_places(check, name: str, field: str, tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("{}")
    assert [error.field for error in check("--out", tmp_path / name)] == ([field] if field else [])
    assert not list(check("--out", None))
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
