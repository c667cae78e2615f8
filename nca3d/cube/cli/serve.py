"""The command `nca3d serve`: puts a trained cube behind HTTP, with POST /answer, GET /health and a page to ask it by."""

import argparse
import contextlib
import errno
import signal
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NoReturn

from nca3d.cli.flags import add_fields, plugins_of, wrong_numbers
from nca3d.cube.cli.answer import RUN, check_cube, open_cube
from nca3d.errors import ErrorCollector, InputError

# Seconds that a request in progress may still take when the server is stopped.
FAREWELL = 5


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


def run(args: argparse.Namespace) -> int:
    """Serves until it is stopped.

    Returns:
        The exit code: 130 after Ctrl-C, 0 otherwise. SIGTERM ends in 143. Requests in progress are answered first.

    Raises:
        InputErrors: Arguments are wrong, or the port is in use; found before torch loads.
    """
    with ErrorCollector() as errors:
        errors += wrong_numbers(args, port=(0, 65535), max_questions=(1, 4096), max_length=(1, 100_000), rate=(0, 1_000_000))
        missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
        errors.add(bool(missing), "nca3d serve", "extra", f"no {', '.join(missing)}", "pip install 'nca3d[serve]'")
        errors.of(check_cube, args.run, plugins_of(args))
    # The port is taken before the cube loads, which may last a minute: a port in use is told at once.
    with _listening(args.host, args.port) as place, _terminated():
        cube = open_cube(args.run, plugins_of(args))
        import uvicorn

        from nca3d.cube.serve.app import make_app
        from nca3d.cube.serve.limits import Limits

        host, port = place.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        app = make_app(
            cube, Limits(args.max_questions, args.max_length, args.rate), lambda: print(f"{args.run}: {address}", flush=True)
        )
        # No proxy headers: anybody could write another address there, and be counted as another client.
        config = uvicorn.Config(
            app, log_level="info", proxy_headers=False, server_header=False, timeout_graceful_shutdown=FAREWELL, lifespan="on"
        )
        try:
            uvicorn.Server(config).run(sockets=[place])
        except KeyboardInterrupt:
            return 130
    return 0


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
            place.listen()  # clients that connect while the cube is loading wait
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
