"""Compiled steps are built once, for this machine, and done without where they can't be built."""

import ctypes
import warnings

import pytest
import torch

from nca3d.executors import library, native_code
from nca3d.executors.native_code import CODE


@pytest.fixture(autouse=True)
def compiled_steps_wanted(monkeypatch):
    monkeypatch.delenv("NCA3D_NATIVE", raising=False)


needs_compiler = pytest.mark.skipif(library.compiler_found() is None, reason="needs a C compiler")


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("real", ["float", "double"])
def test_built_once_and_found_again(real, tmp_path, monkeypatch):
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "new" / "folder"))
    first = library.build(CODE, real)
    assert first is not None and first.parent == tmp_path / "new" / "folder"
    made = first.stat().st_mtime_ns
    assert library.build(CODE, real) == first
    assert first.stat().st_mtime_ns == made
    assert [path.name for path in first.parent.iterdir()] == [first.name]


@pytest.mark.slow
@needs_compiler
def test_compiles_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path))
    monkeypatch.setattr(library, "FLAGS", (*library.FLAGS, "-Wall", "-Wextra", "-Werror"))
    assert library.build(CODE, "float") is not None
    assert library.build(CODE, "float", narrow=True) is not None
    assert library.build(CODE, "double") is not None


@needs_compiler
@pytest.mark.parametrize("flags", ["-mno-avx512f -mno-avx2", "-mno-avx512bf16"])
def test_other_processors_compile_too(flags, tmp_path, monkeypatch):
    if "avx512_bf16" not in " ".join(library.Path("/proc/cpuinfo").read_text().split()):
        pytest.skip("another kind of processor")
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path))
    monkeypatch.setattr(library, "FLAGS", (*library.FLAGS, *flags.split(), "-Wall", "-Wextra", "-Werror"))
    assert library.build(CODE, "float") is not None


@needs_compiler
def test_the_body_does_not_need_the_cube():
    folders = {file.parent for file in CODE.files}
    assert folders == {native_code.FOLDER} and all(file.is_file() for file in CODE.files)


@needs_compiler
@pytest.mark.parametrize(
    ("mirror", "fields", "swaps"),
    [
        (native_code.Fire, "fire_fields", ("seed", "step")),
        (native_code.Sight, "sight_fields", ("kernels", "stride")),
        (native_code.Part, "part_fields", ("step", "stop")),
    ],
)
def test_a_swapped_field_is_named(mirror, fields, swaps, swapped):
    layout = getattr(library.load(CODE, {}, {}, torch.float32), fields)
    library.check_mirror(mirror, layout)
    one, other = swaps
    with pytest.raises(TypeError, match=f"{mirror.__name__}: found {other} at byte .*, allowed {one} at byte .* as in C"):
        library.check_mirror(swapped(mirror, one, other), layout)


@needs_compiler
def test_another_width_and_a_missing_field_are_named():
    layout = library.load(CODE, {}, {}, torch.float32).fire_fields

    def changed(*fields):
        return type("Other", (ctypes.Structure,), {"_fields_": fields})

    first, seed, *others = native_code.Fire._fields_
    with pytest.raises(TypeError, match="found seed at byte 8 of 8 bytes, allowed seed at byte 8 of 4 bytes"):
        library.check_mirror(changed(first, ("seed", ctypes.c_uint64), *others), layout)
    with pytest.raises(TypeError, match=r"found its end at byte 24 .*, allowed ids at byte 24"):
        library.check_mirror(changed(first, seed, *others[:-1]), layout)


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
        assert library.build(CODE, "float") is None


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "file"))
    if library.compiler_found():
        with pytest.warns(RuntimeWarning, match="can't be written"):
            assert library.build(CODE, "float") is None


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("NCA3D_NATIVE", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.build(CODE, "float") is None
