"""The rooms of `visualize`: who may import whom, no circles, and doors that stay what they are whatever is imported."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import visualize

ROOT = Path(visualize.__file__).parent
SHARED = {"arguments", "clock", "errors", "fields", "files", "frames"}
#: What a room may import beside itself and what all share.
MAY = {"": set(), "render": set(), "charts": set(), "film": {"render", "charts"}, "formats": {"render"}, "viewer": set()}


def imports() -> dict[str, set[str]]:
    """Every file of the rooms and what it imports of them, late imports too: {"film.animate": {"frames", "film.studio", …}}."""
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
    files = {name.removesuffix(".__init__"): path for name, path in files.items() if name != "__init__"}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "visualize":
                within = (node.module or "").removeprefix("visualize").removeprefix(".")
                for alias in node.names:
                    inner = f"{within}.{alias.name}".removeprefix(".")
                    found[name].add(inner if inner in files else within)
            assert not (isinstance(node, ast.Import) and any(a.name.startswith("visualize") for a in node.names)), path
    return found


def test_arrows_between_rooms_point_one_way_without_circles() -> None:
    graph = imports()
    assert {name for name in graph if "." not in name} == SHARED | set(MAY) - {""}
    for name, wanted in graph.items():
        room = "" if name in SHARED else name.split(".")[0]
        for other in wanted - SHARED:
            assert other.split(".")[0] in MAY[room] | ({room} - {""}), f"{name} imports {other}"
    TopologicalSorter(graph).prepare()  # CycleError names a circle


def test_doors_stay_functions_after_every_file_was_imported() -> None:
    code = (
        "import importlib, pkgutil, types, visualize\n"
        "for found in pkgutil.walk_packages(visualize.__path__, 'visualize.'): importlib.import_module(found.name)\n"
        "for place in (visualize, *(getattr(visualize, room) for room in visualize._ROOMS)):\n"
        "    modules = {name for name in place.__all__ if isinstance(getattr(place, name), types.ModuleType)}\n"
        "    assert modules == ({'viewer'} if place is visualize else set()), (place, modules)\n"
        "import visualize.render.volume\n"
        "assert callable(visualize.volume) and callable(visualize.viewer.movie)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_doors_are_late_listed_and_typed() -> None:
    code = (
        "import sys, visualize\n"
        "assert not {'numpy', 'visualize.render', 'visualize.viewer'} & set(sys.modules)\n"
        "assert {*visualize.__all__, 'film'} <= set(dir(visualize)) and not hasattr(visualize, 'volumes')\n"
        "from visualize import *\n"
        "assert volume is visualize.volume and viewer is visualize.viewer\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: f"{node.module}" for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    doors = {name: f"visualize.{home}" for name, home in visualize._HOMES.items()}
    assert typed == doors | dict.fromkeys(visualize._ROOMS, "visualize")
    assert set(visualize.__all__) == {*doors, "viewer"}
