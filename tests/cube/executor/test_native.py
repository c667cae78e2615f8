"""The cube's library: built on its own, and its structs are those that Python mirrors."""

import pytest
import torch

import nca3d
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


def test_a_gradient_that_is_one_number_everywhere_is_read_as_that():
    """The gradient of a sum is one number in memory, expanded: compiled code must not read on behind it."""
    grads = []
    for weigh in (lambda state: state.sum(), lambda state: (state * torch.ones_like(state)).sum()):
        rule = nca3d.GMLPRule((2, 3, 4), preset="cube", generator=torch.Generator().manual_seed(0))
        asked = rule.ask(torch.randn(5, 12, generator=torch.Generator().manual_seed(1)))
        weigh(nca3d.rollout(rule, rule.rest(5), 2, inputs=asked)).backward()
        grads.append([weight.grad for weight in rule.cells.own.values()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
