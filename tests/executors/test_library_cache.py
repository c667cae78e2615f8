"""What lies in a cache is loaded if it was built here, and else built again: nobody else's code runs, and nothing crashes."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from nca3d.executors import library_cache
from nca3d.files import sha256

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True)
def nothing_is_said():
    """No warning, but where a test asks for one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def replaced(file: Path) -> Path:
    file.unlink()
    return file


def big(file: Path) -> None:
    os.truncate(file, library_cache.LARGEST + 1)


def socket_at(file: Path) -> None:
    os.mknod(replaced(file), stat.S_IFSOCK | 0o600)


def linked_to_device(file: Path) -> None:
    replaced(file).symlink_to("/dev/zero")


def linked_to_itself(file: Path) -> None:
    file.rename(file.parents[1] / "same")
    file.symlink_to("../same")


def full_folder(file: Path) -> None:
    replaced(file).mkdir()
    (file / "inside").write_text("")


DAMAGES = {
    "truncated": lambda file: os.truncate(file, 5000),
    "empty": lambda file: os.truncate(file, 0),
    "junk": lambda file: file.write_bytes(os.urandom(9000)),
    "one bit": lambda file: file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1])),
    "missing": lambda file: file.unlink(),
    "too large": big,
    "a pipe": lambda file: os.mkfifo(replaced(file)),
    "a socket": socket_at,
    "a folder": full_folder,
    "a link to a device": linked_to_device,
    "a link to the same bytes": linked_to_itself,
    "a link to nothing": lambda file: replaced(file).symlink_to("nowhere"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("where", ["library", "digest"])
def test_what_is_damaged_is_built_again(damage, where, tiny):
    assert tiny.works().place == str(tiny.file)
    name, good = tiny.file.name, tiny.file.read_bytes()
    file = tiny.file if where == "library" else tiny.state / "nca3d" / "native" / name
    DAMAGES[damage](file)
    assert tiny.works().place == str(tiny.file)
    assert tiny.file.read_bytes() == good and file.is_file() and not file.is_symlink()
    assert library_cache.kept(name) == (good, tiny.file)
    # No leftovers of the build, nor of what was there.
    assert {path.name for path in (*tiny.file.parent.iterdir(), *(tiny.state / "nca3d" / "native").iterdir())} == {name}


@as_root
def test_a_device_is_replaced_and_not_written_into(tiny):
    tiny.works()
    os.mknod(replaced(tiny.file), stat.S_IFCHR | 0o600, os.makedev(1, 5))
    tiny.works()
    assert stat.S_ISREG(tiny.file.lstat().st_mode)


def test_what_a_link_leads_to_is_not_touched(tiny, tmp_path):
    tiny.works()
    other = tmp_path / "other"
    other.write_text("mine")
    replaced(tiny.file).symlink_to(other)
    tiny.works()
    assert other.read_text() == "mine" and not tiny.file.is_symlink()


def test_a_foreign_library_is_not_run(tiny):
    tiny.works()
    mark = tiny.foreign(tiny.file)
    tiny.works()
    assert not mark.exists()
    # And it would have left its mark.
    command = [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", tiny.folder / "foreign.so"]
    subprocess.run(command, check=True)
    assert mark.exists()


def test_a_foreign_cache_brings_no_digests_along(tiny, monkeypatch):
    """Digests lie beside the library in every way that could be thought of."""
    tiny.works()
    name, mark = tiny.file.name, tiny.foreign(tiny.file)
    digest = sha256(tiny.file.read_bytes())
    for folder in (tiny.cache, tiny.cache / "native", tiny.cache / "state" / "native", tiny.cache / "nca3d" / "native"):
        folder.mkdir(parents=True, exist_ok=True)
        for beside in (f"{name}.sha256", f"{name}.digest", Path(name).stem, f".{name}"):
            (folder / beside).write_text(digest)
    shutil.copytree(tiny.state, tiny.cache / "state", dirs_exist_ok=True)
    # Another user of the same machine, or the same one on another machine.
    monkeypatch.setenv("XDG_STATE_HOME", str(tiny.folder / "other"))
    tiny.works()
    assert not mark.exists()


def test_a_library_of_0_1_0_is_not_run(tiny):
    tiny.works()
    mark = tiny.foreign(tiny.cache / tiny.file.name)
    tiny.works()
    assert not mark.exists()


def test_a_digest_that_fits_no_library_built_here_is_no_help(tiny):
    """The digest decides: with it in the state folder, the library would be loaded."""
    tiny.works()
    mark = tiny.foreign(tiny.file)
    (tiny.state / "nca3d" / "native" / tiny.file.name).write_text(sha256(tiny.file.read_bytes()))
    assert tiny.load().answer() == 13 and mark.exists()


def foreign_owner(folder: Path) -> None:
    os.chown(folder, 12345, 12345)


def moved_away(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def pipe(folder: Path) -> None:
    shutil.rmtree(folder)
    os.mkfifo(folder)


def file_there(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


PLACES = {
    "belongs to user 12345": pytest.param(foreign_owner, "belongs to user 12345", marks=as_root, id="owner"),
    "world-writable": pytest.param(lambda folder: folder.chmod(0o777), r"written to by others \(mode 777", id="world"),
    "group-writable": pytest.param(lambda folder: folder.chmod(0o770), r"written to by others \(mode 770", id="group"),
    "link": pytest.param(moved_away, "is a link", id="link"),
    "pipe": pytest.param(pipe, "File exists", id="pipe"),
    "file": pytest.param(file_there, "File exists", id="file"),
}


@pytest.mark.parametrize("which", ["cache", "state"])
@pytest.mark.parametrize(("change", "says"), PLACES.values())
def test_a_folder_that_is_not_ones_own_is_not_used(which, change, says, tiny):
    tiny.works()
    mark = tiny.foreign(tiny.file)
    name = tiny.file.name
    (tiny.state / "nca3d" / "native" / name).write_text(sha256(tiny.file.read_bytes()))
    folder = tiny.cache / "native" if which == "cache" else tiny.state / "nca3d" / "native"
    change(folder)
    for _ in range(2):
        with pytest.warns(UserWarning, match=f"builds its compiled code anew in each process: {folder}: .*{says}") as said:
            found = tiny.works()
        assert len(said) == 1 and "no file" in found.place
    assert not mark.exists()


@pytest.fixture
def open_folder():
    """A folder that other users can enter, which pytest's can't."""
    with tempfile.TemporaryDirectory(prefix="nca3d-test-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


HOMELESS = """
import ctypes, os, sys
from pathlib import Path
import platformdirs.unix, torch
from nca3d.executors import library
os.setgid(54321)
os.setuid(54321)
code = library.Code("tiny", (Path(sys.argv[1]),), ("answer",))
found = library.load(code, {"answer": (ctypes.c_int, ())}, {}, torch.float32)
print(found.answer(), found.place)
"""


@as_root
@pytest.mark.slow
def test_a_user_without_a_home(tiny, open_folder):
    shutil.copy(tiny.folder / "tiny.c", open_folder)
    os.chmod(open_folder / "tiny.c", 0o644)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": "/tmp"}
    command = [sys.executable, "-c", HOMELESS, str(open_folder / "tiny.c")]
    done = subprocess.run(command, cwd=open_folder, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("42 no file, but built anew in each process: ~: "), done.stderr
    assert done.stderr.count("Warning: ") == 1 and "Traceback" not in done.stderr
    assert [path.name for path in open_folder.iterdir()] == ["tiny.c"]


@pytest.fixture
def mounted(tmp_path):
    """Mounts a file system in memory on a folder: mounted(folder, options)."""
    made = []

    def mount(folder: Path, options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        remount = str(folder) in made
        command = ["mount", "-t", "tmpfs", "-o", f"{'remount,' * remount}{options}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"can't mount here: {done.stderr.strip()}")
        made.append(str(folder))

    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount")
    yield mount
    for folder in dict.fromkeys(made):
        subprocess.run(["umount", "-l", folder], check=True)


def test_where_nothing_may_be_executed_it_runs_all_the_same(tiny, mounted, monkeypatch):
    mounted(tiny.cache, "noexec,mode=700")
    assert tiny.works().place == tiny.works().place == str(tiny.file)
    mounted(tiny.folder / "tmp", "noexec,mode=700")
    monkeypatch.setattr("tempfile.tempdir", str(tiny.folder / "tmp"))
    tiny.file.unlink()
    tiny.works()


def test_where_nothing_can_be_written_what_is_there_is_used(tiny, mounted):
    mounted(tiny.cache, "mode=700")
    tiny.works()
    file = tiny.file
    mounted(tiny.cache, "ro")
    assert tiny.works().place == str(file)


@pytest.mark.parametrize("which", ["cache", "state"])
def test_where_nothing_can_be_written_it_is_built_for_one_process(which, tiny, mounted):
    mounted(tiny.cache if which == "cache" else tiny.state, "ro")
    with pytest.warns(UserWarning, match="anew in each process: .*: Read-only file system"):
        assert "Read-only" in tiny.works().place


@pytest.mark.parametrize("which", ["cache", "state"])
def test_a_full_disk(which, tiny, mounted):
    folder = tiny.cache if which == "cache" else tiny.state
    mounted(folder, "size=16k")
    with (folder / "full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    with pytest.warns(UserWarning, match=f"anew in each process: {folder}/.*native: No space left on device$"):
        tiny.works()


TOGETHER = """
import ctypes, sys, time
from pathlib import Path
import torch
from nca3d.executors import library
code = library.Code("tiny", (Path(sys.argv[1]),), ("answer",))
print("ready", flush=True)
sys.stdin.readline()
found = library.load(code, {"answer": (ctypes.c_int, ())}, {}, torch.float32)
print(found.answer(), found.place)
"""


@pytest.mark.slow
def test_processes_that_start_together_all_end_with_a_good_library(tiny):
    command = [sys.executable, "-W", "error", "-c", TOGETHER, str(tiny.folder / "tiny.c")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    said = {process.communicate()[0] for process in started}
    assert said == {f"42 {tiny.file}\n"}
    assert tiny.works().place == str(tiny.file)
    assert library_cache.kept(tiny.file.name) is not None
