"""The cube's library: built on its own, and its structs are those that Python mirrors."""

import pytest
import torch

from nca3d.cube.executor import native
from nca3d.executors import library

pytestmark = pytest.mark.skipif(library.compiler_found() is None, reason="needs a C compiler")


@pytest.mark.slow
def test_compiles_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.delenv("NCA3D_NATIVE", raising=False)
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path))
    monkeypatch.setattr(library, "FLAGS", (*library.FLAGS, "-Wall", "-Wextra", "-Werror"))
    for real, narrow in (("float", False), ("float", True), ("double", False)):
        assert library.build(native.CODE, real, narrow) is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_swapped_field_is_named(dtype, swapped, monkeypatch):
    monkeypatch.delenv("NCA3D_NATIVE", raising=False)
    code = library.load(native.CODE, native.SIGNATURES, {"cube_fields": native.Cube}, dtype)
    with pytest.raises(TypeError, match=r"found external at byte 24 .*, allowed memory at byte 24"):
        library.check_mirror(swapped(native.Cube, "memory", "external"), code.cube_fields)
