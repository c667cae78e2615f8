"""`nca3d bench`: bad input is one line each and nothing is measured; what is measured is printed and written."""

import json

import pytest
import torch
from PIL import Image

from nca3d.bench import command, curves, floor
from nca3d.bench.floor import Floor
from nca3d.bench.machine import describe, file_stem, header
from nca3d.bench.results import Row
from nca3d.cli import main
from nca3d.executors import floor as executors_floor

PLAN = ["--plan", "8", "8", "8"]
BAD = {
    "an unknown setting": (["quik"], ["SETTING", "quik", "did you mean 'quick'"]),
    "no threads": (["--threads", "0"], ["--threads", "'0'", "1 to 1024"]),
    "words for numbers": (["--repeats", "many"], ["--repeats", "'many'"]),
    "an unknown device": (["--device", "tpu"], ["--device", "tpu"]),
    "an unknown executor": (["quick", "--executors", "evnt"], ["--executors", "did you mean 'event'"]),
    "a file nowhere": (["--json", "nowhere/x.json"], ["--json", "nowhere"]),
    "a picture of another kind": (["--plot", "x.pdf"], ["--plot", ".png"]),
    "no CAX": (["quick", "--cax", "nowhere"], ["--cax", "nowhere"]),
    "steps without a plan": (["--steps", "3"], ["--steps", "--plan"]),
    "a plan without a batch": ([*PLAN, "--steps", "3"], ["--batch", "nothing"]),
    "a plan of nothing alive": ([*PLAN, "--steps", "3", "--batch", "1", "--living", "0"], ["--living", "'0'"]),
    "a plan and a setting": (["cube", *PLAN, "--steps", "3", "--batch", "1"], ["SETTING", "cube"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, tmp_path, monkeypatch, capsys):
    argv, words = BAD[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "measure_floor", lambda *_: pytest.fail("measured"))
    assert main(["bench", *argv]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert ": found " in line and ", allowed " in line
    assert all(word in line for word in words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--json", "--plot", "--save"])
def test_what_cannot_be_written_is_told_before_anything_is_measured(flag, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "measure_floor", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr("os.access", lambda *_: False)
    assert main(["bench", "quick", flag, str(tmp_path / "x.png")]) == 2
    assert f"bench: {flag}: found {tmp_path / 'x.png'}: {tmp_path} can't be written to" in capsys.readouterr().err


def test_all_that_is_wrong_at_once(capsys):
    assert main(["bench", *PLAN, "--steps", "x", "--batch", "0", "--hidden", "8", "-1", "--channels", "2"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["--steps", "--batch", "--channels", "--hidden"]


@pytest.fixture
def quick_floor(monkeypatch):
    monkeypatch.setattr(executors_floor, "SIDE", 64)
    monkeypatch.setattr(floor, "COPIED", 1 << 16)


@pytest.mark.slow
def test_measures_prints_and_writes(tmp_path, capsys, quick_floor):
    argv = ["quick-cube", "--executors", "event", "--repeats", "1", "--threads", "1", "--no-memory"]
    folder = tmp_path / "new" / "results"
    assert main(["bench", *argv, "--json", str(tmp_path / "all.json"), "--save", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(header(describe(torch.device("cpu"))).split(",")[0])
    for word in (
        "1 thread of",
        f"torch {torch.__version__}",
        "Gflop/s",
        "GB/s",
        "| quick-cube | textbook ",
        "| quick-cube | event bf16",
    ):
        assert word in out
    content = json.loads((tmp_path / "all.json").read_text())
    assert [row["contender"] for row in content["rows"]] == ["textbook", "event", "textbook bf16", "event bf16"]
    assert content["machine"]["threads"] == 1
    assert content["floor"]["float32"] > 0
    assert all(row["floor_share"] > 0 for row in content["rows"])
    names = sorted(path.name for path in folder.iterdir())
    assert [name.rsplit(".")[-1] for name in names] == ["json", "md"]
    assert names[0].startswith(content["machine"]["date"][:10])
    assert "| quick-cube | event " in (folder / names[1]).read_text()


@pytest.mark.slow
def test_json_stands_alone_on_stdout(tmp_path, capsys, quick_floor):
    (tmp_path / "thesis").write_text("years")
    argv = ["quick-cube", "--executors", "event", "--repeats", "1", "--threads", "1", "--no-memory"]
    for suffix in ("json", "md"):
        stem = file_stem({**describe(torch.device("cpu")), "threads": 1})
        (tmp_path / stem).with_suffix(f".{suffix}").symlink_to(tmp_path / "thesis")
    assert main(["bench", *argv, "--json", "-", "--save", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)["rows"]) == 4 and "| quick-cube | textbook " in shown.err
    written = sorted(path for path in tmp_path.iterdir() if path.name != "thesis")
    assert [path.suffix for path in written] == [".json", ".md"] and not any(path.is_symlink() for path in written)
    assert (tmp_path / "thesis").read_text() == "years"


def test_the_file_name_says_when_and_where():
    machine = {"date": "2026-11-25T13:25+00:00", "device": "AMD EPYC(R) 9B14", "threads": 2}
    assert file_stem(machine) == "2026-11-25-amd-epyc-r-9b14-2-threads"


def test_threads_are_given_back(quick_floor):
    before = torch.get_num_threads()
    with command.torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_the_floor_is_measured_and_threads_given_back(quick_floor):
    before = torch.get_num_threads()
    found = floor.measure_floor(torch.device("cpu"), threads=1, repeats=1)
    assert isinstance(found, Floor)
    assert found.threads == 1
    assert min(found.float32, found.bf16, found.bandwidth) > 0
    assert torch.get_num_threads() == before


# ---- curves --------------------------------------------------------------------------------------------------------


def test_points_of_the_curves():
    living, volume = curves.by_living(), curves.by_volume()
    assert {s.size for s in living} == {(64, 64, 64)}
    assert [s.living for s in living] == sorted(s.living for s in living)
    assert (living[0].living, living[-1].living) == (0.005, 0.3)
    assert (volume[0].size, volume[-1].size) == ((32, 32, 32), (128, 128, 128))
    assert all(s.living * s.volume == pytest.approx(curves.BODY) for s in volume)


@pytest.mark.slow
def test_curves_are_measured_and_drawn(tmp_path, monkeypatch, capsys, quick_floor):
    monkeypatch.setattr(curves, "SIDE", 8)
    monkeypatch.setattr(curves, "SHARES", (0.2, 0.3, 0.5))
    monkeypatch.setattr(curves, "SIDES", (8, 10))
    monkeypatch.setattr(curves, "BODY", 100)
    monkeypatch.setattr(curves, "STEPS", 2)
    picture, numbers = tmp_path / "costs.png", tmp_path / "costs.json"
    argv = ["quick-cube", "--executors", "dense", "event", "--repeats", "1", "--no-memory"]
    assert main(["bench", *argv, "--plot", str(picture), "--json", str(numbers)]) == 0
    along = json.loads(numbers.read_text())["curves"]
    assert [row["contender"] for row in along["living"]].count("textbook") == 2, "its cost does not depend on what lives"
    assert {row["contender"] for row in along["volume"]} == {"textbook", "dense", "event", "event compact"}
    assert all(row["training"] for points in along.values() for row in points)
    with Image.open(picture) as image:
        assert image.size[0] > 900


def test_lines_leave_out_what_was_not_measured():
    rows = [Row("a", "x", training=1.0, volume=8), Row("b", "x", volume=27), Row("b", "y", training=2.0, volume=27)]
    assert curves.lines(rows, "volume", "training") == {"x": ([8.0], [1.0]), "y": ([27.0], [2.0])}
