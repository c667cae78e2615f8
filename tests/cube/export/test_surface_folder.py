"""`nca3d export --surface`: a folder that answers as its run does, is there whole or not at all, and notices damage."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nca3d import cli
from nca3d.cube.answers import say
from nca3d.cube.ask import Cube
from nca3d.cube.export import write as surface_export
from nca3d.cube.export.folder import SurfaceCube
from nca3d.cube.export.record import read_record, verify
from nca3d.errors import InputError
from nca3d.files import seal, sweep

# They export a trained cube and run it with ONNX Runtime.
pytestmark = pytest.mark.slow

QUESTIONS = ["what is left of the tree", "what is back of the stone", "left or right", "nothing that was ever heard of"]


def test_it_answers_as_the_run_does(run: Path, exported: Path) -> None:
    plain, folder = Cube.load(run), Cube.load(exported)
    assert isinstance(plain, Cube)
    assert isinstance(folder, SurfaceCube)
    for options in ({}, {"random_seed": 9}, {"steps": 3}, {"best": 2}, {"best": 99}):
        wanted, found = plain.ask(QUESTIONS, **options), folder.ask(QUESTIONS, **options)
        assert [[reply.answer for reply in row] for row in found] == [[reply.answer for reply in row] for row in wanted]
        for row, other in zip(found, wanted, strict=True):
            assert [reply.score for reply in row] == pytest.approx([reply.score for reply in other], abs=1e-5)
    assert folder.ask(QUESTIONS[:1])[0][0].answer == "the left one"


def test_it_is_as_sure_as_the_run_is(run: Path, exported: Path) -> None:
    plain, folder = Cube.load(run), Cube.load(exported)
    assert folder.threshold == plain.threshold is not None
    assert folder.samples == plain.samples != ()
    assert [one.sure for one in folder.verdicts(QUESTIONS)] == [one.sure for one in plain.verdicts(QUESTIONS)]


def test_a_folder_of_an_older_version_answers(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "surface"
    shutil.copytree(exported, folder)
    older = {name: value for name, value in read_record(folder).items() if name not in ("threshold", "samples")}
    (folder / "rule.json").write_bytes(seal(older))
    (verdict,) = SurfaceCube.load(folder).verdicts(QUESTIONS[:1])
    assert (verdict.sure, verdict.doubt, verdict.replies[0].answer) == (None, "", "the left one")
    assert SurfaceCube.load(folder).samples == ()


def test_one_question_has_one_answer_whatever_is_asked_beside_it(run: Path, exported: Path) -> None:
    for cube in (Cube.load(run), Cube.load(exported)):
        alone, beside = cube.ask(QUESTIONS[:1])[0], cube.ask([QUESTIONS[1], QUESTIONS[0]])[1]
        assert [reply.answer for reply in alone] == [reply.answer for reply in beside]
        assert [reply.score for reply in alone] == pytest.approx([reply.score for reply in beside], abs=1e-5)


def test_more_questions_than_are_asked_at_once(run: Path, exported: Path) -> None:
    plain, folder = Cube.of_run(run), SurfaceCube.load(exported)
    asked = torch.randn(70, 8, generator=torch.Generator().manual_seed(0))
    wanted, _ = say(plain.rule, asked, 8, random_seed=3, sample_ids=torch.zeros(70, dtype=torch.int64))
    assert (folder.say(asked, random_seed=3) - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def test_what_is_in_it(run: Path, exported: Path) -> None:
    record = read_record(exported)
    verify(exported, record)
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert names - record["files"].keys() == {"rule.json"}
    assert {"rule.safetensors", "cube.onnx", "answers.json", "answers.safetensors", "teacher/teacher.json"} < names
    assert record["threshold"]["score"] == -1.0
    assert [tuple(row.values()) for row in record["samples"]] == list(Cube.of_run(run).samples)
    rule = Cube.of_run(run).rule
    assert {**Cube.load(run).about(), "runtime": 0} == {**Cube.load(exported).about(), "runtime": 0}
    assert record["rule"] == {"name": "gmlp", "options": json.loads(json.dumps(rule.spec()))}
    weights = load_file(exported / "rule.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in rule.state_dict().items())
    assert str(run.parent) not in (exported / "rule.json").read_text(), "no paths of the machine that it was made on"


@pytest.mark.parametrize("how", ["rule.json", "rule.safetensors", "cube.onnx", "teacher/teacher.json", "answers.safetensors"])
def test_a_flipped_bit_is_noticed(how: str, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "surface"
    shutil.copytree(exported, folder)
    data = bytearray((folder / how).read_bytes())
    data[len(data) // 2] ^= 4
    (folder / how).write_bytes(data)
    with pytest.raises(InputError, match=how.replace(".", r"\.")):
        Cube.load(folder)


def test_a_record_that_says_too_little_or_too_much(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "surface"
    shutil.copytree(exported, folder)
    record = read_record(folder)

    def refuses(words: str, **changes: object) -> None:
        (folder / "rule.json").write_bytes(seal({**record, **changes}))
        with pytest.raises(InputError, match=words):
            SurfaceCube.load(folder)

    refuses("format: found 2, allowed 1; update", format=2)
    refuses("horizon: found '8', allowed int", horizon="8")
    refuses("no cube.onnx", files={name: entry for name, entry in record["files"].items() if name != "cube.onnx"})
    refuses("plain file names", files={**record["files"], "../../etc/passwd": {}})
    refuses("teacher", embedding=9)
    (folder / "rule.json").write_bytes(seal(record))
    (folder / "answers.json").unlink()
    with pytest.raises(InputError, match=r"answers\.json: file: found no such file"):
        SurfaceCube.load(folder)


# ---- the command ---------------------------------------------------------------------------------------------------


def test_export_writes_replaces_and_says_so(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine"
    shutil.copytree(exported, target)
    before = target.stat().st_ino
    checkpoint = max((run / "checkpoints").iterdir())
    assert cli.main(["export", str(checkpoint), "--surface", str(target)]) == 0
    size, equal, place = capsys.readouterr().out.splitlines()
    assert "MiB in" in size
    assert "of max|·| from PyTorch" in equal
    assert place == str(target)
    assert target.stat().st_ino != before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"], "nothing is left beside it"
    assert SurfaceCube.load(target).about()["model"] == SurfaceCube.load(exported).about()["model"]


def test_runtimes_are_compared_on_the_same_fire_masks(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    cube = Cube.of_run(run)
    cube.rule.fire_rate = 0.5
    cube.rule.card["horizon"] = 4  # one step more than a signal needs: who fires decides what is said
    assert surface_export.write_surface(cube, tmp_path / "out").furthest < 1e-5


def test_an_export_with_something_beside_it_is_no_export(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, fake, link = tmp_path / "mine", tmp_path / "fake", tmp_path / "link"
    shutil.copytree(exported, mine)
    (mine / "thesis.txt").write_text("years")
    fake.mkdir()
    (fake / "rule.json").write_text("{}")
    link.symlink_to(fake)
    for place, words in ((mine, "other things in it: thesis.txt"), (fake, "other things in it: rule.json"), (link, "a link")):
        assert cli.main(["export", str(run), "--surface", str(place)]) == 2
        assert words in capsys.readouterr().err
    assert (mine / "thesis.txt").exists() and (fake / "rule.json").exists() and link.is_symlink()


def test_what_killed_exports_left_is_put_back_or_removed(run: Path, exported: Path, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = tmp_path / "out [1]"
    shutil.copytree(exported, tmp_path / f".{folder.name}.old-{gone.pid}")  # killed between two renames
    (tmp_path / f".{folder.name}.tmp-{gone.pid}").mkdir()
    busy = tmp_path / f".{folder.name}.tmp-{os.getppid()}"
    busy.mkdir()
    sweep(tmp_path, re.escape(folder.name))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([busy.name, folder.name])
    verify(folder, read_record(folder))


def test_where_it_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nca3d.cube.export import write as surface_export

    places = []
    done = surface_export.Written(Path(), 0, 0.0, 0.0)
    monkeypatch.setattr(surface_export, "write_surface", lambda cube, folder: places.append(folder) or done)
    monkeypatch.chdir(tmp_path)
    checkpoint = str(max((run / "checkpoints").iterdir()))
    for argv in ([str(run), "--surface"], [checkpoint, "--surface"], [str(run), "--surface", "surface"]):
        assert cli.main(["export", *argv]) == 0
    assert places == [run / "surface", run / "surface", Path("surface")]


REFUSED = [
    (["--surface", "{tmp}/full"], "--surface: folder: found {tmp}/full with other things in it"),
    (["--surface", "{tmp}/full/note"], "which is a file"),
    (["--surface", "{tmp}/no/where"], "a name in a folder that exists"),
    (["body.glb", "--surface", "{tmp}/x"], "--surface: file: found other files"),
]


@pytest.mark.parametrize(("argv", "words"), REFUSED, ids=lambda value: " ".join(value)[-30:])
def test_what_cannot_be_exported(
    argv: list[str], words: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    assert cli.main(["export", str(run), *(text.format(tmp=tmp_path) for text in argv)]) == 2
    said = capsys.readouterr()
    assert words.format(tmp=tmp_path) in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert (tmp_path / "full" / "note").read_text() == "mine"


def test_no_cube_no_export(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(exported), "--surface", str(tmp_path / "x")]) == 2
    assert "found what --surface wrote, allowed the run folder" in capsys.readouterr().err
    assert cli.main(["export", "zoo:frog", "--surface", str(tmp_path / "x")]) == 2
    assert "zoo:frog: run folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_the_extra_one_line_names_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nca3d.cube.export import write as surface_export

    monkeypatch.setattr(surface_export, "find_spec", lambda name: None)
    assert cli.main(["export", str(run), "--surface", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err == (
        "--surface: extra: found no onnx, onnxscript, onnxruntime, allowed pip install 'nca3d[export]'\n"
    )
    assert not list(tmp_path.iterdir())


FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
from nca3d.cli import main
sys.exit(main(["export", sys.argv[1], "--surface", sys.argv[2]]))
"""


@pytest.mark.parametrize("room", [100_000, 495_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(room: int, run: Path, exported: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    shutil.copytree(exported, target)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(run), str(target), str(room)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"{target}: not written: File too large; nothing was left behind\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    verify(target, read_record(target))
