"""The `nca3d` command. Torch and pictures are imported once a command needs them, so that `--help` is instant.

Exit codes: 0 done, 1 the run failed, 2 bad input, 130 / 143 stopped by a signal after saving.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import nca3d
from nca3d.bench import request
from nca3d.cli import export, render
from nca3d.cli.flags import add_fields, config_from, read_flags
from nca3d.config import Config
from nca3d.config import shipped as configs
from nca3d.cube.cli import answer
from nca3d.cube.cli import embed as embedding
from nca3d.cube.cli import serve as serving
from nca3d.errors import InputError, InputErrors, RunError, nearest
from nca3d.load import RuleRef

RESULTS = (".png", ".mp4", ".gif", ".webp", ".html")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; bad input and failed runs become one line each on stderr, only bugs show a trace."""
    try:
        args = _parsed(list(sys.argv[1:] if argv is None else argv))
        return int(args.call(args) or 0)
    except ValueError as error:
        # pools and visualize know nothing of InputError, but their errors have the same form
        if isinstance(error, InputError) or re.fullmatch(r"[^\n]+: found [^\n]+, allowed [^\n]+", str(error)):
            return _complain(error, 2)
        raise
    except RunError as error:
        return _complain(error, 1)
    except BrokenPipeError:  # `nca3d targets | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except PermissionError as error:
        return _complain(InputError(error.filename or "file", "place", error.strerror, "one that can be written"), 2)
    except OSError as error:  # a disk, a program or a network that failed: not a bug of ours, so no trace
        return _complain(" ".join(f"nca3d: {error}".split()), 1)
    except KeyboardInterrupt as stop:
        return 130 if stop.args else _complain("stopped", 130)  # with a message, training has told it already
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else _complain(leaving.code, 1) if leaving.code else 0


