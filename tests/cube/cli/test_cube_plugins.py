"""A cube's folder runs no code either: its plug-ins run only if the caller names them or has confirmed them."""

import hashlib
from pathlib import Path

import pytest

import nca3d
from nca3d.cli import main
from nca3d.config import plugins, shipped
from nca3d.errors import InputError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that wants to run a file of its own."""
    monkeypatch.setattr(plugins, "state_folder", lambda: tmp_path / "state")
    code = tmp_path / "evil.py"
    code.write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'mark')!r}).touch()")
    folder = tmp_path / "run"
    (folder / "checkpoints" / "step-000001").mkdir(parents=True)
    text = shipped.files()["cube"].read_text()
    (folder / "config.toml").write_text(text.replace("\n[cube]", f"\nplugins = [{str(code)!r}]\n[cube]"))
    return folder


@pytest.mark.parametrize("verb", ["answer RUN why?", "serve RUN --port 0", "export RUN --surface", "evaluate RUN"])
def test_no_verb_runs_the_code_of_a_cubes_folder(verb: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.replace("RUN", str(run)) for word in verb.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    digest = hashlib.sha256((run.parent / "evil.py").read_bytes()).hexdigest()
    assert f"config.toml: plugins: found code that this file wants to run, sha256 {digest}" in line
    assert not (run.parent / "mark").exists() and not (run / "surface").exists()


def test_doors_run_no_code_of_a_cubes_folder(run: Path) -> None:
    for call in (nca3d.Cube.load, nca3d.load, nca3d.evaluate):
        with pytest.raises(InputError, match="plugins: found code that this file wants to run"):
            call(run)
    assert not (run.parent / "mark").exists()


def test_who_names_it_runs_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["answer", str(run), "why?", "--plugins", str(run.parent / "evil.py")]) == 2
    assert "step-000001" in capsys.readouterr().err, "it was run, and what is missing is the checkpoint"
    assert (run.parent / "mark").exists()
