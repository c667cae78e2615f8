"""`nca3d train --processes N`: the processes that torchrun would start on this machine, and one line at the end.

torch's own launcher starts them and hands out ranks. What torchrun prints when one of them is lost takes a screen, and its exit
code says nothing. Here the last line is the cause, and the exit code is that of the rank that failed first.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from nca3d.errors import RunError
from nca3d.process.stop import HANGUP, SIGNALS
from nca3d.ranks.restart import GOES_ON, NOTE
from nca3d.ranks.telling import BY_LAUNCHER, LEFT


def launch(processes: int, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a command of ours in several processes of this machine and waits until all have ended.

    Args:
        processes: How many.
        command: The program and its arguments.
        environment: Its environment.

    Returns:
        0, or the exit code of the rank that failed first; 1 if it was killed; 128 + the number of a signal that came here.

    Raises:
        RunError: The processes could not be started.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="nca3d-") as folder, _own_ways(processes, environment) as obeyed:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        # Newer versions of torch can be told; older ones obey hangups that nohup wants ignored.
        if "signals_to_handle" in [field.name for field in fields(config)]:
            config.signals_to_handle = ",".join(signal.Signals(number).name for number in obeyed)
        try:
            elastic_launch(config, command[0])(*command[1:])
        except ChildFailedError as failed:
            rank, failure = failed.get_first_failure()
            if way_on := _way_on(Path(folder)):
                print(way_on, file=sys.stderr)
            print(_cause(rank, failure.exitcode, processes, _records(Path(folder))), file=sys.stderr)
            return int(failure.exitcode) if failure.exitcode > 0 else 1
        except SignalException as stopped:
            # Where all could end as they were told, rank 0 has said so.
            for rank, line in [one for one in _records(Path(folder)).items() if LEFT not in one[1]][:1]:
                print(line.removeprefix(f"rank {rank} of {processes}: "), file=sys.stderr)
            return 128 + int(stopped.sigval)
        except (RuntimeError, OSError) as error:
            raise RunError(f"{processes} processes could not be started: {' '.join(str(error).split())}") from error
    return 0


@contextlib.contextmanager
def _own_ways(processes: int, environment: Mapping[str, str]) -> Iterator[list[int]]:
    """A context in which processes share the cores and leave the last line to this one; gives the signals that are obeyed."""
    former = {number: signal.getsignal(number) for number in SIGNALS}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    before = dict(os.environ)
    os.environ.update({"OMP_NUM_THREADS": str(max(1, cores // processes)), **environment, BY_LAUNCHER: "1"})
    # The launcher logs what it does with processes that fail.
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield [number for number, handler in former.items() if (number, handler) != (HANGUP, signal.SIG_IGN)]
    finally:
        logging.disable(level)
        os.environ.clear()
        os.environ.update(before)
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _records(folder: Path) -> dict[int, str]:
    """Returns what ranks have noted of why they ended, by rank, the first one first; see `telling.record`."""
    files = sorted(folder.glob("*/attempt_*/*/error.json"), key=lambda file: file.stat().st_mtime_ns)
    records = {}
    for file in files:
        with contextlib.suppress(OSError, ValueError, KeyError):
            records[int(file.parent.name)] = json.loads(file.read_text(encoding="utf-8"))["message"]["message"]
    return records


def _way_on(folder: Path) -> str:
    """Returns how the run goes on that the ranks were at, as they have noted it; "" where nothing is left of it."""
    for note in folder.glob(f"*/{GOES_ON}"):
        with contextlib.suppress(OSError):
            run = Path(note.with_name(NOTE).read_text(encoding="utf-8"))
            if any((run / "checkpoints").glob("step-*[0-9]")):
                return note.read_text(encoding="utf-8")
    return ""


def _cause(rank: int, code: int, processes: int, records: Mapping[int, str]) -> str:
    """Returns the line about the rank that failed first.

    Args:
        rank: Which one.
        code: Its exit code; −n where signal n has ended it.
        processes: How many ranks there were.
        records: What they have noted, by rank.
    """
    name, own = f"rank {rank} of {processes}", records.get(rank, "")
    plain = own.removeprefix(f"{name}: ")
    if own and records.get(0) == f"rank 0 of {processes}: {plain}":
        # What is wrong with the run, and not with one of them.
        return plain
    # Who was killed had no last word; one of the others says what it was about.
    about = next((line for line in records.values() if line.startswith(f"{name} ")), "")
    if own or about:
        return own or about
    # Those that were told to stop then are no cause.
    others = [line for line in records.values() if LEFT not in line]
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return others[0] if others else f"{name} {how} before all had met"
