"""`nca3d targets`: a list, the facts of a body, a picture."""

from pathlib import Path

import numpy as np
import pytest
from complaint import complaint

from nca3d.cli import main


@pytest.mark.slow
def test_targets_are_listed_and_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.setenv("NCA3D_RENDERER", "raymarch")
    assert main(["targets"]) == 0
    assert "axolotl" in capsys.readouterr().out
    body = np.zeros((4, 5, 6, 4), np.float32)
    body[1:3, 1:4, 2:5] = (1, 0, 0, 1)
    np.save(tmp_path / "own.npy", body)
    picture = tmp_path / "own.png"
    argv = ["targets", str(tmp_path / "own.npy"), "--size", "8", "8", "8", "--draw", str(picture)]
    assert main(argv) == 0
    said = capsys.readouterr().out
    for words in (
        "18 cells of 8 × 8 × 8",
        "up is +z",
        "1 piece",
        "growth starts at (4, 4, 4)",
        "2 steps",
        "forecast: 2,000 iter",
    ):
        assert words in said, said
    with Image.open(picture) as image:
        assert np.asarray(image).std() > 1
    assert "not-there" in complaint(capsys, "targets", "not-there")
    # several on one sheet: what can't be read is refused after the others are drawn
    np.save(tmp_path / "none.npy", np.zeros((3, 3, 3), int))
    sheet = tmp_path / "sheet.png"
    assert main(["targets", "cross", str(tmp_path / "none.npy"), str(tmp_path / "own.npy"), "--draw", str(sheet)]) == 2
    told = capsys.readouterr()
    assert "18 cells of 4 × 5 × 5" in told.out and "none.npy: labels: found no occupied cell" in told.err
    with Image.open(sheet) as image:
        assert np.asarray(image).std() > 1


def test_a_plugin_of_the_command_brings_its_target(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, registries: object
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import numpy as np\nfrom nca3d.targets import TARGETS\n"
        "@TARGETS.register('mine')\ndef mine(size):\n"
        "    body = np.zeros(size, np.uint8)\n    body[2:4, 2:4, 2:4] = 1\n    return body\n"
    )
    assert main(["targets", "mine", "--size", "6", "6", "6", "--plugins", str(plugin)]) == 0
    assert "8 cells of 6 × 6 × 6" in capsys.readouterr().out
