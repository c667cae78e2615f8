"""Builds C code when it is first needed, once for each machine, and loads it.

A build takes about two seconds and a C compiler (`cc`, or the one that $CC names). The library is kept in $NCA3D_CACHE, or else
in the user's cache folder. $NCA3D_NATIVE=0 turns compiled code off. Where nothing can be built, torch does the same work,
several times slower.
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

# The dtypes that code is built for, as C names them.
REALS = {torch.float32: "float", torch.float64: "double"}

# -march=native: vectors as wide as this processor has them. -ffp-contract=fast: a · b + c in one instruction. The two -fno give
# up errno and traps, which keep loops from using vectors. No -ffast-math: sums must keep their order, and NaN must stay NaN.
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

# The functions that Python calls, by name: the type of the result, and the types of the arguments.
Signatures = Mapping[str, tuple[object, tuple[object, ...]]]


@dataclass(frozen=True)
class Code:
    """The C code of one library.

    Args:
        name: The beginning of its file names in the cache.
        files: The sources, and the headers beside them.
    """

    name: str
    files: tuple[Path, ...]

    def digest(self, compiler: str) -> str:
        """Returns a digest of all that decides what the library is: source, compiler, flags and processor."""
        texts = [file.read_text() for file in self.files]
        parts = [*texts, compiler, str(os.stat(compiler).st_mtime_ns), *FLAGS, platform.machine()]
        try:
            lines = Path("/proc/cpuinfo").read_text().splitlines()
            # With -march=native, what one processor runs may be an illegal instruction on another that shares the cache.
            parts += sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
        except OSError:
            parts.append(platform.processor())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def command(self, compiler: str, real: str, narrow: bool, output: Path) -> list[str]:
        """Returns the command that builds the library as the file `output`; `build` says what the others mean."""
        kind = [f"-DREAL={real}", *["-DFLOATS"] * (real == "float"), *["-DSMALL_VECTORS"] * narrow]
        folders = dict.fromkeys(f"-I{file.parent}" for file in self.files)
        sources = [str(file) for file in self.files if file.suffix == ".c"]
        return [compiler, *FLAGS, *kind, *folders, *sources, "-o", str(output), "-lm"]


def build(code: Code, real: str, narrow: bool = False) -> Path | None:
    """Returns the file of the shared library, built if need be; None, with a warning that says why, where that fails.

    Args:
        code: The code to build.
        real: The type of numbers, "float" or "double".
        narrow: Whether to use vectors of half a register, for so few samples that half of each vector would be empty.
    """
    if os.environ.get("NCA3D_NATIVE") == "0":
        return None
    compiler = compiler_found()
    if compiler is None:
        _warn("there is no C compiler (cc, gcc or clang; $CC names another)")
        return None
    folder = cache_folder()
    path = folder / f"{code.name}-{real}{'-narrow' * narrow}-{code.digest(compiler)}.so"
    # The name holds the digest of all that it is made of, so a file of this name is the right one.
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Built elsewhere and put in place whole: processes that start together must not load a half-written file.
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            output = Path(beside) / "built.so"
            process = subprocess.run(code.command(compiler, real, narrow, output), capture_output=True, text=True, check=False)
            if process.returncode:
                _warn(f"{compiler} failed: {(process.stderr.strip().splitlines() or ['no message'])[0]}")
                return None
            write_atomic(path, output.read_bytes())
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
    """Returns the library for a dtype, with its functions declared and its structs compared; None where it can't be built.

    Args:
        code: The code to build.
        signatures: The functions that Python calls.
        mirrors: The structs that both sides use, each by the name of the C function that lists its fields.
        dtype: The type of numbers, float32 or float64.
        narrow: Whether to use vectors of half a register; see `build`.

    Raises:
        TypeError: The fields of a mirror are not those of its C struct.
    """
    path = build(code, REALS[dtype], narrow)
    if path is None:
        return None
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    # A struct changed on one side alone would be read at wrong places, without a crash.
    for name, mirror in mirrors.items():
        check_mirror(mirror, getattr(library, name))
    return library


def unavailable(like: Tensor, library: Callable[[torch.dtype], ctypes.CDLL | None]) -> str:
    """Returns why compiled code can't run states like this on this machine, or "".

    Args:
        like: A state, of any shape.
        library: Returns the library for a dtype, or None.
    """
    if like.device.type != "cpu":
        return f"lies on {like.device.type}, where there is no compiled code"
    if like.dtype not in REALS:
        return f"is in {str(like.dtype).removeprefix('torch.')}, where compiled code knows {', '.join(REALS.values())}"
    return "" if library(like.dtype) else "finds no compiled code: nothing can be built here, and `nca3d doctor` says why"


class _Field(ctypes.Structure):
    """Mirrors `Field` of fields.h: the place of one field in a struct."""

    _fields_ = (("name", ctypes.c_char_p), ("offset", ctypes.c_int64), ("size", ctypes.c_int64))


def check_mirror(mirror: type[ctypes.Structure], layout: "ctypes._NamedFuncPointer") -> None:
    """Compares a mirror with its C struct, field by field: name, offset and size, and at last the size of the whole.

    Args:
        mirror: The Python side.
        layout: A C function that returns `Field`s; the last one has no name, and the size of the struct.

    Raises:
        TypeError: A field differs; the line names the first one.
    """
    layout.restype, layout.argtypes = ctypes.POINTER(_Field), ()
    fields, number, c_fields = layout(), 0, []
    while fields[number].name is not None:
        c_fields.append((fields[number].name.decode(), fields[number].offset, fields[number].size))
        number += 1
    c_fields.append(("its end", fields[number].offset, fields[number].size))
    places = [(name, getattr(mirror, name)) for name, *_ in mirror._fields_]
    fields_here = [*((name, place.offset, place.size) for name, place in places), ("its end", ctypes.sizeof(mirror), 0)]
    # Not strict: a list that ends early differs from the other one at its end.
    for here, in_c in zip(fields_here, c_fields, strict=False):
        if here != in_c:
            texts = [f"{name} at byte {offset} of {size} bytes" for name, offset, size in (here, in_c)]
            raise TypeError(f"{mirror.__module__}.{mirror.__name__}: found {texts[0]}, allowed {texts[1]} as in C")


def compiler_found() -> str | None:
    """Returns the path of the C compiler; None where there is none."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _warn(why: str) -> None:
    """Warns that everything will be slower, and says what to install."""
    warnings.warn(
        f"nca3d runs cells through torch, several times slower than compiled code: {why}. "
        "On Debian: apt-get install gcc libc6-dev",
        RuntimeWarning,
        stacklevel=4,
    )
