"""Bytes become a library by the ways that a system has."""

import ctypes
import os
import subprocess
import sys

import pytest

from nca3d.executors import library_cache
from nca3d.executors.compiler import NotBuiltError
from nca3d.executors.shared_object import open_bytes, refuse_what_crashes


@pytest.fixture
def data(tiny) -> bytes:
    tiny.works()
    return tiny.file.read_bytes()


def maps() -> str:
    with open("/proc/self/maps") as file:
        return file.read()


def test_it_lies_in_memory_under_no_path(data):
    before, files = maps().count("memfd:nca3d"), len(os.listdir("/proc/self/fd"))
    assert open_bytes(ctypes.CDLL, data).answer() == 42
    assert maps().count("memfd:nca3d") > before and len(os.listdir("/proc/self/fd")) == files


def test_each_load_is_another_library_whatever_the_number_of_its_file(data, tiny):
    """The system knows libraries by their paths, and numbers of files come again."""
    tiny.foreign(tiny.folder / "other.so")
    other = (tiny.folder / "other.so").read_bytes()
    assert [open_bytes(ctypes.CDLL, data if turn % 2 else other).answer() for turn in range(20)] == [13, 42] * 10


@pytest.mark.parametrize("places", [1, 2])
def test_where_there_are_no_files_in_memory_a_folder_serves(places, data, tiny, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tiny.folder / "tmp"))
    if places == 1:
        (tiny.folder / "tmp").mkdir()
    refuse_what_crashes(data, ("answer",))
    library = open_bytes(ctypes.CDLL, data)
    assert library.answer() == 42
    # The file is gone; the library stays.
    assert not list((tiny.folder / "tmp").glob("*")) and list((tiny.cache / "native").iterdir()) == [tiny.file]
    assert library.answer() == 42


@pytest.mark.parametrize(
    ("junk", "says"), [(b"", "file too short"), (b"junk", "file too short"), (bytes(99_999), "ELF header")]
)
def test_junk_is_an_error_without_a_path(junk, says, tiny):
    with pytest.raises(OSError, match=rf"^\[Errno \d+\] [a-z ]*{says}$"):
        open_bytes(ctypes.CDLL, junk)
    with pytest.raises(NotBuiltError, match=rf"^[a-z ]*{says}$"):
        refuse_what_crashes(junk, ("answer",))


def test_a_library_is_tried_where_python_may_be_started_only(data, monkeypatch):
    crash = ("crash",)
    with pytest.raises(NotBuiltError, match=r"it crashes \(SIGABRT\)"):
        refuse_what_crashes(data, crash)
    for nothing in ("", "/nowhere/python", "/bin/false"):
        monkeypatch.setattr(sys, "executable", nothing)
        refuse_what_crashes(data, crash)


def test_a_trial_imports_nothing_from_the_current_folder(data, tmp_path, monkeypatch):
    (tmp_path / "ctypes.py").write_text("open('mark', 'w')\n")
    (tmp_path / "json.py").write_text("open('mark', 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    refuse_what_crashes(data, ("answer",))
    assert not (tmp_path / "mark").exists()
    subprocess.run([sys.executable, "-c", "import json"], check=True)
    assert (tmp_path / "mark").exists()


def test_arguments_of_a_trial_arrive_as_they_are(tiny, monkeypatch):
    (tiny.folder / "tiny.c").write_text(
        "#include <stdint.h>\n#include <stdlib.h>\n"
        "int answer(double *a, int64_t n, double *b, double x) {"
        " for (int64_t i = 0; i < 8192; i++) if (a[i] != 0 || b[i] != 0) abort();"
        " if (n != -(1LL << 40) || x != 0.5 || a == b) abort(); a[8191] = b[8191] = 1; return 42; }\n"
    )
    code = type(tiny.code)("tiny", tiny.code.files, ("answer", "zeros", -(1 << 40), "zeros", 0.5))
    from nca3d.executors import library

    assert library.build(code, "float") is not None
    with pytest.warns(RuntimeWarning, match=r"crashes \(SIGABRT\)"):
        assert library.build(type(code)("tiny", code.files, ("answer", "zeros", 1, "zeros", 0.5)), "double") is None
    assert library_cache.libraries_folder().is_dir()
