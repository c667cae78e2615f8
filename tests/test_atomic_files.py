"""Files and folders are there whole or not at all, whoever is killed; what is not what was written is told in one line."""

import ast
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_files import ODD, plant

import nca3d
from nca3d import files
from nca3d.errors import InputError
from nca3d.files import atomic

ROOT = Path(nca3d.__file__).parent


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture(scope="module")
def dead() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


# ---- one file --------------------------------------------------------------------------------------------------------


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "deep" / "x"
    files.write_atomic(file, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        files.write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["deep", "deep/x"]


def test_a_file_and_its_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    files.write_atomic(tmp_path / "x", b"new")
    assert synced == [(tmp_path / "x").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_refused_and_in_a_folder_of_ours_replaced(tmp_path: Path, kind: str) -> None:
    victim, place = plant(kind, tmp_path)
    said = ODD[kind]
    if not said:  # a hard link is a file: the name gets another one, and the old file keeps its other name
        files.write_atomic(place, b"new")
    else:
        assert files.odd(place) == said
        with pytest.raises(InputError, match=rf"{place.name}: file: found {said}, allowed a file of its own"):
            files.write_atomic(place, b"new")
        assert files.odd(place) == said
        if kind == "folder":
            assert files.odd(files.vacate(place)) == said
            return
        files.write_atomic(files.vacate(place), b"new")
    assert place.read_bytes() == b"new" and place.stat().st_nlink == 1
    assert victim.read_bytes() == b"years"


def test_a_free_name_and_a_file_are_not_odd(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    for name in ("x", "free", "x/below", "a\0b"):
        assert files.odd(tmp_path / name) == ""
    assert files.vacate(tmp_path / "x").read_bytes() == b"old"
    files.refuse_odd(tmp_path, folder=True)
    with pytest.raises(InputError, match="x: folder: found a file, allowed a folder of its own, or a name that is free"):
        files.refuse_odd(tmp_path / "x", folder=True)


@pytest.mark.parametrize("kind", ODD)
def test_what_is_planted_at_temporary_names_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(atomic, "_numbers", iter(range(7, 9)))
    victim, _ = plant(kind, tmp_path, home / f".x.7.tmp-{os.getpid()}")
    files.write_atomic(home / "x", b"new")
    for word in ("tmp", "old"):
        plant(kind, tmp_path, home / f"place.{word}-{os.getpid()}")
    for text in ("one", "two"):
        with files.atomic_folder(home / "place") as beside:
            (beside / "y").write_text(text)
    assert (home / "x").read_bytes() == b"new" and (home / "place" / "y").read_text() == "two"
    assert victim.read_bytes() == b"years"
    # An old folder of this process's number is one that was never put back: it is kept.
    assert names(home) == ["place", "place/y", "x"]


def test_what_is_planted_between_clearing_and_writing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_numbers", iter([7]))
    monkeypatch.setattr(atomic, "_remove", lambda path: None)  # as if another link came right after
    victim, _ = plant("link", tmp_path, tmp_path / f".x.7.tmp-{os.getpid()}")
    plant("link", tmp_path, tmp_path / f"place.tmp-{os.getpid()}")
    with pytest.raises(FileExistsError):
        files.write_atomic(tmp_path / "x", b"new")
    monkeypatch.setattr(atomic, "sweep", lambda *_: None)
    with pytest.raises(FileExistsError), files.atomic_folder(tmp_path / "place"):
        pass
    assert victim.read_bytes() == b"years"


@pytest.mark.parametrize("kind", ODD)
def test_a_folder_takes_the_place_of_what_is_none(tmp_path: Path, kind: str) -> None:
    victim, place = plant(kind, tmp_path)
    with files.atomic_folder(place) as beside:
        (beside / "y").write_text("new")
    assert (place / "y").read_text() == "new" and not place.is_symlink()
    assert victim.read_bytes() == b"years"


def test_many_threads_write_one_file(tmp_path: Path) -> None:
    texts = [bytes([65 + n]) * 10_000 for n in range(8)]
    threads = [threading.Thread(target=files.write_atomic, args=(tmp_path / "x", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_bytes() in texts
    assert names(tmp_path) == ["x"]


# ---- a folder --------------------------------------------------------------------------------------------------------


def test_a_folder_replaces_an_older_one_or_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "new" / "place"
    for text in ("one", "two"):
        with files.atomic_folder(place) as beside:
            (beside / "inner").mkdir()
            (beside / "inner" / "x").write_text(text)
            assert place.exists() == (text == "two")
        assert names(tmp_path) == ["new", "new/place", "new/place/inner", "new/place/inner/x"]
        assert (place / "inner" / "x").read_text() == text
    with pytest.raises(KeyError), files.atomic_folder(place) as beside:
        (beside / "y").write_text("half")
        raise KeyError
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"), files.atomic_folder(place) as beside:
        (beside / "y").write_text("half")
    assert names(tmp_path) == ["new", "new/place", "new/place/inner", "new/place/inner/x"]


def test_everything_in_a_folder_is_synced_before_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    rename, wanted = os.rename, set()

    def looked(old: Path, new: Path) -> None:
        wanted.update(path.stat().st_ino for path in (old, *Path(old).rglob("*")))
        assert wanted <= synced
        rename(old, new)

    monkeypatch.setattr(os, "rename", looked)
    with files.atomic_folder(tmp_path / "place") as beside:
        (beside / "inner").mkdir()
        (beside / "inner" / "x").write_text("x")
    assert len(wanted) == 3
    assert tmp_path.stat().st_ino in synced


def test_a_rename_that_fails_puts_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with files.atomic_folder(tmp_path / "place") as beside:
        (beside / "old").touch()
    rename = os.rename

    def refused(old: Path, new: Path) -> None:
        if ".tmp-" in Path(old).name:
            raise OSError(5, "Input/output error")
        rename(old, new)

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(OSError, match="output"), files.atomic_folder(tmp_path / "place") as beside:
        (beside / "new").touch()
    assert names(tmp_path) == ["place", "place/old"]


def test_what_the_dead_left_is_tidied_and_nothing_else(tmp_path: Path, dead: int) -> None:
    alive, stray = os.getppid(), ["a.tmp-x", "b.old-", f"thesis.tmp-{dead}", "a"]
    left = [f"a.old-{dead}", f"a.tmp-{dead}", f".b.old-{dead}", f"b.tmp-{alive}", f"c.old-{alive}"]
    for name in [*left, *stray]:
        (tmp_path / name).mkdir()
    files.sweep(tmp_path, "[abc]")
    assert names(tmp_path) == sorted([*stray, "b", f"b.tmp-{alive}", f"c.old-{alive}"])
    files.sweep(tmp_path / "nowhere", "a")


# ---- locks -----------------------------------------------------------------------------------------------------------


def test_a_lock_says_who_holds_it_and_empties_no_link(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with files.locked(lock):
        assert lock.read_text().startswith(f"pid {os.getpid()} on ")
        for look in (files.refuse_locked, lambda path: files.locked(path).__enter__()):
            with pytest.raises(InputError, match=rf"run\.lock: found held by pid {os.getpid()} on "):
                look(lock)
    assert names(tmp_path) == []
    files.refuse_locked(lock)
    (tmp_path / "thesis").write_text("years")
    lock.symlink_to(tmp_path / "thesis")
    with pytest.raises(InputError, match=r"run\.lock: found a link, allowed a folder that can be locked"), files.locked(lock):
        pass
    assert (tmp_path / "thesis").read_text() == "years"


@pytest.mark.parametrize("kind", ODD)
def test_no_other_thing_is_a_lock(tmp_path: Path, kind: str) -> None:
    victim, lock = plant(kind, tmp_path, tmp_path / "run.lock")
    said = rf"run\.lock: found {re.escape(ODD[kind] or 'a file with a second name (a hard link)')}, allowed a folder that can"
    for look in (files.refuse_locked, lambda path: files.locked(path).__enter__()):
        with pytest.raises(InputError, match=said):
            look(lock)
    assert victim.read_bytes() == b"years" and os.path.lexists(lock)


# ---- records ---------------------------------------------------------------------------------------------------------

KINDS = {"format": int, "files": dict, "sha256": str}


def record(folder: Path, **changes: object) -> Path:
    (folder / "x").write_bytes(b"content")
    table = {"format": 3, "files": {"x": files.file_entry(b"content")}, **changes}
    (folder / "record.json").write_bytes(files.seal({key: value for key, value in table.items() if value is not ...}))
    return folder / "record.json"


def test_what_was_sealed_is_read_and_vouches(tmp_path: Path) -> None:
    path = record(tmp_path)
    table = files.read_sealed(path, KINDS, 3)
    assert files.read_verified(path, "x", table["files"]["x"]) == b"content"
    assert files.seal(table) == path.read_bytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 4}, "format: found 4, allowed 3; update nca3d"),
        ({"format": 2}, "format: found 2, allowed 3$"),
        ({"format": "3"}, "format: found '3', allowed int"),
        ({"files": ...}, "files: found no such key, allowed dict"),
    ],
)
def test_a_record_that_does_not_fit(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=rf"record\.json: {words}"):
        files.read_sealed(record(tmp_path, **changes), KINDS, 3)


@given(st.data())
def test_every_flipped_bit_of_a_record_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = record(tmp_path_factory.mktemp("sealed"))
    broken = bytearray(path.read_bytes())
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(broken)
    with pytest.raises(InputError):
        files.read_sealed(path, KINDS, 3)


def test_a_file_that_is_not_what_was_vouched_for(tmp_path: Path) -> None:
    path, entry = record(tmp_path), files.file_entry(b"content")
    for name in ("../x", "/x", "a/b/x", ".x", ""):
        with pytest.raises(InputError, match=r"record\.json: files: found .*, allowed plain file names"):
            files.read_verified(path, name, entry)
    with pytest.raises(InputError, match=r"size: found 7 bytes, allowed 9, as record\.json says"):
        files.read_verified(path, "x", {**entry, "size": 9})
    with pytest.raises(InputError, match=r"x: sha256: found another digest than that in record\.json"):
        files.read_verified(path, "x", files.file_entry(b"CONTENT"))
    with pytest.raises(InputError, match="y: file: found no such file"):
        files.read_verified(path, "y", entry)


@pytest.mark.parametrize(("data", "found"), [(b"[1]", "a list"), (b"{", "Expecting"), (b"[" * 100_000, ""), (b"\xff", "utf-8")])
def test_what_is_no_table(data: bytes, found: str) -> None:
    with pytest.raises(InputError, match=f"own: JSON: found .*{found}.*, allowed an object"):
        files.parse_table(data, "own")
    assert files.parse_table(json.dumps({"a": 1}).encode(), "own") == {"a": 1}


# ---- places ----------------------------------------------------------------------------------------------------------


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCA3D_CACHE", "/somewhere")
    assert files.cache_folder() == Path("/somewhere")
    monkeypatch.delenv("NCA3D_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/else")
    assert files.cache_folder() == Path("/else/nca3d")


@pytest.mark.slow
def test_nothing_else_in_the_house_writes_so() -> None:
    """DESIGN: no second way to write a file."""
    calls = {"replace", "rename", "renames", "fsync", "mkstemp", "flock"}
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in calls
        and ((isinstance(node.value, ast.Name) and node.value.id in ("os", "tempfile", "fcntl")) or node.attr == "rename")
    ]
    # Where it is done is found, so the search works; nowhere else is.
    assert {line.partition(":")[0] for line in found} == {"files/atomic.py", "files/lock.py"}


# Files that are written by their name, and why that is right: nobody else can have put a link there.
WRITERS = {
    "files/atomic.py": "the one way",
    "checkpoint/writing.py": "in a folder that was just made, and no other name leads to",
    "cube/export/write.py": "in such a folder",
    "cli/faults.py": "in a temporary folder of its own",
    "bench/peers.py": "in a temporary folder of its own",
    "bench/memory.py": "a switch of the kernel",
    "tune/process.py": "a switch of the kernel, and into the pipe to its parent",
    "executors/shared_object.py": "in memory, or in a temporary folder of its own",
    "process/streams.py": "to /dev/null",
    "ranks/joined.py": "to /dev/null",
    "ranks/telling.py": "where the launcher wants to be told, and in a folder of its own",
    "ranks/restart.py": "in the launcher's own folder",
    "targets/readers/child.py": "into the pipe to its parent",
}


@pytest.mark.slow
def test_who_writes_by_name_has_a_reason() -> None:
    def writes(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        modes = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        opened = name == "open" and any(set(mode) <= set("rwaxb+t") and set(mode) & set("wax") for mode in modes)
        return name in ("write_text", "write_bytes", "touch", "fdopen") or opened

    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if any(writes(node) for node in ast.walk(ast.parse(path.read_text())))
    }
    # The lines of a run are added to what `files.open_own` opened.
    assert found == {*WRITERS, "training/run_folder.py"}


def test_it_loads_nothing_heavy() -> None:
    code = "import nca3d.files, sys; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'safetensors')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_name_that_stands_twice_is_refused():
    """One reader takes the first of the two, another one the last: what one has checked, the other doesn't use."""
    with pytest.raises(InputError, match=r"file: JSON: found 'step' twice, allowed an object"):
        files.parse_table(b'{"step": 1, "deep": [{"a": 1}], "step": 2}', "file")
    with pytest.raises(InputError, match="'a' twice"):
        files.parse_table(b'{"deep": [{"a": 1, "a": 1}]}', "file")
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    header = f'{{"w":{entry},"w":{entry}}}'.encode()
    with pytest.raises(InputError, match=r"file: safetensors: found a name, 'w' twice, allowed each name once"):
        files.load_tensors(len(header).to_bytes(8, "little") + header + bytes(4), "file")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_what_is_no_number_of_json_is_refused(number):
    with pytest.raises(InputError, match="file: JSON: found "):
        files.parse_table(f'{{"iou": {number}}}'.encode(), "file")
