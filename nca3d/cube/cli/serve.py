"""The command `nca3d serve`: puts a trained cube behind HTTP, with POST /answer, GET /health and a page to ask it by."""

import argparse
import contextlib
import errno
import re
import signal
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn

from nca3d.cli.flags import add_fields, plugins_of, wrong_numbers
from nca3d.cube.cli.answer import RUN, check_cube, open_cube
from nca3d.cube.export.record import is_surface_folder
from nca3d.cube.serve.limits import Limits
from nca3d.errors import ErrorCollector, InputError

if TYPE_CHECKING:
    from nca3d.cube.answers import Askable

# Connections that the system keeps while the cube is loading.
BACKLOG = 2048
# A body, and the reading of a reply, may last so many times as long as a head.
PATIENCE = 4


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d serve` to a parser."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    add_fields(parser, ("plugins",))
    parser.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1", help="where to listen (default: 127.0.0.1, this machine)"
    )
    parser.add_argument("--port", metavar="N", type=int, default=8000, help="0 = any that is free (default: 8000)")
    parser.add_argument(
        "--max-questions", metavar="N", type=int, default=64, help="questions of one request, at most (default: 64)"
    )
    parser.add_argument(
        "--max-length", metavar="N", type=int, default=2000, help="characters of a question, at most (default: 2000)"
    )
    parser.add_argument(
        "--rate", metavar="N", type=int, default=60, help="requests a minute of one client; 0 = any number (default: 60)"
    )
    parser.add_argument(
        "--connections", metavar="N", type=int, default=512, help="at a time, at most; beyond it idle ones go (default: 512)"
    )
    parser.add_argument(
        "--connections-per-address", metavar="N", type=int, default=128, help="of one client; 0 = as many (default: 128)"
    )
    parser.add_argument(
        "--timeout",
        metavar="N",
        type=int,
        default=5,
        help=f"seconds for a request's head and between requests; {PATIENCE} times as many for a body (default: 5)",
    )
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="answer to this name too, besides localhost and addresses; may be given again and again",
    )
    parser.add_argument(
        "--access-log", choices=("stderr", "off"), default="stderr", help="a line for each request (default: stderr)"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="weights in memory; bf16 takes half, where answers stay the same (default: fp32)",
    )


def run(args: argparse.Namespace) -> int:
    """Serves until it is stopped.

    Returns:
        The exit code: 130 after Ctrl-C, 0 otherwise. SIGTERM ends in 143. Requests in progress are answered first.

    Raises:
        InputErrors: Arguments are wrong, or the port is in use; found before torch loads.
    """
    with ErrorCollector() as errors:
        errors += wrong_numbers(args, port=(0, 65535), max_questions=(1, 4096), max_length=(1, 100_000), rate=(0, 1_000_000))
        errors += wrong_numbers(args, connections=(4, 100_000), connections_per_address=(0, 100_000), timeout=(1, 3600))
        errors += _wrong_names(args.allow_host)
        missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
        errors.add(bool(missing), "nca3d serve", "extra", f"no {', '.join(missing)}", "pip install 'nca3d[serve]'")
        errors.of(check_cube, args.run, plugins_of(args))
    # The port is taken before the cube loads, which may last a minute: a port in use is told at once.
    with _listening(args.host, args.port) as place, _terminated():
        cube, note = _cube(args)
        if note:
            print(f"--precision: {note}", file=sys.stderr)
        # Imported late: they are an extra, and the answer of `--help` should not wait for them.
        from nca3d.cube.serve import log, server

        limits = server.within_descriptors(_limits(args))
        if limits.connections < args.connections:
            print(f"--connections: {limits.connections}, as many as open files allow (ulimit -n)", file=sys.stderr)
        serving = server.make_server(
            cube, limits, names=[args.host, *args.allow_host], ready=lambda: _say_where(args.run, place)
        )
        with contextlib.closing(log.install(args.access_log == "stderr")):
            try:
                serving.run(sockets=[place])
            except KeyboardInterrupt:
                return 130
    return 0


def _cube(args: argparse.Namespace) -> "tuple[Askable, str]":
    """Returns the cube, ready to be asked often, and a line about what could not be had, or ""."""
    cube = open_cube(args.run, plugins_of(args))
    if is_surface_folder(args.run):  # it runs without the rule, and what is needed for it
        return cube, "float32: found a cube that ONNX Runtime computes" if args.precision == "bf16" else ""
    from nca3d.cube.quick import quick

    return quick(cube, args.precision)


def _limits(args: argparse.Namespace) -> Limits:
    """Returns the limits that the flags set."""
    return Limits(
        args.max_questions,
        args.max_length,
        args.rate,
        patience=PATIENCE * args.timeout,
        timeout=args.timeout,
        connections=args.connections,
        each=args.connections_per_address,
    )


def _say_where(name: str, place: socket.socket) -> None:
    """Prints the address on stdout; where nobody reads it, the server serves all the same."""
    host, port = place.getsockname()[:2]
    with contextlib.suppress(OSError, ValueError):
        print(f"{name}: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)


def _wrong_names(names: list[str]) -> Iterator[InputError]:
    """Yields an error for each name that no Host could hold."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", name):
            yield InputError("--allow-host", "name", name, "a name of this server without port, such as cube.example.org")


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yields a socket that listens."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise InputError("--host", "address", host, f"an address of this machine: {error}") from None
    with socket.socket(family, kind, protocol) as place:
        # Or a port would count as in use for a minute after a server has stopped. On Windows the option means another thing: to
        # share the port of a server that runs.
        if sys.platform != "win32":
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind(address)
            place.listen(BACKLOG)  # clients that connect while the cube is loading wait
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise InputError("--port", "port", f"{port}, which is in use", "one that is free; 0 = any") from None
            if error.errno == errno.EACCES:
                raise InputError("--port", "port", f"{port}, which needs more rights", "1024 or more; 0 = any") from None
            raise InputError("--host", "address", f"{host}: {error.strerror}", "an address of this machine") from None
        yield place


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Makes SIGTERM end in exit code 143: the server finishes its requests first, then raises the signal again."""

    def stop(*_: object) -> NoReturn:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
