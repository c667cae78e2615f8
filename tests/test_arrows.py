"""Folders follow the data: who may import whom, read from the imports themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: What stands further right may import what stands further left, never the reverse.
ORDER = [
    {"errors"},
    {"registry", "left_behind"},
    {"lattice", "schema", "configs", "config", "fire", "compact"},
    {"targets", "rules", "teacher"},
    {"executors"},
    {"rollout"},
    {"quality", "answers", "replies", "surface_files", "surface_graph"},
    {"losses"},
    {"from_file", "load", "asking", "surface_folder", "surface_export", "chosen", "training", "evaluation", "bench", "live"},
    {"doctor"},
    {"flags"},
    {"showing"},
    {"render", "export", "answer", "serve"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
DRAWING = (
    "cli.py",
    "doctor.py",
    "render.py",
    "export.py",
    "evaluation/report.py",
    "evaluation/study.py",
    "evaluation/cube_pictures.py",
    "evaluation/cube_report.py",
    "bench/command.py",
    "live/page.py",
    "live/widget.py",
)
PICTURES = ("visualize", "matplotlib", "pyvista", "imageio", "trimesh")


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path, *, top_level_only: bool) -> set[str]:
    """Dotted names that a file imports, `from nca3d.a import b` as nca3d.a; type-checking blocks don't run and don't count."""
    tree, found = ast.parse(path.read_text()), set()
    blocks = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if id(node) in blocks:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "nca3d":
                found |= {f"nca3d.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("leaf", ["pools", "visualize"])
def test_leaves_import_nothing_of_nca3d(leaf):
    for path in sources(leaf):
        assert not [name for name in imports(path, top_level_only=False) if name.split(".")[0] == "nca3d"], path


def test_arrows_point_one_way():
    for path in sources("nca3d"):
        own = path.relative_to(ROOT / "nca3d").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for name in imports(path, top_level_only=True):
            parts = name.split(".")
            if parts[0] == "nca3d" and len(parts) > 1:
                assert parts[1] in RANK, f"{path} imports {name}, which has no place in ORDER"
                assert RANK[parts[1]] <= RANK[own], f"{path} imports {name}, which stands above it"


def test_only_training_evaluation_and_losses_know_pools():
    for path in sources("nca3d"):
        if any(name.split(".")[0] == "pools" for name in imports(path, top_level_only=False)):
            assert path.relative_to(ROOT / "nca3d").parts[0] in ("training", "evaluation"), path


def test_pictures_are_imported_late_and_by_few():
    for path in sources("nca3d"):
        top = {name.split(".")[0] for name in imports(path, top_level_only=True)}
        assert not top & set(PICTURES), f"{path} imports a picture library before it is used"
        inner = {name.split(".")[0] for name in imports(path, top_level_only=False)}
        if "visualize" in inner:
            place = path.relative_to(ROOT / "nca3d").as_posix()
            assert place in DRAWING, place


def test_every_package_says_what_it_holds():
    for package in [
        path for folder in ("nca3d", "pools", "visualize") for path in sources(folder) if path.name == "__init__.py"
    ]:
        assert ast.get_docstring(ast.parse(package.read_text())), package


def test_help_is_quick_to_import():
    """No torch before a command needs it."""
    code = "import nca3d.cli, sys; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'matplotlib', 'pyvista')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_repo_speaks_of_the_project_alone():
    """No machine paths and no one's home in what is shipped."""
    pattern = re.compile(r"/(?:work|root|home)/\w")
    for folder in ("nca3d", "pools", "visualize"):
        for path in sources(folder):
            assert not pattern.search(path.read_text()), path
