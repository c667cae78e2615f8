"""Compiled steps are built once, for this machine, and done without where they can't be built."""

import argparse
import ctypes
import platform
import re
import subprocess
import warnings

import pytest
import torch

from nca3d.executors import library, library_cache, native_code
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
    assert first is not None and first.is_new and first.path.parent == tmp_path / "new" / "folder" / "native"
    made = first.path.stat().st_mtime_ns
    again = library.build(CODE, real)
    assert (again.data, again.path, again.is_new) == (first.data, first.path, False)
    assert first.path.stat().st_mtime_ns == made
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]


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


def test_a_cache_that_cannot_be_made(tiny):
    tiny.cache.write_text("")
    for _ in range(2):
        with pytest.warns(UserWarning, match="builds its compiled code anew in each process: .*cache/native: Not a directory"):
            assert "no file" in tiny.works().place


@pytest.mark.slow
def test_a_library_that_was_kept_and_cannot_be_used_any_more_is_built_again(tiny):
    """Say the C library is another one now, or an older nca3d asked for fewer functions."""
    tiny.works()
    good = tiny.file.read_bytes()
    source = "int other(void) { return 1; }"
    bad = tiny.folder / "bad.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-xc", "-", "-o", bad], input=source, text=True, check=True)
    for data in (b"junk", bad.read_bytes()):
        library_cache.keep(tiny.file.name, data)
        tiny.works()
        assert tiny.file.read_bytes() == good


def test_functions_that_are_missing_are_done_without(tiny):
    with pytest.warns(RuntimeWarning, match="through torch.*: the library that was built can't be used: .*missing_function"):
        assert library.load(tiny.code, {"missing_function": (None, ())}, {}, torch.float32) is None
    with pytest.warns(RuntimeWarning, match="through torch.*: the library that was built can't be used: .*some_fields"):
        assert library.load(tiny.code, {}, {"some_fields": native_code.Fire}, torch.float32) is None


def test_sources_that_are_missing_are_named(tiny):
    (tiny.folder / "tiny.c").unlink()
    with pytest.warns(RuntimeWarning, match=f"through torch.*: {tiny.folder}/tiny.c: No such file or directory"):
        assert tiny.load() is None


def doctor(capsys) -> str:
    from nca3d.cli import doctor

    doctor.run(argparse.Namespace(inject=None))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("living cells")]
    return line.removeprefix("living cells").strip()


@pytest.mark.slow
def test_the_doctor_says_what_is_used(tiny, capsys, monkeypatch):
    (file,) = (line.removeprefix("compiled steps in ") for line in (doctor(capsys),))
    assert library.Path(file).parent == tiny.cache / "native" and library.Path(file).is_file()
    (tiny.cache / "native").chmod(0o777)
    assert re.match(rf"compiled steps in no file, but built anew .*: {tiny.cache}/native: can be written to", doctor(capsys))
    monkeypatch.setenv("CC", "false")
    assert re.search(r"through torch, .*: .*/false failed: exit code 1, no message$", doctor(capsys))
    monkeypatch.setenv("NCA3D_NATIVE", "0")
    assert doctor(capsys) == "run through torch (NCA3D_NATIVE=0)"


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("real", ["float", "double"])
def test_instructions_of_another_processor_cost_the_compiled_code_and_not_the_process(real, tmp_path, monkeypatch):
    """A compiler that takes this processor for another one."""
    if platform.machine() != "x86_64" or "avx512f" in library.Path("/proc/cpuinfo").read_text().split():
        pytest.skip("needs a processor without vectors of 512 bits")
    wrapper = tmp_path / "cc"
    wrapper.write_text('#!/bin/sh\nexec gcc "$@" -march=skylake-avx512 -mprefer-vector-width=512\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", str(wrapper))
    with pytest.warns(RuntimeWarning, match=r"made is no use: it crashes \(SIGILL\)"):
        assert library.build(CODE, real) is None


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("NCA3D_NATIVE", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.build(CODE, "float") is None
