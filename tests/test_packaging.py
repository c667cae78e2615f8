"""What users install: pins that belong together, and a wheel that works without the source tree."""

import configparser
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSES = ("nca3d", "pools", "visualize")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    assert all(len(pair) == 2 for pair in pairs), "one exact version a line"
    return {normal(name): version for name, version in pairs}


def direct() -> set[str]:
    """Names of what setup.cfg asks for itself."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    names = {normal(re.split(r"[<>=!~;\[ ]", line)[0]) for text in lines for line in text.splitlines() if line.strip()}
    return names - {"nca3d"}


def test_constraints_pin_each_direct_dependency_and_nothing_else():
    names = list(pins("constraints.txt"))
    assert set(names) == direct()
    assert names == sorted(names)


def test_the_lock_agrees_with_the_constraints():
    lock = pins("requirements.lock")
    assert {name: lock.get(name) for name in direct()} == pins("constraints.txt")
    assert len(lock) > 2 * len(direct()), "it has what those bring along, too"


def test_both_commands_install_from_the_lock():
    recipe = (ROOT / "Makefile").read_text()
    assert "-c requirements.lock" in recipe
    assert recipe.count("setup.cfg requirements.lock |") == 2, "a new lock installs anew"


def test_system_packages_are_named_and_can_be_refused():
    done = subprocess.run(
        [ROOT / "tools/system_packages.sh", "some-package", "Something is slower."],
        env={**os.environ, "SYSTEM": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "not installed (SYSTEM=0): some-package. Something is slower.\n"
    assert not done.stdout


def tracked() -> list[str]:
    """Files of the packages that git knows."""
    listed = subprocess.run(["git", "ls-files", *HOUSES], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git here")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tracked files, so that nothing that merely lies in the tree can get in."""
    folder = tmp_path_factory.mktemp("source")
    for name in [*tracked(), "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder / "dist", folder]
    subprocess.run(command, check=True, capture_output=True)
    (made,) = (folder / "dist").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that has the wheel, and the libraries of this one after it."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python"]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", wheel], check=True, capture_output=True)
    # A path in a .pth file is appended, and the .pth files there aren't read: this tree's editable install stays unseen.
    (purelib,) = folder.glob("lib/python*/site-packages")
    (purelib / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if name.startswith(HOUSES) and ".dist-info/" not in name}
    assert names == set(tracked())


@pytest.mark.slow
def test_the_wheel_works_in_a_clean_environment(clean, tmp_path):
    def run(program: str, *words: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["NCA3D_CACHE"] = str(tmp_path / "cache")
        command = [clean / "bin" / program, *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    script = """
import nca3d, pools, visualize
from nca3d.config import shipped
print(*(module.__file__ for module in (nca3d, pools, visualize)), sep="\\n")
rule = nca3d.load("zoo:axolotl")
state = nca3d.rollout(rule, nca3d.seed_state(rule), 2)
assert 27 <= int(rule.alive_mask(state).sum()) <= 343
assert len(nca3d.zoo()) == 14 and {"default", "cube", "frog"} <= set(shipped.names())
for name in shipped.names():
    nca3d.Config.load(name)
from nca3d.cube import read_questions
assert len(read_questions("lattice").pairs) == 1612
from nca3d.executors import native_code
assert len(native_code.CODE.files) > 1 and all(file.is_file() for file in native_code.CODE.files)
nca3d.Report({"grow_iou": 0.5}).to_html("report.html")
"""
    for place in run("python", "-c", script).split():
        assert Path(place).is_relative_to(clean), "the installed wheel is used, not the source tree"
    assert "train" in run("nca3d", "--help")
    assert "iterations" in run("nca3d", "train", "cube", "--print-config")
    assert "living cells" in run("nca3d", "doctor")
    run("nca3d", "export", "zoo:axolotl", "--live", "live.html")
    for page, least in (("live.html", 50_000), ("report.html", 3_000)):
        assert (tmp_path / page).stat().st_size > least
