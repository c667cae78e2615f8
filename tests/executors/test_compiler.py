"""A compiler may be missing, odd, broken or endless: compiled code where it can be had, else one line with the true cause."""

import os
import shutil
import stat
import time
import warnings
from pathlib import Path

import pytest

from nca3d.executors import compiler
from nca3d.files import is_running


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


# Finds the place of the output among the arguments.
OUTPUT = 'while [ "$1" != -o ]; do shift; done; out=$2; '


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("echo broken >&2; exit 1", "failed: broken"),
        ("exit 3", "failed: exit code 3, no message"),
        ("exit 0", "made no library"),
        (f"{OUTPUT} : > $out", "made an empty file"),
        (f"{OUTPUT} echo junk, junk and more junk > $out", "no use: file too short"),
        (f"{OUTPUT} head -c 100000 /dev/zero > $out", "no use: invalid ELF header"),
        (f"{OUTPUT} mkfifo $out", "made no library"),
        (f"{OUTPUT} mkdir $out", "made no library"),
        (f"{OUTPUT} ln -s /dev/zero $out", "made no library"),
        (r"printf 'b\377d \033[31mnews\n' >&2; exit 1", r"failed: b\\xffd \[31mnews"),
        ("kill -11 $$", "failed: SIGSEGV"),
        ("echo 'x.c: In function f:' >&2; echo 'x.c:1: error: the cause' >&2; exit 1", "failed: x.c:1: error: the cause"),
        ("echo 'ld: cannot do' >&2; echo 'collect2: error: ld returned 1 exit status' >&2; exit 1", "failed: ld: cannot do"),
        (
            "echo 'x.c: fatal error: stdlib.h: No such file' >&2; exit 1",
            "No such file. On Debian: apt-get install gcc libc6-dev",
        ),
        (f"{OUTPUT} echo 'int other(void) {{ return 1; }}' | cc -shared -xc - -o $out", "no use: .*undefined symbol: answer"),
        # Another machine's: the number of the machine stands at byte 18.
        (
            f'cc "$@"; {OUTPUT} printf "\\363" | dd of=$out bs=1 seek=18 conv=notrunc 2> /dev/null',
            "no use: it is for another kind of machine",
        ),
        (f'cc "$@"; {OUTPUT} head -c 9000 $out > $out.short; mv $out.short $out', "no use: "),
        (
            f"{OUTPUT} echo 'void f(void) __attribute__((constructor)); void f(void) {{ __builtin_trap(); }}'"
            " | cc -shared -xc - -o $out",
            r"no use: it crashes \(SIGILL\)",
        ),
        (f"{OUTPUT} echo 'int answer(void) {{ __builtin_trap(); }}' | cc -shared -xc - -o $out", r"it crashes \(SIGILL\)"),
        (
            f"{OUTPUT} echo '#include <stdlib.h>\nint answer(void) {{ exit(0); }}' | cc -shared -xc - -o $out",
            "no use: it ends the process",
        ),
    ],
)
def test_an_odd_compiler_is_named_and_done_without(text, says, tiny, monkeypatch):
    name = script(tiny.folder / "odd-cc", text)
    monkeypatch.setenv("CC", name)
    with pytest.warns(RuntimeWarning, match=rf"(?s)through torch.*: .*{says}") as said:
        assert tiny.load() is None
    (line,) = said
    assert name in str(line.message) and "\n" not in str(line.message) and str(line.message).isprintable()
    # Nothing of it is kept, so that the next compiler has a fresh start.
    assert not list(tiny.cache.rglob("*.so"))
    monkeypatch.delenv("CC")
    tiny.works()


def test_a_warning_is_the_same_each_time(tiny, monkeypatch):
    """Python shows a warning once only if its text stays: no names of temporary folders in it."""
    texts = set()
    for text in ("pwd >&2; exit 1", f"{OUTPUT} echo $out error >&2; exit 1", f"{OUTPUT} head -c 9999 /dev/zero > $out"):
        monkeypatch.setenv("CC", script(tiny.folder / "odd-cc", text))
        for _ in range(2):
            with pytest.warns(RuntimeWarning) as said:
                assert tiny.load() is None
            texts.add(str(said[0].message))
    assert len(texts) == 3


