"""`nca3d train`: what it prints, and what a resumed run takes from its folder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from complaint import complaint

from nca3d.cli import main
from nca3d.config import Config


def test_print_config_prints_a_config_and_stops(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "--print-config", "--log-every", "4", "--target", 'a "b"\n']) == 0
    file = tmp_path / "own.toml"
    file.write_text(capsys.readouterr().out)
    assert Config.load(file) == Config.load("default").replace(log_every=4, target='a "b"\n')


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for the training loop: remembers what it was asked, and does what `act` says."""
    from nca3d.training import loop

    asked: list[dict[str, Any]] = []

    def train(config: Config, *, resume: Path | None = None, progress: bool = True, **_: object) -> SimpleNamespace:
        asked.append({"config": config, "resume": resume})
        folder = resume or Path(config.out)
        folder.mkdir(exist_ok=True)
        for name in ("report.html", "growth.png", "healing.mp4", "metrics.jsonl"):
            (folder / name).write_text("")
        return SimpleNamespace(folder=folder)

    monkeypatch.setattr(loop, "train", train)
    return asked


def test_train_ends_with_the_paths_of_its_pictures(
    trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "own"
    assert main(["train", "--out", str(out), "--iterations", "3"]) == 0
    assert capsys.readouterr().out.split() == [
        str(out / "growth.png"),
        str(out / "healing.mp4"),
        str(out / "report.html"),
        str(out),
    ]
    assert trained[0]["config"] == Config.load("default").replace(out=str(out), iterations=3)
    assert trained[0]["resume"] is None


def test_resume_takes_the_folders_config_and_the_flags(
    trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Config(channels=12, iterations=5).save(tmp_path / "config.toml")
    (tmp_path / "checkpoints").mkdir()
    assert main(["train", "--resume", str(tmp_path), "--iterations", "9"]) == 0
    assert trained == [{"config": Config(channels=12, iterations=9), "resume": tmp_path}]
    capsys.readouterr()
    assert "--out: found elsewhere" in complaint(capsys, "train", "--resume", str(tmp_path), "--out", "elsewhere")
