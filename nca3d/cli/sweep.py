"""Train one config over settings and random seeds, several runs at a time, and end with a table for a paper.

    nca3d sweep tiny --vary fire_rate=0.3,0.5,1 --vary hidden=[64],[128,64] --seeds 3
    nca3d sweep tiny --vary learning_rate=1e-3..3e-2 --search tpe --trials 20
    nca3d sweep --resume FOLDER     goes on after a stop; on another machine that sees the folder, joins in

Each run is `nca3d train` in a process of its own. A field of --vary takes values with commas between them, or, for a search, a
range LOW..HIGH: logarithmic if HIGH is at least 10 times LOW, or as LOW..HIGH:log and LOW..HIGH:linear say. An entry of a table
is TABLE.NAME. All combinations are checked before anything runs. Needs the sweep extra. Put CONFIG first.
"""

import argparse
import dataclasses
import itertools
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.cli.flags import add_fields, config_from, flag_of, named, wrong_folder, wrong_numbers
from nca3d.config import FIELDS, Config, shipped
from nca3d.errors import ErrorCollector, InputError, RunError
from nca3d.files import atomic_folder, refuse_odd
from nca3d.sweep.plan import MEASURES, SEARCHES, Plan, wrong_word

if TYPE_CHECKING:
    from nca3d.sweep.work import Work