@pytest.mark.parametrize("name", ["nowhere/cc", "no-such-cc", "/tmp", " ", "'", "gcc '"])
def test_what_is_no_compiler_is_passed_over(name, tiny, monkeypatch):
    monkeypatch.setenv("CC", name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.works()


def test_a_compiler_has_arguments_and_spaces(tiny, monkeypatch):
    tool = tiny.folder / "my tools" / "wrap cc"
    tool.parent.mkdir()
    script(tool, f'echo "$1" >> "{tiny.folder}/said"; [ "$1" = cc ] && shift; exec cc "$@"')
    found = set()
    for name in (str(tool), f"'{tool}' cc -DONE", f"'{tool}' cc -DTWO", "cc -O1"):
        monkeypatch.setenv("CC", name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found.add(tiny.works().place)
    # Each is another library: arguments decide what is built.
    assert len(found) == 4 and (tiny.folder / "said").read_text().split().count("cc") == 2


def test_a_file_that_cannot_be_started(tiny, monkeypatch):
    (tiny.folder / "cc").write_text("neither script nor program")
    (tiny.folder / "cc").chmod(0o755)
    monkeypatch.setenv("CC", str(tiny.folder / "cc"))
    with pytest.warns(RuntimeWarning, match=f"through torch.*: {tiny.folder}/cc: Exec format error"):
        assert tiny.load() is None


def test_a_compiler_for_another_machine(tiny, monkeypatch):
    """Where 32-bit code can be built it can't be loaded, and where it can't be built that is said."""
    monkeypatch.setenv("CC", "gcc -m32")
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    with pytest.warns(RuntimeWarning, match=r"gcc -m32 (failed|made is no use): .*(No such file|cannot find|ELFCLASS32)"):
        assert tiny.load() is None


def test_there_is_no_compiler(tiny, monkeypatch):
    monkeypatch.setenv("PATH", str(tiny.folder))
    monkeypatch.delenv("CC", raising=False)
    with pytest.warns(RuntimeWarning, match="there is no C compiler .*apt-get install gcc"):
        assert tiny.load() is None


def test_a_compiler_that_hangs_is_killed_with_all_that_it_started(tiny, monkeypatch):
    pids = tiny.folder / "pids"
    monkeypatch.setattr(compiler, "PATIENCE", 1.0)
    monkeypatch.setenv("CC", script(tiny.folder / "slow-cc", f"echo $$ >> {pids}; sleep 1000 & echo $! >> {pids}; wait"))
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="slow-cc did not end within 1 s"):
            assert tiny.load() is None
    # Asked once: two processes.
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    # The second may still be a zombie that init has not seen.
    assert all(not is_running(pid) or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2] for pid in started)


def test_a_compiler_that_leaves_something_behind_is_not_waited_for(tiny, monkeypatch):
    monkeypatch.setenv("CC", script(tiny.folder / "odd-cc", "setsid sleep 20 & echo gone >&2; exit 1"))
    before = time.monotonic()
    with pytest.warns(RuntimeWarning, match="failed: gone"):
        assert tiny.load() is None
    assert time.monotonic() - before < 15


def test_endless_words_do_not_fill_the_memory(tiny, monkeypatch):
    monkeypatch.setenv("CC", script(tiny.folder / "odd-cc", "head -c 30000000 /dev/zero | tr '\\0' x >&2; exit 1"))
    with pytest.warns(RuntimeWarning, match="failed: x{300}$"):
        assert tiny.load() is None


def test_temporary_files_lie_in_the_folder_of_the_build(tiny, monkeypatch):
    """So that they have room where it has, are nobody else's, and are gone afterwards."""
    text = f'{OUTPUT} [ "$TMPDIR" = "${{out%/*}}" ] && stat -c %a "$TMPDIR" >&2; exit 1'
    monkeypatch.setenv("CC", script(tiny.folder / "odd-cc", text))
    monkeypatch.setattr("tempfile.tempdir", str(tiny.folder / "tmp"))
    (tiny.folder / "tmp").mkdir()
    with pytest.warns(RuntimeWarning, match="failed: 700"):
        assert tiny.load() is None
    assert not list((tiny.folder / "tmp").iterdir())


def test_where_there_is_no_room_another_place_is_taken(tiny, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tiny.folder / "missing"))
    tiny.works()
    # The cache and memory have no room either.
    monkeypatch.setattr(compiler, "ROOM", 10**18)
    tiny.file.unlink()
    with pytest.warns(RuntimeWarning, match="no place to build in: .*missing: No such file or directory"):
        assert tiny.load() is None


def test_what_is_kept_belongs_to_this_user_alone(tiny, monkeypatch):
    before = os.umask(0)
    try:
        tiny.works()
    finally:
        os.umask(before)
    for folder in (tiny.cache / "native", tiny.state / "nca3d" / "native"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
