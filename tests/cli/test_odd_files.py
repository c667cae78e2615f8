"""No command writes through a link, into a pipe or a device, or waits for one: it says so in one line, whatever path it got."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from complaint import complaint
from odd_files import ODD, at_once, plant

import visualize
from nca3d.cli import main
from nca3d.config import Config
from nca3d.reports.folder import write_folder
from nca3d.reports.page import Words
from nca3d.reports.report import Report

# A hard link is a file, and a folder was refused before; each has tests of its own.
REFUSED = [kind for kind, said in ODD.items() if said not in ("", "a folder")]


@pytest.fixture(autouse=True)
def no_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "cache"))
    with at_once():
        yield


def look(folder: Path) -> dict[str, object]:
    """What lies in a folder: the content of files, the kind of all else."""
    return {
        str(path): path.read_bytes() if path.is_file() and not path.is_symlink() else path.lstat()[:2]
        for path in folder.rglob("*")
    }


# ---- places to write to ----------------------------------------------------------------------------------------------

RUN = "zoo:cross"
WRITING = {
    "evaluate --json": ("P", ["evaluate", RUN, "--json", "P"]),
    "bench --json": ("P", ["bench", "quick", "--json", "P"]),
    "tune --json": ("P", ["tune", "tiny", "--json", "P"]),
    "bench --plot": ("P.png", ["bench", "quick", "--plot", "P.png"]),
    "answer --json": ("P", ["answer", "nowhere", "why?", "--json", "P"]),
    "embed --out": ("P", ["embed", "lattice", "--out", "P"]),
    "embed": ("lattice.safetensors", ["embed", "lattice"]),
    "targets --draw": ("P.png", ["targets", "cross", "--draw", "P.png"]),
    "export --live": ("P.html", ["export", RUN, "--live", "P.html"]),
    "export --movie": ("P.html", ["export", RUN, "--movie", "P.html"]),
    "a pvd's folder": ("P_frames", ["export", RUN, "P.pvd"]),
    "render": ("runs/cross.mp4", ["render", RUN]),
    "evaluate": ("runs/evaluate-cross-quick", ["evaluate", RUN]),
    "train --out": ("P", ["train", "--out", "P"]),
    "sweep --out": ("P", ["sweep", "--out", "P"]),
    **{f"render {s}": (f"P{s}", ["render", RUN, "--out", f"P{s}"]) for s in (".mp4", ".gif", ".webp", ".png", ".html")},
    **{
        f"export {s}": (f"P{s}", ["export", RUN, f"P{s}"])
        for s in (".pvd", ".vti", ".glb", ".vox", ".ome.zarr", ".zarr", ".npz", ".nbt", ".schem")
    },
}


@pytest.mark.parametrize("door", WRITING)
def test_no_door_writes_to_what_is_no_file(door: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, argv = WRITING[door]
    (tmp_path / "runs").mkdir()
    for kind in REFUSED:
        if door == "train --out" and kind.startswith("link to a"):
            continue  # below: a folder may be a link
        victim, place = plant(kind, tmp_path, tmp_path / name)
        before = look(tmp_path)
        said = complaint(capsys, *argv).splitlines()
        line = said[0] if door != "answer --json" else next(line for line in said if line.startswith("--json"))
        assert name in line and ": found " in line and ", allowed " in line
        assert ODD[kind] in line or door == "train --out"
        if "--json" in door:
            assert line.endswith("or - for stdout")
        assert look(tmp_path) == before and victim.read_bytes() == b"years"
        place.unlink()
        victim.unlink()


def test_the_usual_devices_are_refused_and_stay(capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: os.lstat(f"/dev/{name}")[:3] for name in ("null", "stdout", "full")}
    for name in before:
        assert f"found /dev/{name}, which is a " in complaint(capsys, "evaluate", RUN, "--json", f"/dev/{name}")
    assert before == {name: os.lstat(f"/dev/{name}")[:3] for name in before}


def test_it_is_told_before_torch_loads(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "P.png")
    verbs = [
        ["evaluate", RUN, "--json", "P.png"],
        ["bench", "--json", "P.png"],
        ["tune", "tiny", "--json", "P.png"],
        ["targets", "cross", "--draw", "P.png"],
        ["render", RUN, "--out", "P.png"],
        ["embed", "lattice", "--out", "P.png"],
    ]
    code = f"import sys; from nca3d.cli import main; codes = [main(v) for v in {verbs}]; print(codes, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{[2] * len(verbs)} False\n"


# What is written without a command, at a path of the user's: (suffix, call).
BODY = np.pad(np.ones((3, 3, 3, 4)), ((2, 2), (2, 2), (2, 2), (0, 0)))
CALLS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "Config.save": (".toml", lambda path: Config().save(path)),
    "Report.to_json": (".json", lambda path: Report({"grow_iou": 1.0}).to_json(path)),
    "save .npz": (".npz", lambda path: visualize.save(BODY, path)),
    "save .vox": (".vox", lambda path: visualize.save(BODY, path)),
    "save .zarr": (".zarr", lambda path: visualize.save(BODY, path)),
    "animate": (".gif", lambda path: visualize.animate(BODY[None], path, size=64, renderer="raymarch")),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_call_does(call: str, tmp_path: Path) -> None:
    suffix, write = CALLS[call]
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    for kind in REFUSED:
        victim, place = plant(kind, tmp_path, tmp_path / f"P{suffix}")
        with pytest.raises(ValueError, match=rf": found {ODD[kind]}\b.*, allowed "):
            write(place)
        assert victim.read_bytes() == b"years" and os.path.lexists(place)
        place.unlink()
    if suffix == ".zarr":
        return
    victim, place = plant("hard link", tmp_path, tmp_path / f"P{suffix}")
    write(place)
    assert victim.read_bytes() == b"years" and len(place.read_bytes()) > 5


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "device"])
def test_what_is_planted_in_a_report_is_replaced(kind: str, tmp_path: Path) -> None:
    """Hours of evaluation are behind it: a planted link must not cost them."""
    folder = tmp_path / "report"
    folder.mkdir()
    figure = visualize.curves([{"iteration": n, "loss": 1.0 / n} for n in (1, 2, 3)])
    for name in ("report.json", "report.md", "report.html", "curves.png"):
        victim, _ = plant(kind, tmp_path, folder / name)
    write_folder(folder, Report({"grow_iou": 1.0}), lambda *_: Words("a body", "it grew", [], [], ""), [("curves", figure)])
    for name in ("report.json", "report.md", "report.html", "curves.png"):
        assert (folder / name).is_file() and not (folder / name).is_symlink() and len((folder / name).read_bytes()) > 20
    assert victim.read_bytes() == b"years" and not (tmp_path / "nothing").exists()


def test_compare_replaces_what_is_planted_and_follows_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    victim, _ = plant("link", tmp_path, tmp_path / "disk" / "compare.md")
    Report({"grow_iou": 1.0}).to_json(tmp_path / "a.json")
    assert main(["compare", "a.json", "--out", "out"]) == 0
    assert capsys.readouterr().err == "" and victim.read_bytes() == b"years"
    assert (tmp_path / "disk" / "compare.md").read_text().startswith("| measure | a.json |")


# ---- places to read from ---------------------------------------------------------------------------------------------

TARGETS = [".npy", ".npz", ".ply", ".obj", ".stl", ".glb", ".vti", ".nii", ".nii.gz", ".vox", ".nbt", ".schem", ".litematic"]
READING = {
    "config": ("P.toml", ["train", "P.toml"]),
    "plug-in": ("P.py", ["train", "--plugins", "P.py"]),
    "questions": ("P.jsonl", ["train", "cube", "--questions", "P.jsonl"]),
    "questions to embed": ("P.jsonl", ["embed", "P.jsonl"]),
    "teacher": ("P", ["train", "cube", "--teacher", "P"]),
    "config of a teacher": ("T/config.json", ["train", "cube", "--teacher", "T"]),
    "rule in a file": ("P.py", ["evaluate", "P.py:Rule"]),
    "run": ("P", ["evaluate", "P"]),
    "run to begin with": ("P", ["train", "--init", "P"]),
    "run to resume": ("P", ["train", "--resume", "P"]),
    "config of a run": ("T/config.toml", ["evaluate", "T"]),
    "config of a run to resume": ("T/config.toml", ["train", "--resume", "T"]),
    "manifest": ("T/manifest.json", ["evaluate", "T"]),
    "report": ("P.json", ["compare", "P.json"]),
    "report of a run": ("T/report.json", ["compare", "T"]),
    "cube": ("T/rule.json", ["answer", "T", "why?"]),
    "python of a peer": ("P", ["bench", "quick", "--no-memory", "--cax", "./P"]),
    **{f"target {s}": (f"P{s}", ["targets", f"P{s}"]) for s in TARGETS},
}


@pytest.mark.parametrize("door", READING)
def test_no_door_waits_for_what_is_no_file(door: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, argv = READING[door]
    (tmp_path / "T").mkdir()
    for kind in ("pipe", "socket", "device", "folder", "link to nothing", "link to a pipe", "link to a device"):
        _, place = plant(kind, tmp_path, tmp_path / name)
        before = look(tmp_path)
        (line,) = complaint(capsys, *argv).splitlines()
        assert Path(name).parts[0] in line and ": found " in line and ", allowed " in line
        assert look(tmp_path) == before
        place.rmdir() if kind == "folder" else place.unlink()


def test_a_link_to_a_file_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "body.npy", np.ones((3, 3, 3), int))
    (tmp_path / "link.npy").symlink_to("body.npy")
    (tmp_path / "own.toml").write_text("iterations = 7\n")
    (tmp_path / "link.toml").symlink_to("own.toml")
    assert main(["targets", "link.npy"]) == 0 and main(["train", "link.toml", "--print-config"]) == 0
    assert "27 cells" in (text := capsys.readouterr().out) and "iterations = 7 " in text
