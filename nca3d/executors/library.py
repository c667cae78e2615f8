"""Builds C code when it is first needed, once for each machine, keeps what was built, and loads it.

It takes about two seconds, needs a C compiler (`cc`, or the one that $CC names) and goes to $NCA3D_CACHE, else the user's cache
folder. $NCA3D_NATIVE=0 does without. Where nothing can be built, torch does the same work, several times slower.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nca3d.files import cache_folder, write_atomic

# The numbers that code is built for.
REALS = {torch.float32: "float", torch.float64: "double"}

FLAGS = (
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-psabi",
    "-shared",
    "-fPIC",
    "-pthread",
)

# What is called: by name the type of the result, and those of the arguments.
Signatures = Mapping[str, tuple[object, tuple[object, ...]]]


@dataclass(frozen=True)
class Code:
    """The C code of one library.

    Args:
        name: what its files in the cache begin with.
        files: sources, and the headers beside them.
    """

    name: str
    files: tuple[Path, ...]

    def digest(self, compiler: str) -> str:
        """Returns a digest of source, compiler and processor: a library built for this processor may not run on another."""
        texts = [file.read_text() for file in self.files]
        parts = [*texts, compiler, str(os.stat(compiler).st_mtime_ns), *FLAGS, platform.machine()]
        try:
            lines = Path("/proc/cpuinfo").read_text().splitlines()
            # -march=native: what one processor runs may be an illegal instruction on another.
            parts += sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
        except OSError:
            parts.append(platform.processor())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def command(self, compiler: str, real: str, narrow: bool, made: Path) -> list[str]:
        """Returns the command that builds it."""
        kind = [f"-DREAL={real}", *["-DFLOATS"] * (real == "float"), *["-DSMALL_VECTORS"] * narrow]
        folders = dict.fromkeys(f"-I{file.parent}" for file in self.files)
        sources = [str(file) for file in self.files if file.suffix == ".c"]
        return [compiler, *FLAGS, *kind, *folders, *sources, "-o", str(made), "-lm"]


def build(code: Code, real: str, narrow: bool = False) -> Path | None:
    """Builds the shared library, or finds it built; returns None, with a warning that says why, where it can't be had.

    Args:
        code: what is built.
        real: "float" or "double".
        narrow: vectors of half a register, for work on so few samples that half of each would be empty.
    """
    if os.environ.get("NCA3D_NATIVE") == "0":
        return None
    compiler = compiler_found()
    if compiler is None:
        _warn("there is no C compiler (cc, gcc or clang; $CC names another)")
        return None
    folder = cache_folder()
    path = folder / f"{code.name}-{real}{'-narrow' * narrow}-{code.digest(compiler)}.so"
    # Its name holds the digest of all that it is made of: a file of this name is the right one.
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Built beside and put there whole: processes that start together must not load each other's half-written file.
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            made = Path(beside) / "made.so"
            done = subprocess.run(code.command(compiler, real, narrow, made), capture_output=True, text=True, check=False)
            if done.returncode:
                _warn(f"{compiler} failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
                return None
            write_atomic(path, made.read_bytes())
    except OSError as error:
        _warn(f"{folder} can't be written: {error}")
        return None
    return path


def load(
    code: Code,
    signatures: Signatures,
    mirrors: Mapping[str, type[ctypes.Structure]],
    dtype: torch.dtype,
    narrow: bool = False,
) -> ctypes.CDLL | None:
    """Loads the library for a dtype, its functions declared and its structs compared; None where it can't be built.

    Args:
        code: what is built.
        signatures: the functions that are called.
        mirrors: the structs that both sides know, by the C function that lists their fields.
        dtype: float32 or float64.
        narrow: see `build`.

    Raises:
        TypeError: a mirror whose fields are not those of the C struct.
    """
    path = build(code, REALS[dtype], narrow)
    if path is None:
        return None
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    for name, mirror in mirrors.items():
        check_mirror(mirror, getattr(library, name))
    return library


def unavailable(like: Tensor, library: Callable[[torch.dtype], ctypes.CDLL | None]) -> str:
    """Returns why compiled code can't run states like this on this machine, or "".

    Args:
        like: a state of any shape.
        library: loads the library for a dtype.
    """
    if like.device.type != "cpu":
        return f"lies on {like.device.type}, where there is no compiled code"
    if like.dtype not in REALS:
        return f"is in {str(like.dtype).removeprefix('torch.')}, where compiled code knows {', '.join(REALS.values())}"
    return "" if library(like.dtype) else "finds no compiled code: nothing can be built here, and `nca3d doctor` says why"


class _Field(ctypes.Structure):
    """`Field` of fields.h."""

    _fields_ = (("name", ctypes.c_char_p), ("offset", ctypes.c_int64), ("size", ctypes.c_int64))


def check_mirror(mirror: type[ctypes.Structure], layout: "ctypes._NamedFuncPointer") -> None:
    """Compares a mirror with its C struct, field by field in their order: name, offset, size; and the size of the whole.

    Args:
        mirror: the ctypes side.
        layout: a C function that gives `Field`s; the last one has no name, and the size of the struct.

    Raises:
        TypeError: the line names the first field that differs.
    """
    layout.restype, layout.argtypes = ctypes.POINTER(_Field), ()
    fields, number, found = layout(), 0, []
    while fields[number].name is not None:
        found.append((fields[number].name.decode(), fields[number].offset, fields[number].size))
        number += 1
    found.append(("its end", fields[number].offset, fields[number].size))
    places = [(name, getattr(mirror, name)) for name, *_ in mirror._fields_]
    own = [*((name, place.offset, place.size) for name, place in places), ("its end", ctypes.sizeof(mirror), 0)]
    for mine, theirs in zip(own, found, strict=False):
        if mine != theirs:
            words = [f"{name} at byte {offset} of {size} bytes" for name, offset, size in (mine, theirs)]
            raise TypeError(f"{mirror.__module__}.{mirror.__name__}: found {words[0]}, allowed {words[1]} as in C")


def compiler_found() -> str | None:
    """Returns the path of the C compiler; None where there is none."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _warn(why: str) -> None:
    warnings.warn(
        f"nca3d runs cells through torch, several times slower than compiled code: {why}. "
        "On Debian: apt-get install gcc libc6-dev",
        RuntimeWarning,
        stacklevel=4,
    )
