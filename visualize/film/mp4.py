"""Film files of H.264 (.mp4), written by the ffmpeg that comes with imageio-ffmpeg.

imageio-ffmpeg's own writer doesn't ask how ffmpeg ended: on a full disk it leaves half a film and says nothing.
"""

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visualize.frames import Picture

CRF = 18  # x264's constant rate factor: visually lossless
PRESET = "veryfast"  # measured on films of bodies: files of the same size as "medium" in half the time
# Said in the file: left unsaid, players guess the colour matrix by the size of the picture, and reds turn orange.
BT709 = (
    "-vf",
    "scale=out_color_matrix=bt709:out_range=tv",
    "-colorspace",
    "bt709",
    "-color_primaries",
    "bt709",
    "-color_trc",
    "bt709",
)
FULL = {"No space left on device": errno.ENOSPC, "File too large": errno.EFBIG, "Disk quota exceeded": errno.EDQUOT}


def has_ffmpeg() -> bool:
    """Whether imageio-ffmpeg and its program are there."""
    try:
        import imageio_ffmpeg

        return bool(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return False


def write_mp4(pictures: Iterator[Picture], path: Path, fps: float) -> None:
    """Writes pictures (h,w,3), all of one even size, as a film.

    Raises:
        OSError: there is no room for it (`errno` says so), or ffmpeg failed; the file may be half.
    """
    first = next(pictures)
    errors: list[bytes] = []
    # A group of its own: Ctrl-C is for us alone.
    with subprocess.Popen(
        _command(path, first.shape[1], first.shape[0], fps),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,
    ) as ffmpeg:
        assert ffmpeg.stdin is not None and ffmpeg.stderr is not None
        listener = threading.Thread(target=lambda pipe: errors.append(pipe.read()), args=(ffmpeg.stderr,), daemon=True)
        listener.start()  # or a full pipe would hold it up
        try:
            taken = _feed(ffmpeg, first, pictures)
        except BaseException:
            ffmpeg.kill()
            raise
        finally:
            ffmpeg.wait()
            listener.join()
    if ffmpeg.returncode or not taken:
        raise _failure(ffmpeg.returncode, b"".join(errors).decode(errors="replace"), path)


def _command(path: Path, width: int, height: int, fps: float) -> list[str]:
    import imageio_ffmpeg

    return [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-y",
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{width}x{height}",
        "-r",
        f"{fps:.6f}",
        "-i",
        "-",
        "-an",
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-crf",
        str(CRF),
        "-preset",
        PRESET,
        "-movflags",
        "+faststart",
        "-threads",
        "2",
        *BT709,
        os.path.abspath(path),  # a name that begins with - or has a colon would mean something else
    ]


def _feed(ffmpeg: subprocess.Popen[bytes], first: Picture, rest: Iterator[Picture]) -> bool:
    """Hands over all pictures and says that they end; False where ffmpeg stopped listening."""
    assert ffmpeg.stdin is not None
    picture: Picture | None = first
    while picture is not None:
        if not _hand(ffmpeg, picture):
            return False
        picture = next(rest, None)
    try:
        ffmpeg.stdin.close()
    except OSError:
        return False
    return True


def _hand(ffmpeg: subprocess.Popen[bytes], picture: Picture) -> bool:
    assert ffmpeg.stdin is not None
    try:
        ffmpeg.stdin.write(np.ascontiguousarray(picture).data)
    except OSError:
        return False
    return True


def _failure(code: int, stderr: str, path: Path) -> OSError:
    """What went wrong with ffmpeg, in a few words and with its errno where it was the room."""
    if hasattr(signal, "SIGXFSZ") and code == -signal.SIGXFSZ:
        return OSError(errno.EFBIG, "ffmpeg: File too large", str(path))
    for words, number in FULL.items():
        if words in stderr:
            return OSError(number, f"ffmpeg: {words}", str(path))
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    words = lines[0] if lines else signal.strsignal(-code) or f"signal {-code}" if code < 0 else f"exit status {code}"
    return OSError(errno.EIO, f"ffmpeg: {words}", str(path))
