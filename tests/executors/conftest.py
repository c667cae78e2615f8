"""A library of one function that builds in a tenth of a second, with a cache and a state folder of its own."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from nca3d.executors import library

TINY = """
#include <stdlib.h>
int answer(void) { return 42; }
void crash(void) { abort(); }
"""
SIGNATURES = {"answer": (ctypes.c_int, ())}


class Tiny:
    """The library, its places, and how it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache, self.state = folder, folder / "cache", folder / "state"
        source = folder / "tiny.c"
        source.write_text(TINY)
        self.code = library.Code("tiny", (source,), ("answer",))

    def load(self) -> library.Library | None:
        return library.load(self.code, SIGNATURES, {}, torch.float32)

    def works(self) -> library.Library:
        found = self.load()
        assert found is not None and found.answer() == 42
        return found

    @property
    def file(self) -> Path:
        """Where it is kept, once it was built."""
        (file,) = (self.cache / "native").glob("tiny-float-*.so")
        return file

    def foreign(self, path: Path) -> Path:
        """Builds a library that leaves a mark when it is loaded, and gives another answer; returns the file of the mark."""
        mark, source = self.folder / "mark", self.folder / "foreign.c"
        source.write_text(
            "#include <stdio.h>\nint answer(void) { return 13; }\n"
            f'__attribute__((constructor)) static void run(void) {{ fclose(fopen("{mark}", "w")); }}\n'
        )
        beside = self.folder / "foreign.so"
        subprocess.run(["cc", "-shared", "-fPIC", source, "-o", beside], check=True)
        shutil.copy(beside, path)
        return mark


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Tiny:
    if library.compiler_found() is None:
        pytest.skip("needs a C compiler")
    monkeypatch.delenv("NCA3D_NATIVE", raising=False)
    made = Tiny(tmp_path)
    monkeypatch.setenv("NCA3D_CACHE", str(made.cache))
    monkeypatch.setenv("XDG_STATE_HOME", str(made.state))
    return made
