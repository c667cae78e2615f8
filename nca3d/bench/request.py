"""The flags of `nca3d bench`, and what they ask for, checked before torch is loaded."""

import argparse
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nca3d.bench import settings
from nca3d.bench.settings import GROUPS, Setting
from nca3d.errors import ErrorCollector, nearest
from nca3d.files import odd, unwritable

WHERE = "nca3d bench"
DEVICES = ("auto", "cpu", "cuda")
# The name of a file that means stdout.
STDOUT = "-"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the command. Their values stay text: `Request` turns them into numbers, and says what is wrong."""
    parser.usage = "nca3d bench [SETTING ...] [--curves] [--save FOLDER] | nca3d bench --plan D H W --steps N --batch B"
    names = "; ".join(f"{setting.name}: {setting.words()}".replace("%", "%%") for setting in settings.SETTINGS.values())
    groups = "; ".join(f"{name} = {', '.join(members)}" for name, members in GROUPS.items())
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"{groups} (default: all). {names}")
    measure = parser.add_argument_group("measuring")
    measure.add_argument("--executors", nargs="+", metavar="NAME", help="executors to measure (default: all there are)")
    measure.add_argument("--threads", metavar="N", help="CPU threads (default: as many as torch takes)")
    measure.add_argument("--repeats", metavar="N", default="5", help="rounds of timing; the median counts (default: 5)")
    measure.add_argument("--device", metavar="|".join(DEVICES), default="auto", help="where (default: auto)")
    measure.add_argument("--no-memory", action="store_true", help="leave out peak memory, which takes a process each")
    measure.add_argument("--cax", metavar="PYTHON", help="a Python that has the peer CAX (default: this one, if it has)")
    measure.add_argument("--curves", action="store_true", help="also time and memory against living cells and volume")
    out = parser.add_argument_group("results")
    out.add_argument("--json", metavar="FILE", help="write all numbers there; - prints them, and the tables on stderr")
    out.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the cost curves there (measures them: --curves)")
    out.add_argument("--save", metavar="FOLDER", type=Path, help="write JSON, table and curves there, named by date and device")
    plan = parser.add_argument_group("planning")
    plan.add_argument("--plan", nargs=3, metavar=("D", "H", "W"), help="predict time and memory of this lattice instead")
    plan.add_argument("--steps", metavar="N", help="steps of a training iteration (with --plan)")
    plan.add_argument("--batch", metavar="N", help="samples (with --plan)")
    plan.add_argument("--living", metavar="SHARE", help="share of living cells, above 0 up to 1 (with --plan; default: 0.1)")
    plan.add_argument("--channels", metavar="N", help="channels of the state (with --plan; default: 16)")
    plan.add_argument("--hidden", nargs="+", metavar="N", help="widths of hidden layers (with --plan; default: 128)")


@dataclass(frozen=True)
class Request:
    """What the flags ask for, checked."""

    settings: list[Setting]
    executors: list[str] | None
    threads: int | None
    repeats: int
    device: str
    memory: bool
    cax: str | None
    curves: bool
    json: str | None
    plot: Path | None
    save: Path | None
    plan: Setting | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Request":
        """From the parsed flags.

        Raises:
            InputErrors: everything that is wrong with them, one line each.
        """
        with ErrorCollector() as wrong:

            def number(flag: str, text: str | None, low: int, high: int) -> Any:
                if text is None:
                    return None
                try:
                    value = int(text)
                except ValueError:
                    value = low - 1
                wrong.add(not low <= value <= high, WHERE, flag, repr(text), f"a whole number from {low} to {high}")
                return value

            chosen = wrong.of(settings.find, args.settings or (() if args.plan else ("all",))) or []
            hint = nearest(args.device, DEVICES)
            wrong.add(args.device not in DEVICES, WHERE, "--device", repr(args.device), f"{', '.join(DEVICES)}{hint}")
            threads, repeats = number("--threads", args.threads, 1, 1024), number("--repeats", args.repeats, 1, 1000)
            _check_files(args, wrong)
            plan = _plan(args, number, wrong)
        return cls(
            chosen,
            args.executors,
            threads,
            repeats,
            args.device,
            not args.no_memory,
            args.cax,
            args.curves or args.plot is not None,
            args.json,
            args.plot,
            args.save,
            plan,
        )


def _check_files(args: argparse.Namespace, wrong: ErrorCollector) -> None:
    """Refuses what can't be written, or would be written through a link, into a pipe or a device."""
    json = None if args.json is None or args.json == STDOUT else Path(args.json)
    for flag, file, suffix, may in (("--json", json, "", f", or {STDOUT} for stdout"), ("--plot", args.plot, ".png", "")):
        if file is None:
            continue
        if (found := odd(file)) not in ("", "a folder"):
            wrong.add(True, WHERE, flag, f"{file}, which is {found}", f"a {suffix or 'file'} name{may}")
            continue
        bad = not file.parent.is_dir() or file.is_dir() or (suffix != "" and file.suffix != suffix)
        wrong.add(bad, WHERE, flag, file, f"a {suffix or 'file'} name in a folder that exists{may}")
    taken = args.save is not None and os.path.lexists(args.save) and not args.save.is_dir()
    wrong.add(taken, WHERE, "--save", args.save, "a folder, which may be new")
    # What can't be written is told now, not after minutes of measuring.
    for flag, place in () if wrong else (("--json", json), ("--plot", args.plot), ("--save", args.save)):
        found = "" if place is None else unwritable(place)
        wrong.add(bool(found), WHERE, flag, found, "a place that can")


def _plan(args: argparse.Namespace, number: Callable[..., Any], wrong: ErrorCollector) -> Setting | None:
    """The setting that --plan asks about; what belongs to it without it, or is missing, is wrong."""
    given = {name: getattr(args, name) for name in ("steps", "batch", "living", "channels", "hidden")}
    if args.plan is None:
        for name, value in given.items():
            wrong.add(value is not None, WHERE, f"--{name}", "no --plan", "it together with --plan D H W")
        return None
    wrong.add(bool(args.settings), WHERE, "SETTING", " ".join(args.settings), "none together with --plan")
    for name in ("steps", "batch"):
        wrong.add(given[name] is None, WHERE, f"--{name}", "nothing", "a whole number, together with --plan")
    size = tuple(number("--plan", side, 1, 4096) for side in args.plan)
    steps, batch = number("--steps", args.steps, 1, 1_000_000), number("--batch", args.batch, 1, 1_000_000)
    channels = number("--channels", args.channels or "16", 5, 4096)
    hidden = tuple(number("--hidden", width, 1, 65_536) for width in args.hidden or ["128"])
    try:
        living = float(args.living or "0.1")
    except ValueError:
        living = math.nan
    wrong.add(not 0 < living <= 1, WHERE, "--living", repr(args.living), "a number above 0 up to 1")
    return None if wrong else Setting("plan", size, batch, steps, living, channels, hidden)
