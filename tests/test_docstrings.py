"""Docstrings of public names can be read by a stranger: sentences, shapes of arrays, what is raised.

The form is ruff's to check (Google's convention, `make check`); this asks what a linter doesn't know.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for house in ("nca3d", "pools", "visualize") for path in (ROOT / house).rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef

# What these return depends on a name that only who calls knows, or is of the type of the dataclass field that it describes.
BY_NAME = {
    "nca3d/registry.py: load",
    "nca3d/registry.py: find",
    "nca3d/evaluation/laws/subject.py: attribute",
    "nca3d/schema/record.py: required",
    "nca3d/schema/record.py: optional",
}

# Annotations of arrays, whose docstring says which axes they have, and errors that a docstring of who raises them names.
ARRAYS = re.compile(r"\b(Tensor|NDArray|ndarray|FloatArray|BoolArray|Picture|Numbers|ArrayLike)\b")
SHAPE = re.compile(r"\([A-Za-z0-9·+×−…, /k*-]*,[A-Za-z0-9·+×−…, /k*-]*\)|\bscalar\b|\bany shape\b|\bsame shape\b|\(…")
ERRORS = {"InputError", "ArgumentError", "RunError", "ValueError", "TypeError", "ImportError"}


class Name(NamedTuple):
    """A public name: where it stands, what its docstring says, and the class around it."""

    where: str
    node: ast.AST
    text: str
    owner: ast.ClassDef | None


def names(path: Path) -> Iterator[Name]:
    """The module, its public classes and functions, and their public methods."""
    where = str(path.relative_to(ROOT))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield Name(where, tree, ast.get_docstring(tree) or "", None)

    def inside(body: list[ast.stmt], owner: ast.ClassDef | None) -> Iterator[Name]:
        for node in body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                text = ast.get_docstring(node) or ""
                if text or not isinstance(node, Function) or owner is None:  # an override may leave it to its base
                    yield Name(f"{where}:{node.lineno}: {node.name}", node, text, owner)
                if isinstance(node, ast.ClassDef):
                    yield from inside(node.body, node)

    yield from inside(tree.body, None)


PUBLIC = [name for path in FILES for name in names(path)]
FUNCTIONS = [name for name in PUBLIC if isinstance(name.node, Function)]


def is_overload(node: Function) -> bool:
    return any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)


def annotations(node: Function) -> list[str]:
    """What the arguments of a function and its result are said to be, as it is written."""
    given = node.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    notes = [argument.annotation for argument in arguments if argument is not None] + [node.returns]
    return [ast.unparse(note) for note in notes if note is not None]


def raised(node: ast.AST) -> set[str]:
    """Errors that a function raises itself, not those of functions within it."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            found.add(ast.unparse(child.exc.func).rpartition(".")[2])
        found |= raised(child)
    return found & ERRORS


def test_there_are_names():
    assert {"nca3d/rollout.py", "pools/damage.py", "visualize/render/volume.py"} <= {name.where for name in PUBLIC}
    assert {"seed_state", "iou", "volume", "half_space"} <= {name.where.rpartition(" ")[2] for name in FUNCTIONS}


def test_a_docstring_begins_with_a_sentence():
    """It has at least three words, the first one large, and an end."""
    short = []
    for name in PUBLIC:
        if isinstance(name.node, Function) and is_overload(name.node):
            continue
        line = re.split(r"\n\s*\n", name.text)[0].strip()
        first = re.split(r"(?<=[.!?])\s", line)[0]
        large = re.match(r"[\"'(`]*[A-Z0-9`∂]", line) or re.match(r"(`|[a-z0-9]+ \()", line)
        if len(first.split()) < 3 or not large or not re.search(r"[.!?:)`…]$", line):
            short.append(f"{name.where}: {first}")
    assert not short, "\n".join(short)


def test_arrays_have_their_axes_said():
    """Of arguments and results that are arrays the docstring says the shape, or the docstring of the class does."""
    silent = []
    for name in FUNCTIONS:
        node = name.node
        assert isinstance(node, Function)
        if is_overload(node) or not any(map(ARRAYS.search, annotations(node))):
            continue
        around = ast.get_docstring(name.owner) or "" if name.owner else ""
        if not SHAPE.search(name.text) and not SHAPE.search(around):
            silent.append(name.where)
    assert not silent, "\n".join(silent)


def test_what_is_raised_is_said():
    silent = []
    for name in FUNCTIONS:
        missing = raised(name.node)
        if missing and "Raises:" not in name.text:
            silent.append(f"{name.where}: {', '.join(sorted(missing))}")
    assert not silent, "\n".join(silent)


def test_public_signatures_have_no_any():
    """`Any` switches the type checker off for whoever calls: `object`, a protocol or the type itself says what may come."""
    bare = []
    for name in FUNCTIONS:
        node = name.node
        assert isinstance(node, Function)
        if "staticmethod" in map(ast.unparse, node.decorator_list) and any(a.arg == "ctx" for a in node.args.args):
            continue  # torch's own protocol: torch.autograd.Function
        if any(note.strip("'\"") == "Any" for note in annotations(node)):
            bare.append(re.sub(r":\d+", "", name.where))
    assert set(bare) == BY_NAME


@pytest.mark.parametrize("word", ["into_x", "likest", "theirs", "lend", "hears", "worth of"])
def test_no_dialect(word):
    assert not [name.where for name in PUBLIC if re.search(rf"\b{word}\b", name.text)]
