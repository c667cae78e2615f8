"""A file of the user's named as one of our packages: one line says which, instead of a trace from deep inside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nca3d

ROOT = Path(nca3d.__file__).parents[1]


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def neighbour(folder: Path, name: str, kind: str) -> Path:
    """Makes the user's own file, package or folder `name`, and gives what a line should name."""
    if kind == "file":
        file = folder / f"{name}.py"
    else:
        file = folder / name / "__init__.py"
        file.parent.mkdir()
    file.write_text("mine = 1\n")
    return file


def line(file: Path, name: str) -> str:
    return f"nca3d: import: found {file}, which hides nca3d's own {name}, allowed another name for it"


@pytest.mark.parametrize("kind", ["file", "package"])
@pytest.mark.parametrize("name", ["pools", "visualize"])
def test_a_script_beside_a_file_that_hides_ours(tmp_path: Path, name: str, kind: str) -> None:
    file = neighbour(tmp_path, name, kind)
    (tmp_path / "mine.py").write_text("import nca3d\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder, arguments in ((elsewhere, ["../mine.py"]), (tmp_path, ["-c", "import nca3d"])):  # a notebook is like -c
        told = python(folder, *arguments)
        assert told.returncode == 1
        assert told.stderr.splitlines()[-1] == f"ImportError: {line(file, name)}"


@pytest.mark.parametrize("name", ["pools", "visualize"])
def test_the_command_beside_a_file_that_hides_ours(tmp_path: Path, name: str) -> None:
    file = neighbour(tmp_path, name, "file")
    told = python(tmp_path, "-m", "nca3d", "--help")
    assert (told.returncode, told.stdout, told.stderr) == (2, "", line(file, name) + "\n")
    script = tmp_path / "bin" / "nca3d"  # as pip writes it; a path of the user's own comes first
    script.parent.mkdir()
    script.write_text(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom nca3d.cli import main\nsys.exit(main())\n")
    told = python(ROOT, str(script), "--help")
    assert (told.returncode, told.stdout, told.stderr) == (2, "", line(file, name) + "\n")


@pytest.mark.slow
def test_ours_that_was_imported_first_or_is_alone_is_fine(tmp_path: Path) -> None:
    (tmp_path / "visualise.py").write_text("")
    (tmp_path / "pools").mkdir()  # a folder of data hides nothing: packages go before it
    assert python(tmp_path, "-c", "import pools, visualize, nca3d; visualize.volume, pools.StatePool").returncode == 0
    (tmp_path / "visualize.py").write_text("mine = 1\n")
    late = "import sys; away = sys.path.pop(0); import visualize; sys.path.insert(0, away); import nca3d; visualize.volume"
    assert python(tmp_path, "-c", late).returncode == 0
