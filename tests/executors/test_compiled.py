"""Compiled steps are built once, for this machine, and done without where they can't be built."""

from __future__ import annotations

import warnings

import pytest

from nca3d.executors import compiled


@pytest.fixture(autouse=True)
def compiled_steps_wanted(monkeypatch):
    monkeypatch.delenv("NCA3D_NATIVE", raising=False)


needs_compiler = pytest.mark.skipif(compiled.compiler_found() is None, reason="needs a C compiler")


@needs_compiler
@pytest.mark.parametrize("real", ["float", "double"])
def test_built_once_and_found_again(real, tmp_path, monkeypatch):
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "new" / "folder"))
    first = compiled.build(real)
    assert first is not None and first.parent == tmp_path / "new" / "folder"
    made = first.stat().st_mtime_ns
    assert compiled.build(real) == first
    assert first.stat().st_mtime_ns == made
    assert [path.name for path in first.parent.iterdir()] == [first.name]


@needs_compiler
def test_compiles_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, "-Wall", "-Wextra", "-Werror"))
    assert compiled.build("float") is not None
    assert compiled.build("float", narrow=True) is not None
    assert compiled.build("double") is not None


@needs_compiler
@pytest.mark.parametrize("flags", ["-mno-avx512f -mno-avx2", "-mno-avx512bf16"])
def test_other_processors_compile_too(flags, tmp_path, monkeypatch):
    if "avx512_bf16" not in " ".join(compiled.Path("/proc/cpuinfo").read_text().split()):
        pytest.skip("another kind of processor")
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, *flags.split(), "-Wall", "-Wextra", "-Werror"))
    assert compiled.build("float") is not None


@pytest.mark.parametrize(
    ("compiler", "says"),
    [("#!/bin/sh\necho broken >&2; exit 1\n", "failed: broken"), (None, "there is no C compiler")],
)
def test_what_is_missing_is_said_once_and_done_without(compiler, says, tmp_path, monkeypatch):
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    if compiler:
        (tmp_path / "cc").write_text(compiler)
        (tmp_path / "cc").chmod(0o755)
    with pytest.warns(RuntimeWarning, match=says):
        assert compiled.build("float") is None


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "file"))
    if compiled.compiler_found():
        with pytest.warns(RuntimeWarning, match="can't be written"):
            assert compiled.build("float") is None


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("NCA3D_NATIVE", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled.build("float") is None
