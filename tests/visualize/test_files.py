"""Places where nothing can be written, asked before and said after, and films that a place is too small for."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from films import FAST, read
from odd_files import ODD, plant

import visualize
from visualize import files
from visualize.files import atomic_file, atomic_folder, check_folder, room_for, writable
from visualize.film import encode, mp4

SUFFIXES = (".gif", ".npz")


def test_a_place_that_can_be_written_is_given_back_and_left_empty(tmp_path: Path) -> None:
    assert writable(tmp_path / "A.GIF", "here", SUFFIXES) == tmp_path / "A.GIF"
    assert writable(str(tmp_path / "a.npz"), "here", SUFFIXES) == tmp_path / "a.npz"
    assert not list(tmp_path.iterdir())
    (tmp_path / "d.gif").mkdir()
    assert writable(tmp_path / "d.gif", "here", SUFFIXES, folder=True) == tmp_path / "d.gif"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.png", "suffix '.png', allowed .gif, .npz"),
        (".gif", "suffix '', allowed .gif, .npz"),
        ("no/a.gif", "missing folder"),
        ("d.gif", "a folder named"),
        ("x" * 250 + ".gif", "(File name too long), allowed a file that can be written"),
        ("x" * 300 + "/a.gif", "(File name too long), allowed a file that can be written"),
        ("a\0.gif", "null byte"),
        ("two\nlines/a.gif", "missing folder"),
        (None, "found None"),
        (3, "found 3"),
    ],
)
def test_other_places_are_one_line(tmp_path: Path, name: object, words: str) -> None:
    (tmp_path / "d.gif").mkdir()
    with pytest.raises(ValueError, match=r"^here: path: found .*, allowed ") as error:
        writable(os.path.join(tmp_path, name) if isinstance(name, str) else name, "here", SUFFIXES)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["d.gif"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    settle, replace, rename = os.fsync, os.replace, os.rename
    monkeypatch.setattr(os, "fsync", lambda number: (events.append("sync"), settle(number)))
    monkeypatch.setattr(os, "replace", lambda old, new: (events.append("named"), replace(old, new)))
    monkeypatch.setattr(os, "rename", lambda old, new: (events.append("named"), rename(old, new)))
    with atomic_file(tmp_path / "a.txt") as half:
        half.write_text("all of it")
    with atomic_folder(tmp_path / "folder") as inside:
        (inside / "deep").mkdir()
        for name in ("one", "deep/two"):
            (inside / name).write_text(name)
    assert events == ["sync", "named", "sync", "sync", "named"]
    assert (tmp_path / "a.txt").read_text() == "all of it" and (tmp_path / "folder/deep/two").read_text() == "deep/two"


@pytest.mark.parametrize("kind", [kind for kind, said in ODD.items() if said not in ("", "a folder")])
def test_what_is_no_file_is_refused_and_stays(tmp_path: Path, kind: str) -> None:
    victim, place = plant(kind, tmp_path, tmp_path / "a.gif")
    for folder in (False, True):
        with pytest.raises(ValueError, match=rf"^here: path: found {ODD[kind]} named .*a\.gif, allowed a file's name"):
            writable(place, "here", SUFFIXES, folder=folder)
    with pytest.raises(ValueError, match=rf"found .*a\.gif, which is {ODD[kind]}, allowed a new name or an earlier store"):
        check_folder(place, lambda names: True, "store")
    assert victim.read_bytes() == b"years" and os.path.lexists(place)


@pytest.mark.parametrize("kind", ODD)
def test_what_is_planted_is_replaced_and_not_followed(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    half, place = home / f".a.tmp-{os.getpid()}.gif", home / "a.gif"
    victim, _ = plant(kind, tmp_path, half)
    assert writable(place, "here", SUFFIXES) == place
    assert list(home.iterdir()) == []
    plant(kind, tmp_path, half)
    with atomic_file(place) as beside:
        beside.write_bytes(b"new")
        if kind != "folder":  # planted at last, while it is written
            plant(kind, tmp_path, place)
    assert place.read_bytes() == b"new" and not place.is_symlink()
    for word in ("tmp", "old"):
        plant(kind, tmp_path, home / f".d.{word}-{os.getpid()}")
    for text in ("one", "two"):
        with atomic_folder(home / "d") as inside:
            (inside / "x").write_text(text)
    assert (home / "d" / "x").read_text() == "two" and victim.read_bytes() == b"years"
    assert sorted(path.name for path in home.iterdir()) == ["a.gif", "d"]


def test_what_is_planted_between_clearing_and_writing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_remove", lambda path: None)  # as if another link came right after
    victim, _ = plant("link to nothing", tmp_path, tmp_path / f".a.tmp-{os.getpid()}.gif")
    with pytest.raises(ValueError, match=r"a\.gif \(File exists\), allowed a file that can be written"):
        writable(tmp_path / "a.gif", "here", SUFFIXES)
    with pytest.raises(FileExistsError), atomic_file(tmp_path / "a.gif"):
        pass
    assert victim.read_bytes() == b"years" and not (tmp_path / "nothing").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="folders of the kernel")
@pytest.mark.parametrize("place", ["/proc/a.gif", "/sys/a.npz"])
def test_folders_of_the_kernel_take_nothing(animal: np.ndarray, place: str) -> None:
    with pytest.raises(ValueError, match=r": path: found \S+ \(\D+\), allowed a file that can be written$"):
        visualize.animate(animal[None], place) if place.endswith("gif") else visualize.save(animal, place)


def test_saving_and_filming_ask(animal: np.ndarray, tmp_path: Path) -> None:
    for name in ("d.gif", "d.npz"):
        (tmp_path / name).mkdir()
    long = tmp_path / ("x" * 250)
    with pytest.raises(ValueError, match="animate: path: found a folder named"):
        visualize.animate(animal[None], tmp_path / "d.gif")
    with pytest.raises(ValueError, match=r"side_by_side: path: found .*too long"):
        visualize.side_by_side({"a": animal[None]}, f"{long}.gif")
    for name, words in (("d.npz", "save: path: found a folder"), (f"{long}.npz", "save: path: found .*too long")):
        with pytest.raises(ValueError, match=words):
            visualize.save(animal, tmp_path / name)


def test_room_is_all_that_is_said() -> None:
    said = r"^film: path: found a\.gif \(No space left on device\), allowed a place with room$"
    with pytest.raises(ValueError, match=said), room_for(Path("a.gif"), "film"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="other"), room_for(Path("a.gif"), "film"):
        raise OSError("other")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [*encode.SUFFIXES, ".npz"])
def test_what_does_not_fit_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    """Under a limit of a file's size, as on a full disk: ffmpeg is killed or says so, Pillow and NumPy fail."""
    if suffix == ".mp4" and not encode.has_ffmpeg():
        pytest.skip("no ffmpeg here")
    path = tmp_path / f"film{suffix}"
    path.write_bytes(b"old")
    code = (
        "import sys, numpy, visualize; frames = numpy.random.default_rng(0).random((4, 9, 9, 9, 4))\n"
        "call = visualize.save if sys.argv[1].endswith('npz') else visualize.animate\n"
        "more = {} if call is visualize.save else {'size': 240, 'renderer': 'raymarch'}\n"
        "try: call(frames, sys.argv[1], **more)\n"
        "except ValueError as error: print(error)\n"
    )
    limit = (8 << 10, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, path],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.stderr == ""
    assert "path: found" in done.stdout and "File too large), allowed a place with room" in done.stdout
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not encode.has_ffmpeg(), reason="no ffmpeg here")
class TestFfmpeg:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("script", "error", "words"),
        [
            ("echo 'av: No space left on device' >&2; exit 228", ValueError, "ffmpeg: No space left on device"),
            ("cat > /dev/null; echo first >&2; echo second >&2; exit 1", OSError, "ffmpeg: first"),
            ("kill -KILL $$", OSError, "ffmpeg: Killed"),
            ("exit 0", OSError, "ffmpeg: exit status 0"),  # it didn't listen to the end
        ],
    )
    def test_how_it_ends_is_asked(
        self, growing: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: type, words: str
    ) -> None:
        monkeypatch.setattr(mp4, "_command", lambda *_: ["sh", "-c", script])
        (tmp_path / "film.mp4").write_bytes(b"old")
        with pytest.raises(error) as raised:
            visualize.animate(growing, tmp_path / "film.mp4", **FAST)
        assert words in str(raised.value) and "\n" not in str(raised.value)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]

    def test_a_picture_that_fails_ends_it(self, tmp_path: Path) -> None:
        def pictures():
            yield np.zeros((32, 32, 3), np.uint8)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            encode.write_film(pictures(), tmp_path / "film.mp4", 12)
        assert not list(tmp_path.iterdir())

    @pytest.mark.slow
    @pytest.mark.parametrize("fps", [0.1, 23.976, np.float32(60)])
    def test_no_frame_is_lost_at_any_speed(self, growing: np.ndarray, tmp_path: Path, fps: float) -> None:
        folder = tmp_path / "-y"  # ffmpeg takes it for a flag
        folder.mkdir()
        film = read(visualize.animate(growing, folder / "a:b.mp4", fps=fps, **FAST))
        assert len(film) == len(growing)
