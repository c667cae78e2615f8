"""Several processes, as torchrun and `nca3d train --processes` start them: how they end, and what they leave behind."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")
MARK = "NCA3D_TEST_MARK"


@dataclass
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code.
        text: All that it and its processes have printed.
        left: Its processes that are still there.
    """

    code: int
    text: str
    left: list[int]

    @property
    def told(self) -> list[str]:
        """The lines of ours: not those of torchrun and of traces."""
        lines = self.text.partition("torch.distributed.elastic.multiprocessing.errors.ChildFailedError")[0].splitlines()
        ours = [
            line for line in lines if line and line[0] not in " [" and not line.startswith(("Traceback", "train:", "auto:"))
        ]
        return [line for line in ours if "torch/distributed/elastic" not in line]


class Launched:
    """A command with several processes, at work.

    Args:
        command: The words.
        folder: Where it runs, and where its output goes.
        more: What its environment has besides.
    """

    def __init__(self, command: Sequence[object], folder: Path, **more: str) -> None:
        self.mark, self.output = uuid.uuid4().hex, folder / f"output-{uuid.uuid4().hex[:8]}"
        paths = [str(ROOT), str(ROOT / "tests" / "laws"), os.environ.get("PYTHONPATH", "")]
        own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1", MARK: self.mark}
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env={**os.environ, **own, **more},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ranks(self) -> dict[int, int]:
        """The processes of its ranks, by rank."""
        return {int(rank): process for process in self.processes() if (rank := _environment(process).get("RANK"))}

    def processes(self) -> list[int]:
        """All its processes, the command itself among them."""
        numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [number for number in numbers if _environment(number).get(MARK) == self.mark]

    def until(self, *files: Path, seconds: float = 90) -> None:
        """Waits until files are there."""
        end = time.monotonic() + seconds
        while not all(file.exists() for file in files):
            assert self.process.poll() is None and time.monotonic() < end, self.output.read_text()[-4000:]
            time.sleep(0.02)

    def end(self, seconds: float = 120) -> Ended:
        """Waits for its end, and a little for that of its processes."""
        try:
            code = self.process.wait(seconds)
        finally:
            left, until = self.processes(), time.monotonic() + 5
            while left and self.process.poll() is not None and time.monotonic() < until:
                time.sleep(0.05)
                left = self.processes()
            for number in self.processes():
                os.kill(number, signal.SIGKILL)
        return Ended(code, self.output.read_text(), left)


def _environment(process: int) -> dict[str, str]:
    """What a process has got; nothing of one that is no more, or of another user's."""
    try:
        entries = Path(f"/proc/{process}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}
