"""The process that serves: it takes connections one by one, within what the system allows, and stops in good order."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import uvicorn

from nca3d.cube.answers import Askable
from nca3d.cube.serve.app import make_app
from nca3d.cube.serve.batches import Batches
from nca3d.cube.serve.connections import REFUSED, Table
from nca3d.cube.serve.hosts import KnownHosts
from nca3d.cube.serve.limits import Limits
from nca3d.cube.serve.protocol import GuardedProtocol
from nca3d.errors import InputError

# Seconds that requests in progress may still take when the server is stopped.
FAREWELL = 5
# Seconds from one look at all deadlines to the next.
SWEEP = 0.25
# Descriptors that are left for files, and for connections that are closed but not yet gone.
RESERVE = 24
# Fewer connections are no service.
FEWEST = 4
# Seconds until the same complaint is logged again.
SILENCE = 60
# What `accept` fails with where there are no descriptors or no memory: it helps to wait, and to close something.
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Takes connections off a listening socket, one at a time.

    asyncio takes as many as there are before it looks at the first, and where descriptors run out logs a trace each time.

    Args:
        place: The socket.
        make: Makes the protocol of a connection.
        table: All connections, whose deadlines are watched.
    """

    def __init__(self, place: socket.socket, make: Callable[[], asyncio.Protocol], table: Table) -> None:
        place.setblocking(False)
        self.place, self.make, self.table = place, make, table
        self.loop = asyncio.get_running_loop()
        self.tasks = [self.loop.create_task(self._accept()), self.loop.create_task(self._watch())]
        self.complained = -float(SILENCE)

    def close(self) -> None:
        """Takes no more connections; the deadlines of those there are stay."""
        self.tasks[0].cancel()

    async def wait_closed(self) -> None:
        """Returns once no more connections are taken."""
        await asyncio.wait(self.tasks[:1])

    async def _accept(self) -> None:
        while True:
            try:
                connection, _ = await self.loop.sock_accept(self.place)
            except OSError as error:
                await self._without(error)
                continue
            try:
                await self.loop.connect_accepted_socket(self.make, connection)
            except OSError:  # it is gone already
                connection.close()

    async def _without(self, error: OSError) -> None:
        """Makes room after `accept` has failed; what else it fails with is one connection's own trouble."""
        if error.errno not in EXHAUSTED:
            await asyncio.sleep(0)
            return
        if self.loop.time() - self.complained >= SILENCE:
            self.complained = self.loop.time()
            logging.getLogger("uvicorn.error").warning("connections: %s; the idle ones are closed", error.strerror)
        self.table.make_room()
        await asyncio.sleep(0.05)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self.table.sweep(self.loop.time())


class Server(uvicorn.Server):
    """A server as uvicorn runs it, with an acceptor of our own.

    Args:
        config: Its configuration.
        table: All connections.
        line: The questions that wait.
    """

    def __init__(self, config: uvicorn.Config, table: Table, line: Batches) -> None:
        super().__init__(config)
        self.table, self.line = table, line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to take connections from the sockets."""
        await super().startup(sockets=[])
        if self.should_exit:
            return
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        given = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        make = partial(protocol, **given)
        self.servers = [Acceptor(place, make, self.table) for place in sockets or []]  # type: ignore[misc]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finishes what is being answered; whose turn has not come in time is told so."""
        # Before uvicorn gives up on them, which would be an error of no kind.
        asyncio.get_running_loop().call_later(FAREWELL - 1, self.line.stop)
        await super().shutdown(sockets)


def make_server(
    cube: Askable,
    limits: Limits,
    *,
    names: Iterable[str] = (),
    ready: Callable[[], None] = lambda: None,
) -> Server:
    """Returns the server of one cube.

    Args:
        cube: The cube that answers.
        limits: How much is accepted; its connections are those that `within_descriptors` allows.
        names: The names it answers to, besides `localhost` and addresses.
        ready: Is called once, when requests are accepted.
    """
    line = Batches(cube)
    table = Table(limits.connections, min(limits.each or limits.connections, limits.connections))
    config = uvicorn.Config(
        KnownHosts(make_app(cube, limits, ready, line), names),
        # Named, not "auto": what else is installed must not decide how requests are read.
        http=partial(GuardedProtocol, table=table, limits=limits),  # type: ignore[arg-type]
        loop="asyncio",
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        # No proxy headers: anybody could write another address there, and be counted as another client.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=max(1, round(limits.timeout)),
        timeout_graceful_shutdown=FAREWELL,
    )
    return Server(config, table, line)


def within_descriptors(limits: Limits) -> Limits:
    """Returns limits with as many connections as the process may have, after its own limit was raised as far as needed.

    Raises:
        InputError: It may have next to none.
    """
    used = _used()
    needed = used + RESERVE + REFUSED + limits.connections
    fit = _raised(needed) - used - RESERVE - REFUSED
    if fit < FEWEST:
        raise InputError("nca3d serve", "open files", f"room for {max(fit, 0)} connections", "more: see ulimit -n")
    return replace(limits, connections=min(limits.connections, fit))


def _used() -> int:
    """Returns how many descriptors are open."""
    with contextlib.suppress(OSError):
        return len(list(Path("/proc/self/fd").iterdir()))
    return 32


def _raised(needed: int) -> int:
    """Raises the number of descriptors that the process may have, if it is lower, and returns what it is then."""
    try:
        import resource
    except ImportError:  # Windows knows no such limit
        return needed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft
    return wanted
