"""Registries stay as they are shipped: a test gives back what it registers, and one that does not fails by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nca3d.losses import LOSSES

ROOT = Path(__file__).parents[1]
LEAVES = """
import pools
from nca3d.losses import LOSSES

def test_gives_back(registries):
    LOSSES.register("mine")(lambda moments, target, rule: moments)
    del LOSSES["rgba"]

def test_leaves_a_loss():
    assert "mine" not in LOSSES and "rgba" in LOSSES
    LOSSES.register("left")(lambda moments, target, rule: moments)

def test_leaves_a_damage():
    assert "left" not in LOSSES
    pools.damage.register("left")(lambda size, n, **options: None)

def test_finds_what_is_shipped():
    assert "left" not in LOSSES and "left" not in pools.damage.DAMAGES
"""
AT_IMPORT = """
from nca3d.losses import LOSSES

LOSSES["mine"] = lambda moments, target, rule: moments

def test_nothing():
    assert "mine" in LOSSES
"""


def outcome(folder: Path, tests: str) -> str:
    """What pytest says of a file of tests that stands beside our `conftest.py`."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_it.py").write_text(tests)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rfE",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        folder,
        folder / "test_it.py",
    ]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.mark.slow
def test_a_test_that_leaves_something_in_a_registry_fails(tmp_path):
    said = outcome(tmp_path, LEAVES)
    assert "4 passed, 2 errors" in said, said
    assert "ERROR test_it.py::test_leaves_a_loss" in said and "'nca3d.losses.LOSSES': ['left']" in said, said
    assert "ERROR test_it.py::test_leaves_a_damage" in said and "'pools.damage.DAMAGES': ['left']" in said, said


@pytest.mark.slow
def test_a_file_of_tests_that_registers_something_by_its_import_fails(tmp_path):
    said = outcome(tmp_path, AT_IMPORT)
    assert "1 error" in said and "nca3d.losses.LOSSES: ['mine']: registered by the import of a test" in said, said


@pytest.mark.parametrize("name", [3, "", "my rule\n", None])
def test_a_name_can_stand_in_a_config(name: object, registries: None) -> None:
    with pytest.raises(ValueError, match=r"register: loss: found .*, allowed a name"):
        LOSSES.register(name, moments=1)  # type: ignore[arg-type]
