"""Limits of what a server accepts: questions, characters, bytes, requests a minute, connections.

Only the standard library is used, so that limits can be checked before a web framework is installed.
"""

import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

# Bytes of one character in JSON at most: a character outside the basic plane is two escapes such as \ud83d.
LETTER = 12
# A body that is too large is still read, up to so many times the limit, and thrown away: a client that is cut off while it
# sends never sees the error. Beyond it the connection is closed.
DRAINED = 8
# Clients whose requests are counted at most: addresses are cheap, and memory must be bounded.
CLIENTS = 10_000


@dataclass(frozen=True)
class Limits:
    """How large a request may be, and how many may come.

    Attributes:
        questions: The most questions of one request.
        length: The most characters of one question.
        rate: The most requests a minute of one client; 0 = any number.
        waiting: The most requests that may wait for their turn.
        patience: The seconds in which a body must have arrived, and a reply must have been read.
        timeout: The seconds in which a request's head must have arrived, and after which a silent connection is closed.
        connections: The most connections at a time.
        each: The most of one client at a time; 0 = as many as in all.
    """

    questions: int = 64
    length: int = 2000
    rate: float = 60
    waiting: int = 256
    patience: float = 20
    timeout: float = 5
    connections: int = 512
    each: int = 128

    @property
    def body(self) -> int:
        """The most bytes of a body: no request within the other limits is larger."""
        # Each question has its quotes, comma and some spaces; the 4096 are for everything around the questions.
        return 4096 + self.questions * (LETTER * self.length + 8)


class TooLarge(Exception):
    """A request's body is larger than its limit."""


async def read_body(parts: AsyncIterator[bytes], most: int) -> bytes:
    """Reads a whole body and counts its bytes as they come: the header that tells its length may lie.

    Args:
        parts: The body's parts.
        most: The most bytes that are accepted.

    Returns:
        The body.

    Raises:
        TooLarge: The body has more bytes; they were read and thrown away, up to `DRAINED` times the limit.
    """
    body, size = bytearray(), 0
    async for part in parts:
        size += len(part)
        if size <= most:
            body += part
        elif size > DRAINED * most:
            break
    if size > most:
        raise TooLarge
    return bytes(body)


@dataclass
class Buckets:
    """A bucket of tokens for each client (Turner 1986): a request takes one, and `rate` a minute come back.

    Attributes:
        rate: The requests a minute, which is also how many may come at once; 0 = any number.
        clients: How many clients are remembered. The one that was silent longest is forgotten: its bucket is full again.
        now: Returns seconds, by any clock that never goes back.
    """

    rate: float
    clients: int = CLIENTS
    now: Callable[[], float] = time.monotonic
    # By client the tokens that were left at a time, the client that was silent longest first.
    _known: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait(self, client: str) -> int:
        """Takes a token and returns 0; where there is none, returns the seconds until there will be, 1 or more."""
        if not self.rate:
            return 0
        most, now = max(self.rate, 1.0), self.now()
        # Tokens are counted when they are needed: no timer runs, and a silent client costs nothing.
        tokens, then = self._known.pop(client, (most, now))
        tokens = min(most, tokens + (now - then) * self.rate / 60)
        taken = tokens >= 1
        self._known[client] = (tokens - taken, now)
        if len(self._known) > self.clients:
            self._known.popitem(last=False)
        return 0 if taken else max(1, math.ceil((1 - tokens) * 60 / self.rate))