# Seconds that one of several processes waits for the first one to begin the sweep.
TIMEOUT = 600
# Flags that a resumed sweep takes: how it is run and shown, not what; and the words of the command, which are no flag.
FREE = ("resume", "jobs", "figures", "field_plugins", "words")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d sweep`."""
    parser.usage = "nca3d sweep [CONFIG] --vary FIELD=VALUE,VALUE [...] [--seeds N] [--FIELD VALUE ...] [--resume FOLDER]"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("config", nargs="?", metavar="CONFIG", help=f"a TOML file or one of: {', '.join(shipped.names())}")
    add = parser.add_argument
    add("--vary", nargs="+", action="extend", metavar="FIELD=…", help="what varies: values, or a range for a search")
    add("--seeds", metavar="N", type=int, help="random seeds of each setting, from the config's up (default: 3; of a search 1)")
    add("--search", metavar="|".join(SEARCHES), help="every combination, or how the next one is chosen (default: grid)")
    add("--trials", metavar="N", type=int, help="how many settings a search tries")
    add("--maximise", metavar="FIGURE", help="what a search is for (default: the metric that training shows)")
    add("--minimise", metavar="FIGURE", help="the same, where less is better, such as loss")
    add("--prune", action=argparse.BooleanOptionalAction, help="end trials early that fall behind (default: in a search)")
    add("--measure", metavar="|".join(MEASURES), help="how trained rules are evaluated (default: quick)")
    add("--figures", nargs="+", metavar="NAME", help="figures of the table, or patterns as heal_iou.* (default: headlines)")
    add(
        "--jobs",
        metavar="N",
        type=int,
        help="runs at a time (default: one a core); 0 = make the sweep, run nothing",
    )
    add("--storage", metavar="URL", help="a database instead of the journal in the folder, as SQLAlchemy takes it")
    add("--out", metavar="FOLDER", type=Path, help="folder of the sweep (default: sweeps/<target>-<n>, the first that is free)")
    add("--resume", metavar="FOLDER", type=Path, help="go on with the sweep in FOLDER, or join in; its flags are kept there")
    add_fields(parser, [name for name in FIELDS if name != "out"])


def run(args: argparse.Namespace) -> int:
    """Runs the sweep and prints its table; returns the exit code: 1 if a run was ended from outside and has to go on."""
    from nca3d.sweep.board import require_optuna

    with ErrorCollector() as errors:
        errors += wrong_numbers(args, seeds=(1, None), trials=(1, None), jobs=(0, None))
        if args.resume is None:
            errors += _wrong(args)
        else:
            given = [name for name, value in vars(args).items() if value is not None and name not in FREE]
            for name in given:
                flag = "CONFIG" if name == "config" else flag_of(name.removeprefix("field_"))
                errors.add(True, "--resume", flag, getattr(args, name), "none: what a resumed sweep runs lies in its folder")
    require_optuna()
    folder, plan = _shared(args)

    if args.jobs == 0:
        print(folder)
        return 0
    from nca3d.sweep.work import Work

    named = list(plan.base["plugins"]) if plan.named else []
    work = Work(plan, folder, args.jobs or _cores(plan), ["--plugins", *named] if named else [])
    if args.resume is not None and args.figures:
        _check_figures(args.figures, work)
    work.run()
    results, files = work.finish()
    for pattern in results.missing:
        found = f"{pattern}: no run has such a figure; there are {', '.join(results.known)}"
        print(f"--figures: {found}", file=sys.stderr)
    print(results.table.to_markdown())
    print(*files, sep="\n")
    return _told(results.states, folder, bool(work.board.given_up))


def _shared(args: argparse.Namespace) -> tuple[Path, Plan]:
    """Begins a sweep, or joins in: of several processes that torchrun has started the first one begins it, the others join.

    From there on each takes trials for itself, as processes do that a user starts one by one.
    """
    from nca3d.ranks import by_first, current
    from nca3d.ranks.joined import joined

    with joined(TIMEOUT):
        if current().size == 1:
            return _begun(args) if args.resume is None else _resumed(args)
        folder, plan = by_first(lambda: _begun(args) if args.resume is None else _resumed(args))
        args.resume = args.resume or folder
        args.jobs = args.jobs if args.jobs is not None else max(1, _cores(plan) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        return folder, plan


def _check_figures(figures: list[str], work: "Work") -> None:
    """Refuses figures that no run of a sweep has, before its tables are written anew.

    Raises:
        InputErrors: a name or pattern fits none of those that there are.
    """
    from nca3d.sweep.results import collect

    before = collect(work.plan, work.board, work.goal)
    with ErrorCollector() as errors:
        for pattern in before.missing:
            errors.add(pattern in figures, "--figures", "figure", repr(pattern), ", ".join(before.known))


def _wrong(args: argparse.Namespace) -> list[InputError]:
    """Returns what is wrong with the flags of a new sweep."""
    search, errors = args.search or "grid", ErrorCollector()
    errors += wrong_word("--search", "search", search, SEARCHES)
    errors += wrong_word("--measure", "preset", args.measure or "quick", MEASURES)
    if args.out is not None:
        # Not through a link: the folder is put into place as a whole.
        before = len(errors)
        errors.of(refuse_odd, args.out, folder=True)
        errors += wrong_folder("--out", args.out) if len(errors) == before else []
    if search == "grid":
        errors.add(args.trials is not None, "--trials", "trials", args.trials, "none of a grid: --search tpe tries so many")
    else:
        errors.add(args.trials is None, "--search", "trials", "none", "--trials N, how many settings to try")
        errors.add(not args.vary, "--search", "vary", "nothing", "--vary FIELD=LOW..HIGH, what to search in")
    for axis in args.vary or ():
        field = axis.partition("=")[0]
        both = getattr(args, f"field_{field}", None) is not None
        errors.add(
            both,
            flag_of(field),
            field,
            "a value beside --vary, which replaces it",
            f"one of {flag_of(field)} and --vary {field}=…",
        )
    both = args.maximise is not None and args.minimise is not None
    errors.add(both, "--minimise", "figure", args.minimise, "one of --maximise and --minimise")
    if args.out is not None and args.out.is_dir() and (inside := sorted(args.out.iterdir())):
        way = f"a new or empty folder, or --resume {args.out}"
        errors.append(InputError(args.out, "out", f"a folder with {inside[0].name} in it", way))
    return errors


def _begun(args: argparse.Namespace) -> tuple[Path, Plan]:
    """Checks a new sweep, makes its folder with everything in it, and returns both.

    Raises:
        InputErrors: everything that is wrong; nothing was written.
    """
    from nca3d.sweep.board import create

    config = config_from(args)
    # Pictures, films and a page for each of dozens of runs would take longer than many a training.
    wanted = bool(getattr(args, "field_report", False))
    config = config.replace(report=wanted, threads=config.threads or 1).anchored()
    search = args.search or "grid"
    plan = Plan(
        tomllib.loads(config.to_toml()),
        args.config or "default",
        tuple(args.vary or ()),
        search=search,
        trials=args.trials or 0,
        seeds=args.seeds or (3 if search == "grid" else 1),
        prune=search != "grid" if args.prune is None else args.prune,
        measure=args.measure or "quick",
        figures=tuple(args.figures or ()),
        objective=args.maximise or args.minimise or "",
        minimise=args.minimise is not None,
        storage=args.storage or "",
        # Databases hold many studies.
        study=f"sweep-{os.urandom(4).hex()}",
        named=config.plugins_from is None,
    )
    # Whoever makes it for others to run may have neither their devices nor their packages.
    with named(args):
        plan.check(here=args.jobs != 0)
    folder = args.out or _free(config)
    # All at once: whoever joins finds every trial.
    with atomic_folder(folder) as made:
        create(plan, made)
        plan.save(made, config)
    alike = "" if plan.axes else ", which differ in their random seeds alone: nothing was asked to vary (--vary FIELD=…)"
    print(f"{folder}: {plan.count()} trials{alike}", file=sys.stderr)
    return folder, plan


def _resumed(args: argparse.Namespace) -> tuple[Path, Plan]:
    """Returns the folder of a sweep that goes on, and what was asked of it."""
    plan = Plan.load(args.resume)
    if args.figures:
        plan = dataclasses.replace(plan, figures=tuple(args.figures))
    if (files := getattr(args, "field_plugins", None)) is not None:
        plan = dataclasses.replace(
            plan, base={**plan.base, "plugins": [str(Path(file).absolute()) for file in files]}, named=True
        )
    plan.check()
    return args.resume, plan


def _free(config: Config) -> Path:
    """Returns the first folder sweeps/<subject>-<n> that is free."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(config.kind.subject(config)).stem).strip("-.") or "sweep"
    places = (Path("sweeps") / f"{stem[:64]}-{number}" for number in itertools.count(1))
    return next(place for place in places if not os.path.lexists(place))


def _cores(plan: Plan) -> int:
    """Returns how many runs fit on the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(1, int(plan.base.get("threads", 1))))


def _told(states: Mapping[str, int], folder: Path, given_up: bool) -> int:
    """Says what is not in the table, and returns the exit code.

    Raises:
        RunError: all trials failed.
    """
    total = sum(states.values())
    if states.get("FAIL") == total:
        raise RunError(f"{folder}: all {total} trials failed; the log of each is in {folder / 'trials'}")
    left = states.get("RUNNING", 0) + states.get("WAITING", 0)
    if left:
        where = "were ended from outside" if given_up else "run in another process, which will write the whole table"
        print(f"{folder}: {left} of {total} trials {where}; go on with: nca3d sweep --resume {folder}", file=sys.stderr)
    return int(bool(left) and given_up)
