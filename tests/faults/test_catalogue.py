"""The catalogue is whole, and what it names is there."""

import ast
from pathlib import Path

import pytest
from catalogue import ROWS

ROOT = Path(__file__).parents[2]


def test_no_number_is_left_out():
    assert list(ROWS) == [f"{kind}{n}" for kind, last in (("F", 28), ("N", 8), ("B", 29)) for n in range(1, last + 1)]


@pytest.mark.parametrize("row", ROWS)
def test_every_fault_has_its_tests(row):
    _, tests = ROWS[row]
    assert tests
    for name in tests:
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        assert any(isinstance(node, ast.FunctionDef) and node.name == function for node in tree.body), name
