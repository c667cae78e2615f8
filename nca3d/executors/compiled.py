"""Builds the C code of `native/` when it is first needed, once for each machine, and keeps what was built.

It takes about two seconds, needs a C compiler (`cc`, or the one that $CC names) and goes to $NCA3D_CACHE, else the user's cache
folder. $NCA3D_NATIVE=0 does without. Where nothing can be built, `rows_torch.py` does the same work, several times slower.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

from nca3d.files import cache_folder, write_whole

FOLDER = Path(__file__).with_name("native")
CUBE = FOLDER.parents[1] / "cube" / "native"
SOURCES = (
    *(FOLDER / name for name in ("rows.c", "network.c", "steps.c")),
    *(CUBE / name for name in ("gmlp.c", "gmlp_cell.c", "gmlp_layers.c", "gmlp_work.c")),
)
HEADERS = (
    *(FOLDER / name for name in ("rows.h", "half.h", "product.h")),
    *(CUBE / name for name in ("gmlp.h", "smooth.h")),
)
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


def build(real: str, narrow: bool = False) -> Path | None:
    """The shared library for REAL = "float" or "double"; None, with a warning that says why, where it can't be had.

    narrow: vectors of half a register, for work on so few samples that half of each would be empty.
    """
    if os.environ.get("NCA3D_NATIVE") == "0":
        return None
    compiler = compiler_found()
    if compiler is None:
        _warn("there is no C compiler (cc, gcc or clang; $CC names another)")
        return None
    folder = cache_folder()
    path = folder / f"rows-{real}{'-narrow' * narrow}-{_digest(compiler)}.so"
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Built beside and put there whole: processes that start together must not load each other's half-written file.
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            made = Path(beside) / "rows.so"
            kind = [f"-DREAL={real}", *["-DFLOATS"] * (real == "float"), *["-DSMALL_VECTORS"] * narrow]
            command = [compiler, *FLAGS, *kind, f"-I{FOLDER}", *map(str, SOURCES), "-o", str(made), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                _warn(f"{compiler} failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
                return None
            write_whole(path, made.read_bytes())
    except OSError as error:
        _warn(f"{folder} can't be written: {error}")
        return None
    return path


def compiler_found() -> str | None:
    """The C compiler's path."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _digest(compiler: str) -> str:
    """Another source, compiler or processor is another library: one built for this one may not run elsewhere."""
    texts = [file.read_text() for file in (*SOURCES, *HEADERS)]
    parts = [*texts, compiler, str(os.stat(compiler).st_mtime_ns), *FLAGS, platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        parts += sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    except OSError:
        parts.append(platform.processor())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _warn(why: str) -> None:
    warnings.warn(
        f"nca3d runs living cells through torch, several times slower than compiled code: {why}. "
        "On Debian: apt-get install gcc libc6-dev",
        RuntimeWarning,
        stacklevel=4,
    )