def _complain(error: object, code: int) -> int:
    print(error, file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in the one line that all errors have, without a page of usage."""

    def error(self, message: str) -> NoReturn:
        flag = re.match(r"argument ([^\s:,/]+)[^:]*: (.*)", message)
        name, text = (flag[1], flag[2]) if flag else ("arguments", message)
        found, allowed = "no such thing", text
        if text.startswith("expected "):
            found, allowed = "another number of values", text.removeprefix("expected ").replace("argument", "value")
        elif wrong := re.fullmatch(r"invalid (int|float|\w+) value: (.*)", text):
            found, allowed = wrong[2], {"int": "a whole number", "float": "a number"}.get(wrong[1], wrong[1])
        elif given := re.fullmatch(r"ignored explicit argument (.*)", text):
            found, allowed = given[1], "no value"
        elif missing := re.fullmatch(r"the following arguments are required: (.*)", text):
            name, found, allowed = missing[1], "nothing", f"one, see {self.prog} --help"
        raise InputError(self.prog, name, found, allowed)


def _parsed(argv: list[str]) -> argparse.Namespace:
    parser, commands = _parsers()
    argv = argv or ["--help"]
    command = commands.get(argv[0])
    if command is None and argv[0] not in parser._option_string_actions:
        raise InputError("nca3d", "command", repr(argv[0]), f"{', '.join(commands)}{nearest(argv[0], commands)}")
    args, extra = parser.parse_known_args(argv)
    if hasattr(args, "files") and not any(text.startswith("-") for text in extra):
        args.files += map(Path, extra)  # argparse takes positional arguments from one place only; ours may stand anywhere
        extra = []
    if extra:
        # the value of an unknown flag lands among the positional arguments: not worth a line of its own
        flags = [text.split("=")[0] for text in extra if text.startswith("--")]
        prog, known = (command or parser).prog, (command or parser)._option_string_actions
        raise (
            InputErrors(
                InputError(prog, flag, "an unknown flag", f"a flag of {prog} --help{nearest(flag, known)}") for flag in flags
            )
            if flags
            else InputError(prog, "arguments", " ".join(extra), f"fewer, see {prog} --help")
        )
    return args


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(
        prog="nca3d", description="Grow 3D bodies from one cell with neural cellular automata.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"nca3d {nca3d.__version__}")
    group = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(call: Any) -> _Parser:
        name, doc = call.__name__.removeprefix("_"), call.__doc__.split("\n")[0]
        command: _Parser = group.add_parser(name, help=doc, description=call.__doc__, allow_abbrev=False)
        command.set_defaults(call=call)
        return command

    train, evaluate, compare = add(_train), add(_evaluate), add(_compare)
    render_, export_, embed = add(_render), add(_export), add(_embed)
    answer_, serve = add(_answer), add(_serve)
    bench, targets, doctor = add(_bench), add(_targets), add(_doctor)
    train.usage = "nca3d train [CONFIG] [--FIELD VALUE ...] [--resume FOLDER] [--print-config]"
    train.add_argument("config", nargs="?", metavar="CONFIG", help=f"a TOML file or one of: {', '.join(configs.names())}")
    train.add_argument("--resume", metavar="FOLDER", help="go on with the run in FOLDER; flags may change its config")
    train.add_argument("--print-config", action="store_true", help="print the whole config as TOML and stop")
    add_fields(train)
    _add_evaluate(evaluate)
    compare.add_argument("reports", nargs="+", metavar="RUN", help="a run or evaluation folder, a report.json, or zoo:NAME")
    compare.add_argument("--out", metavar="FOLDER", type=Path, help="write compare.md and compare.png there")
    render.add_flags(render_)
    export.add_flags(export_)
    embedding.add_flags(embed)
    answer.add_flags(answer_)
    serving.add_flags(serve)
    request.add_flags(bench)
    targets.add_argument("names", nargs="*", metavar="NAME", help="shipped names, or paths to meshes, arrays, volumes")
    targets.add_argument("--draw", metavar="FILE.png", type=Path, help="draw the one body named")
    add_fields(targets, ("size", "target_options"))
    doctor.add_argument("--inject", metavar="CASE", help="flip-bit, truncate, kill-in-save, full-disk")
    commands = {"train": train, "evaluate": evaluate, "compare": compare, "render": render_, "export": export_}
    commands |= {"embed": embed, "answer": answer_, "serve": serve}
    return parser, {**commands, "bench": bench, "targets": targets, "doctor": doctor}


def _add_evaluate(evaluate: _Parser) -> None:
    evaluate.add_argument(
        "run", metavar="RUN", help="a run folder, one of its checkpoints, zoo:NAME, or FILE.py:NAME for a rule of one's own"
    )
    evaluate.add_argument("--preset", default="quick", metavar="NAME", help="quick, standard or full (default: quick)")
    evaluate.add_argument("--laws", action="store_true", help="check the laws of the cell instead, on any module")
    evaluate.add_argument("--out", metavar="FOLDER", type=Path, help="write the report there")
    evaluate.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    evaluate.add_argument(
        "--pictures", action=argparse.BooleanOptionalAction, default=True, help="draw bodies as well as plots"
    )
    evaluate.add_argument("--horizon", metavar="N", type=int, help="steps after which a body is grown (default: the card's)")
    evaluate.add_argument("--samples", metavar="N", type=int, help="bodies side by side (default: the preset's)")
    evaluate.add_argument("--random-seed", metavar="N", type=int, default=0, help="chooses fire masks and wounds (default: 0)")
    add_fields(evaluate, ("target", "size", "target_options", "executor"))


def _train(args: argparse.Namespace) -> None:
    """Train a rule that grows a body; flags override the config file.

    Put CONFIG first: a flag that takes several values would swallow it.
    """
    config = config_from(args)
    if args.print_config:
        print(config.to_toml(), end="")
        return
    resume = Path(args.resume) if args.resume else None
    given = _check_files(config, resume)
    from nca3d.experiment import train

    run = train(config, resume=resume, given=given)
    folder = Path(run.folder)
    results = [file for file in sorted(folder.rglob("*")) if file.suffix in RESULTS and file.is_file()]
    for file in sorted(results, key=lambda file: file.suffix == ".html"):
        print(file)
    print(folder)


def _check_files(config: Config, resume: Path | None) -> object:
    """Refuse at once what is wrong with the files that a run reads and writes: torch alone takes seconds to load."""
    from nca3d.training.memory import check_memory
    from nca3d.training.run_folder import check_run_folder

    check_memory(config)
    check_run_folder(config, resume)
    return config.kind.check_inputs(config)


def _evaluate(args: argparse.Namespace) -> int:
    """Is it alive? Measure how well a rule grows its target, stays and heals, on draws that training never used.

    Writes report.html with pictures, report.json and a Markdown table into RUN/evaluate-PRESET, or runs/evaluate-NAME-PRESET.
    """
    values, places, errors = read_flags(args)
    errors += _out_of_range(args)
    try:
        Config.from_dict(values, "nca3d evaluate", places)
    except InputErrors as found:
        errors += found.errors
    if errors:
        raise InputErrors(errors)
    _check_file("--json", args.json)
    if args.out is not None and args.out.exists() and not args.out.is_dir():
        raise InputError("--out", "folder", args.out, "a folder, or a name that is free")
    shown = ("target", "size", "target_options")
    chosen = RuleRef(args.run, **{name: values.get(name) for name in shown})
    from nca3d.cli.evaluate import Asked, run

    asked = Asked(
        chosen,
        args.preset,
        args.out,
        args.json,
        args.laws,
        args.pictures,
        args.horizon,
        args.samples,
        args.random_seed,
        values.get("executor", "auto"),
    )
    return run(asked)


def _out_of_range(args: argparse.Namespace) -> list[InputError]:
    lowest = {"horizon": 1, "samples": 1, "random_seed": 0}
    return [
        InputError(f"--{name.replace('_', '-')}", "number", getattr(args, name), f"{low} or more")
        for name, low in lowest.items()
        if getattr(args, name) is not None and getattr(args, name) < low
    ]


def _compare(args: argparse.Namespace) -> None:
    """Lay the figures of several runs side by side, as a Markdown table and a picture."""
    if args.out is not None and args.out.exists() and not args.out.is_dir():
        raise InputError("--out", "folder", args.out, "a folder, or a name that is free")
    for name in args.reports:
        if not name.startswith("zoo:") and not Path(name).exists():
            raise InputError(name, "report", "nothing there", "a folder or file of a report, or zoo:NAME")
    from nca3d.cli.evaluate import run_compare

    run_compare(args.reports, args.out)


def _render(args: argparse.Namespace) -> None:
    """Film a rule's life: it grows, is cut, heals. Without options: an mp4 of all that, beside the run.

    Put RUN before --damage: a flag that takes several values would swallow it.
    """
    render.run(args)


def _export(args: argparse.Namespace) -> None:
    """Write a rule as a live page (--live), its life as a page (--movie), its body as files (FILE …), a cube (--surface).

    Put RUN and files before --damage and --surface: a flag that takes values would swallow them.
    """
    export.run(args)


def _embed(args: argparse.Namespace) -> None:
    """Turn questions and answers into vectors, for a cube to be taught by: with TF-IDF or a language model."""
    embedding.run(args)


def _answer(args: argparse.Namespace) -> None:
    """Ask a trained cube: the likest answers to each question, with scores."""
    answer.run(args)


def _serve(args: argparse.Namespace) -> int:
    """Put a trained cube behind HTTP: POST /answer, GET /health, and a page to ask it by."""
    return serving.run(args)


def _bench(args: argparse.Namespace) -> None:
    """Measure speed and memory of all executors on this machine, or predict them for a lattice (--plan).

    Put SETTING first: a flag that takes several values would swallow it.
    """
    asked = request.Request.of(args)  # refuses bad flags at once: torch alone takes seconds to load
    from nca3d.bench.command import run

    run(asked)


def _targets(args: argparse.Namespace) -> None:
    """List the shipped bodies; with names, say what each becomes on the lattice, or draw one."""
    values, places, errors = read_flags(args)
    if errors:
        raise InputErrors(errors)
    config = Config.from_dict(values, "nca3d targets", places)
    if args.draw and (len(args.names) != 1 or args.draw.suffix != ".png"):
        raise InputError("--draw", "FILE.png", f"{args.draw} for {len(args.names)} names", "a .png for one name or path")
    _check_file("--draw", args.draw)
    from nca3d import targets

    for name, doc in {} if args.names else targets.catalogue().items():
        print(f"{name:<16} {doc}")
    for name in args.names:
        target = targets.load(name, size=config.size, **config.target_options)
        kind = f"{len(target.names) - 1} classes" if target.kind == "classes" else "coloured"
        print(f"{name:<16} {int(target.occupied.sum())} cells of {' × '.join(map(str, target.size))}, {kind}")
    if args.draw:
        from PIL import Image

        from visualize import volume

        Image.fromarray(volume(target.rgba(), size=(960, 960))).save(args.draw)
        print(args.draw)


def _check_file(flag: str, file: Path | None) -> None:
    if file is not None and (not file.parent.is_dir() or file.is_dir()):
        raise InputError(flag, "file", file, "a file name in a folder that exists")


def _doctor(args: argparse.Namespace) -> int:
    """Say what works on this machine, or inject a fault into a throw-away run."""
    from nca3d.cli import doctor

    return doctor.inject(args.inject) if args.inject else doctor.examine()
