"""The `nca3d` command: which verbs there are, and how each ends. Only what the verb needs is imported: `--help` is instant.

A verb is a module: its docstring is its help, the first line the one that `nca3d --help` shows; `add_flags(parser)` says what
flags it has, `run(args)` does it. It is a file here, or one that a wing brings along.

Exit codes: 0 done, 1 the run failed, 2 bad input, 130 / 143 / 129 stopped after saving by Ctrl-C, SIGTERM, SIGHUP.
"""

import ast
import contextlib
import errno
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import nca3d
from nca3d.cli.parser import Parser
from nca3d.errors import InputError, RunError, nearest
from nca3d.process import room
from nca3d.process.stop import ended_by_signals
from nca3d.process.streams import PATIENCE, silence, steady_output
from nca3d.process.supervise import called, tried_first
from nca3d.ranks import launcher
from nca3d.ranks.telling import tell, to_be_shown
from nca3d.registry import LazyImport, wing_entries

VERBS: dict[str, LazyImport] = {
    **{name: LazyImport(f"nca3d.cli.{name}") for name in ("train", "sweep", "tune", "evaluate", "compare", "render", "export")},
    **wing_entries("verb"),
    **{name: LazyImport(f"nca3d.cli.{name}") for name in ("bench", "targets", "trust", "doctor")},
}

# Verbs whose results lie in files, or that go on for ever: what they print waits for no reader.
UNREAD = [["train"], ["sweep"], ["evaluate"], ["render"], ["export"], ["embed"], ["serve"]]
# What training prints is a courtesy, and losing it is no failure; but for these.
PRINTING = {"--print-config", "--help", "-h"}
# Verbs whose work is shared out to the processes that a launcher such as torchrun has started.
SHARED = ("train", "evaluate", "sweep")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; bad input and failed runs become one line each on stderr, only bugs show a trace.

    Args:
        argv: the words after `nca3d`; None = those of this process.

    Returns:
        The exit code, see above.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # what other verbs print is their result: it waits for its reader
    patience = PATIENCE if words[:1] in UNREAD else None
    with steady_output(patience) as (out, err), plain_warnings(), ended_by_signals(), tried_first():
        code = _by_launcher(words)
        out.flush()
        if out.failed is not None and code == 0 and (words[:1] != ["train"] or set(words) & PRINTING):
            # `nca3d targets | head`: nobody wants to read on
            code = 0 if out.failed.errno == errno.EPIPE else _complain(f"stdout: {out.failed.strerror}: not all was printed", 1)
    for stream in (out, err):
        silence(stream)
    return code


def _by_launcher(words: list[str]) -> int:
    """Runs a command, which may be one of several processes of a launcher: then all do it, or one does."""
    try:
        several = launcher.expected()
        if several > 1:
            # Before anything takes its time: a launcher that is killed meanwhile has nobody to end what it has begun.
            launcher.end_with_launcher()
            # What breaks when a process is lost, its library tells in pages; we have a line for it.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
        verb, prints = words[0] if words else "", bool(set(words) & PRINTING)
        if several > 1 and (verb not in SHARED or prints):
            if launcher.own_rank():
                return 0
            launcher.leave_launcher()
            if verb in VERBS and not prints:
                print(f"nca3d {verb}: rank 0 of {several} does it; the others have nothing to do", file=sys.stderr)
        return _ended(words)
    except (InputError, RunError) as error:
        return _complain(error, 2 if isinstance(error, InputError) else 1)
    except Exception as bug:
        if to_be_shown(bug):
            raise
        return 1


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """A context in which Python's warnings are one plain line each: where in the code they arose helps nobody in a shell."""
    # Only how they look: filters, and the recording of warnings by a caller such as a test, work as always.
    before, warnings.formatwarning = warnings.formatwarning, lambda message, *_, **__: f"warning: {_one_line(message)}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _ended(words: list[str]) -> int:
    """Runs a command and returns its exit code; errors become lines."""
    try:
        return run(words)
    except ValueError as error:
        # pools and visualize know nothing of InputError, but their errors have the same fields
        if all(hasattr(error, name) for name in ("field", "found", "allowed")):
            return _complain(error, 2)
        raise
    except RunError as error:
        return _complain(error, 1)
    except (MemoryError, RuntimeError) as error:
        if room.ran_out(error):
            few = "what there is much of: cells of the lattice, samples, frames, pixels"
            return _complain(room.line(error, f"nca3d {words[0]}", few), 1)
        raise
    except PermissionError as error:
        return _complain(InputError(error.filename or "file", "place", error.strerror, "one that can be written"), 2)
    except OSError as error:  # a disk, a program or a network that failed: not a bug of ours, so no trace
        if error.errno == errno.ENAMETOOLONG:  # no file can have such a name: wherever it is looked up, it is bad input
            return _complain(InputError(error.filename or "file", "name", error.strerror, "a shorter one"), 2)
        return _complain(_one_line(f"nca3d: {error}"), 1)
    except KeyboardInterrupt as stop:
        return 130 if stop.args else _complain("stopped", 130)  # with a message, training has said so already
    except SystemExit as leaving:
        if leaving.code in (None, 0):  # argparse leaves through `run`: so this is a rule or plug-in that called sys.exit
            return _complain(f"nca3d {words[0]}: something called {called(leaving)} before the work was done", 1)
        return leaving.code if isinstance(leaving.code, int) else _complain(leaving.code, 1)


def run(argv: list[str]) -> int:
    """Finds the verb, reads its flags, does it, and returns the exit code.

    Raises:
        InputError: no such verb.
    """
    name, *rest = argv or ["--help"]
    if name in VERBS:
        try:
            args = parser_of(name).read(rest)
            args.words = rest
        except SystemExit:  # --help was printed
            return 0
        return int(VERBS[name].load().run(args) or 0)
    overview = Parser(prog="nca3d", description="Grow 3D bodies from one cell with neural cellular automata.")
    overview.add_argument("--version", action="version", version=f"nca3d {nca3d.__version__}")
    if name not in overview._option_string_actions:
        raise InputError("nca3d", "command", repr(name), f"{', '.join(VERBS)}{nearest(name, VERBS)}")
    group = overview.add_subparsers(title="commands", metavar="COMMAND")
    for verb, place in VERBS.items():
        group.add_parser(verb, help=_help_line(place.place))
    with contextlib.suppress(SystemExit):  # --help and --version were printed
        overview.parse_args(argv or [name])
    return 0


def parser_of(verb: str) -> Parser:
    """Returns the parser of the words after a verb."""
    module = VERBS[verb].load()
    parser = Parser(prog=f"nca3d {verb}", description=module.__doc__)
    module.add_flags(parser)
    return parser


def _help_line(module: str) -> str:
    """The first line of a module's docstring, read from its file: a list of verbs needs none of them."""
    spec = find_spec(module)
    text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def _complain(error: object, code: int) -> int:
    tell(error)
    return code
