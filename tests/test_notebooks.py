"""Every notebook is committed without outputs, opens nothing but the doors, and runs from its first cell to its last."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import nca3d
import pools
import visualize

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
HOUSES = {"nca3d": nca3d, "pools": pools, "visualize": visualize}


def test_notebooks_stand_in_decades():
    assert [path.stem for path in NOTEBOOKS] == [
        "00_grow",
        "05_training_loop",
        "06_your_own",
        "10_persistent",
        "20_regenerate",
        "30_stability",
        "40_emergence",
        "50_pictures",
        "60_live",
        "70_cube",
        "80_menagerie",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_committed(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert not [cell.source for cell in cells if cell.outputs or cell.execution_count is not None]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_opens_nothing_but_the_doors(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert any(re.search(r"\b(nca3d|pools|visualize)\b", cell) for cell in cells)
    assert not [name for cell in cells for name in behind_the_doors(cell)]


def test_what_lies_behind_the_doors_is_found():
    cell = """%%writefile -a mine.py
import nca3d.losses.terms
import torch.nn.functional as F
from nca3d import registry
from nca3d.cube.answers import say
from visualize.charts.figure import COLOURS
import visualize.render as drawing
nca3d.fire.evaluation_seed(0, 0)
nca3d.evaluation.studies.persistence
nca3d.evaluation.check_laws(rule).worst
nca3d.targets.TARGETS.register("mine")
nca3d.Config.load("default").size.bit_length
pools.damage.DAMAGES["sphere"], pools.pattern.summary
"""
    assert set(behind_the_doors(cell)) == {
        "nca3d.losses.terms",
        "nca3d.registry",
        "nca3d.cube.answers",
        "visualize.charts",
        "visualize.render",
        "nca3d.fire",
        "nca3d.evaluation.studies",
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("NCA3D_QUICK", "1")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4


def behind_the_doors(cell: str) -> Iterator[str]:
    """What a code cell names of ours that no door leads to: imports, and chains of attributes from one of our names on."""
    for node in ast.walk(ast.parse(re.sub(r"\A%%writefile .*", "", cell))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and re.fullmatch(r"\w+(\.\w+)+", ast.unparse(node)):
            names = [ast.unparse(node)]
        yield from filter(None, map(closed, names))


def closed(name: str) -> str | None:
    """The first part of a dotted name that no `__all__` lists; None where doors lead all the way, or to what isn't ours."""
    first, *parts = name.split(".")
    thing, way = HOUSES.get(first), first
    for part in parts:
        if not isinstance(thing, ModuleType):  # beyond the last module one is through the door
            return None
        way += f".{part}"
        # Doors list no wing: it is imported by its name, and has doors of its own.
        if (Path(thing.__file__ or "").parent / part / "wing.py").is_file():
            thing = importlib.import_module(way)
            continue
        if part not in getattr(thing, "__all__", dir(thing)):
            return way
        thing = getattr(thing, part)
    return None
