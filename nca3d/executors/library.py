"""Builds C code when it is first needed, once for each machine, and loads it.

A build takes about two seconds and a C compiler (`cc`, or the one that $CC names, with arguments if need be). The library is
kept in `native` of $NCA3D_CACHE, or else of the user's cache folder, and its digest in the user's state folder; where they
can't be kept, it is built for one process alone (`library_cache.py`). $NCA3D_NATIVE=0 turns compiled code off. Where nothing
can be built, torch does the same work, several times slower.
"""

import ctypes
import hashlib
import os
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nca3d.executors import library_cache
from nca3d.executors.compiler import PACKAGES, NotBuiltError, compiled, compiler_found, identity, reason
from nca3d.executors.shared_object import Call, open_bytes, refuse_what_crashes

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
        trial: A call that a new library is tried with, in another process. It should have vectors: where a compiler was told of
            another processor, their instructions are what this one may not know.
    """

    name: str
    files: tuple[Path, ...]
    trial: Call

    def digest(self, compiler: Sequence[str]) -> str:
        """Returns a digest of all that decides what the library is: source, compiler, flags and processor."""
        parts = [file.read_bytes() for file in self.files]
        parts += [os.fsencode(part) for part in (*identity(compiler), *FLAGS, platform.machine())]
        try:
            lines = Path("/proc/cpuinfo").read_bytes().splitlines()
            # With -march=native, what one processor runs may be an illegal instruction on another that shares the cache.
            parts += sorted({line for line in lines if line.startswith((b"flags", b"Features", b"model name"))})
        except OSError:
            parts.append(platform.processor().encode())
        return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]

    def arguments(self, real: str, narrow: bool, output: Path) -> list[str]:
        """Returns what a compiler is told to build the library as the file `output`; `build` says what the others mean."""
        kind = [f"-DREAL={real}", *["-DFLOATS"] * (real == "float"), *["-DSMALL_VECTORS"] * narrow]
        folders = dict.fromkeys(f"-I{file.parent}" for file in self.files)
        sources = [str(file) for file in self.files if file.suffix == ".c"]
        return [*FLAGS, *kind, *folders, *sources, "-o", str(output), "-lm"]


@dataclass(frozen=True)
class Built:
    """A library that was built here.

    Attributes:
        data: Its bytes: what was checked, and so what is to be loaded.
        path: The file that it is kept in; None = it was built for this process alone.
        why_not_kept: Why it is kept in no file, or "".
        is_new: Whether it was built just now.
    """

    data: bytes
    path: Path | None
    why_not_kept: str = ""
    is_new: bool = True


class Library(ctypes.CDLL):
    """A loaded library.

    Attributes:
        place: Where it is kept, for people: a path, or why there is none.
    """

    place = ""


def build(code: Code, real: str, narrow: bool = False, again: bool = False) -> Built | None:
    """Returns the shared library, built if need be; None, with a warning that says why, where that fails.

    Args:
        code: The code to build.
        real: The type of numbers, "float" or "double".
        narrow: Whether to use vectors of half a register, for so few samples that half of each vector would be empty.
        again: Whether to build it even if it was built before.
    """
    if os.environ.get("NCA3D_NATIVE") == "0":
        return None
    try:
        return _build(code, real, narrow, again)
    except NotBuiltError as error:
        _warn(str(error))
    except OSError as error:
        _warn(reason(error))
    return None


def _build(code: Code, real: str, narrow: bool, again: bool) -> Built:
    compiler = compiler_found()
    if compiler is None:
        raise NotBuiltError(f"there is no C compiler (cc, gcc or clang; $CC names another). {PACKAGES}")
    # The name holds the digest of all that it is made of, so a library of this name that was built here is the right one.
    name = f"{code.name}-{real}{'-narrow' * narrow}-{code.digest(compiler)}.so"
    why_not_kept = ""
    try:
        kept = None if again else library_cache.kept(name)
        if kept:
            return Built(*kept, is_new=False)
    except OSError as error:
        why_not_kept = reason(error)
    data = compiled(compiler, lambda output: code.arguments(real, narrow, output))
    try:
        refuse_what_crashes(data, code.trial)
    except NotBuiltError as error:
        raise NotBuiltError(f"what {' '.join(compiler)} made is no use: {error}") from None
    if why_not_kept:
        return Built(data, None, why_not_kept)
    try:
        return Built(data, library_cache.keep(name, data))
    # A full disk, or one that can only be read.
    except OSError as error:
        return Built(data, None, reason(error))


def load(
    code: Code,
    signatures: Signatures,
    mirrors: Mapping[str, type[ctypes.Structure]],
    dtype: torch.dtype,
    narrow: bool = False,
) -> Library | None:
    """Returns the library for a dtype, with its functions declared and its structs compared.

    Where it can't be built or loaded the result is None, with a warning that says why.

    Args:
        code: The code to build.
        signatures: The functions that Python calls.
        mirrors: The structs that both sides use, each by the name of the C function that lists its fields.
        dtype: The type of numbers, float32 or float64.
        narrow: Whether to use vectors of half a register; see `build`.

    Raises:
        TypeError: The fields of a mirror are not those of its C struct.
    """
    built = build(code, REALS[dtype], narrow)
    while built is not None:
        try:
            library = _declared(built, signatures, mirrors)
        # No library of this machine's, or one without our functions.
        except (OSError, AttributeError) as error:
            if not built.is_new:
                built = build(code, REALS[dtype], narrow, again=True)
                continue
            _warn(f"the library that was built can't be used: {error}", stacklevel=3)
            return None
        if built.path is None:
            warnings.warn(f"nca3d builds its compiled code anew in each process: {built.why_not_kept}", stacklevel=2)
        return library
    return None


def _declared(built: Built, signatures: Signatures, mirrors: Mapping[str, type[ctypes.Structure]]) -> Library:
    """Returns a library with its functions declared.

    Raises:
        OSError: It can't be loaded.
        AttributeError: It has not all functions.
        TypeError: The fields of a mirror are not those of its C struct.
    """
    library = open_bytes(Library, built.data)
    library.place = str(built.path or f"no file, but built anew in each process: {built.why_not_kept}")
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


def _warn(why: str, stacklevel: int = 4) -> None:
    """Warns that everything will be slower, in the name of whoever called `load`: one place, so that it is shown once."""
    text = f"nca3d runs cells through torch, several times slower than compiled code: {why}"
    warnings.warn(text, RuntimeWarning, stacklevel=stacklevel)
