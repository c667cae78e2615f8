"""`pools` is a leaf: torch and the standard library alone."""

import subprocess
import sys
from pathlib import Path

import pytest

import pools


@pytest.mark.slow
def test_nothing_else_is_imported():
    look = (
        "import sys, torch; before = set(sys.modules); import pools; new = set(sys.modules) - before;"
        "print(*{name.split('.')[0] for name in new} - sys.stdlib_module_names)"
    )
    house = Path(pools.__path__[0]).parent
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, cwd=house)
    assert set(found.stdout.split()) <= {"pools", "torch"}, found.stdout


def test_public_names_are_documented():
    assert all(getattr(pools, name).__doc__ for name in pools.__all__)
    assert all(damage.__doc__ for damage in pools.damage.DAMAGES.values())
