"""Child processes end in time, and Python started by nca3d imports nothing that lies in the current folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nca3d
from nca3d.executors.child import python_with_nca3d, run_limited, signal_name

ROOT = Path(nca3d.__file__).parents[1]
LOOK = "import nca3d; print(nca3d.__file__)"


def test_how_a_program_ended():
    assert run_limited(["sh", "-c", "echo said >&2; exit 3"], 10) == (3, "said\n")
    assert run_limited(["sh", "-c", "kill -9 $$"], 10) == (-9, "")
    assert run_limited(["sh", "-c", "echo before >&2; sleep 100"], 0.3) == (None, "before\n")
    assert (signal_name(-9), signal_name(-250)) == ("SIGKILL", "signal 250")


def test_it_has_no_input_and_no_terminal():
    assert run_limited(["sh", "-c", "cat >&2; tty >&2"], 10).text == "not a tty\n"


def test_what_lies_in_the_current_folder_is_not_imported(tmp_path, monkeypatch):
    for name in ("torch", "json", "nca3d"):
        (tmp_path / f"{name}.py").write_text("open('mark', 'w')\n")
    monkeypatch.chdir(tmp_path)
    command, environment = python_with_nca3d()
    done = subprocess.run([*command, "-c", "import json; " + LOOK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == nca3d.__file__ and not (tmp_path / "mark").exists()
    # Without that it is: the files do hide what they are named after.
    subprocess.run([sys.executable, "-c", "import json"], check=True)
    assert (tmp_path / "mark").exists()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["current folder", "PYTHONPATH", "neither"])
def test_a_checkout_that_is_not_installed_is_found(way, tmp_path):
    """Not another nca3d that may be installed: the one that asks."""
    shutil.copytree(ROOT / "nca3d", tmp_path / "nca3d", ignore=shutil.ignore_patterns("__pycache__", "zoo", "live"))
    for name in ("pools", "visualize"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    code = (
        "import subprocess, sys\n"
        + ("import sys; sys.path.insert(0, sys.argv[1])\n" if way == "neither" else "")
        + "from nca3d.executors.child import python_with_nca3d\n"
        "command, environment = python_with_nca3d()\n"
        f"subprocess.run([*command, '-c', {LOOK!r}], env=environment, check=True)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if way == "PYTHONPATH":
        environment["PYTHONPATH"] = str(tmp_path)
    folder = tmp_path if way == "current folder" else "/"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(tmp_path / "nca3d" / "__init__.py"), done.stderr


def test_neighbours_of_an_installed_one_do_not_come_before_pythons_own(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert python_with_nca3d()[1]["PYTHONPATH"] == os.pathsep.join([str(ROOT), "/somewhere"])
    monkeypatch.setattr("site.getsitepackages", lambda: [str(ROOT)])
    assert python_with_nca3d()[1]["PYTHONPATH"] == "/somewhere"


def test_no_other_python_is_started_in_the_house():
    """But peers, whose scripts lie in a folder of their own, which is what Python then looks into first."""
    starts = {}
    for house in ("nca3d", "pools", "visualize"):
        for path in (ROOT / house).rglob("*.py"):
            for line in path.read_text().splitlines():
                if found := re.search(r'\[.*sys\.executable(, "-[PI]"|, str\(worker\))?', line):
                    starts[path.name] = found[1]
    allowed = {
        "child.py": ', "-P"',
        "guard.py": ', "-I"',
        "shared_object.py": ', "-I"',
        "probe.py": ', "-P"',
        "peers.py": ", str(worker)",
    }
    assert starts == allowed
