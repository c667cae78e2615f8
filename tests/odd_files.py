"""What may stand where a file belongs: links, pipes, sockets and devices, beside a file that must not be written."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

# What we call each kind; a hard link is a file like any other, but for what is opened to be extended or emptied.
ODD = {
    "link": "a link",
    "link to nothing": "a link",
    "link to a pipe": "a link",
    "link to a device": "a link",
    "hard link": "",
    "pipe": "a pipe",
    "socket": "a socket",
    "folder": "a folder",
    "device": "a device",
}


@contextlib.contextmanager
def at_once(seconds: int = 30) -> Iterator[None]:
    """Fails what waits for the other end of a pipe, or reads a device without end, by an exception that no reader catches."""

    def late(*_: object) -> None:
        pytest.fail(f"still waiting after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def plant(kind: str, folder: Path, place: Path | None = None) -> tuple[Path, Path]:
    """Puts one of `ODD` at a place (default: `folder`/place); returns the victim, a file with years of work, and the place."""
    victim, place = folder / "thesis", place or folder / "place"
    victim.write_bytes(b"years")
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "link to nothing":
        place.symlink_to(folder / "nothing")
    elif kind == "link to a pipe":
        if not (folder / "end").exists():
            os.mkfifo(folder / "end")
        place.symlink_to(folder / "end")
    elif kind == "link to a device":
        place.symlink_to("/dev/full")
    elif kind == "hard link":
        place.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(place.parent)  # a socket's path has at most 108 bytes
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(place.name)
        finally:
            os.chdir(here)
    elif kind == "folder":
        place.mkdir()
    else:
        try:
            os.mknod(place, 0o600 | 0o020000, os.makedev(1, 7))  # /dev/full: what is written there fails
        except PermissionError:
            pytest.skip("a device can only be made by root")
    return victim, place
