"""A launcher starts processes anew when one was lost: the run that they were at is found again.

All attempts of a launcher share a folder of its own, in which a note says where the run is. It is gone with the launcher.
"""

import contextlib
from pathlib import Path

from nca3d.ranks import launcher

NOTE = "nca3d-run"
# How the run goes on if all processes are lost: the line that their launcher prints.
GOES_ON = "nca3d-goes-on"


def note_run(folder: Path) -> None:
    """Notes the folder of the run that this launcher is at."""
    _write(NOTE, str(folder.absolute()))


def note_way_on(line: str) -> None:
    """Notes how the run goes on if its processes are lost, once something was saved."""
    _write(GOES_ON, line)


def noted_run() -> Path | None:
    """Returns the folder of the run that an earlier attempt of this launcher was at; None where there is none."""
    note = _note(NOTE)
    if not launcher.attempt() or note is None:
        return None
    with contextlib.suppress(OSError):
        folder = Path(note.read_text(encoding="utf-8"))
        return folder if folder.is_dir() else None
    return None


def _write(name: str, text: str) -> None:
    note = _note(name)
    if note is not None:
        with contextlib.suppress(OSError):
            note.write_text(text, encoding="utf-8")


def _note(name: str) -> Path | None:
    """Returns a note of this launcher."""
    folder = launcher.common_folder(of_attempt=False)
    return folder / name if folder else None
