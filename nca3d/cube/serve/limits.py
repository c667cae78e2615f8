"""How much a server takes in: questions, characters, bytes, requests a minute. The standard library only."""

import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

# Bytes of one character in JSON, at most: two escapes such as \ud83d.
LETTER = 12
# How many times the largest body is still read and thrown away: who is cut off while sending sees no answer.
DRAINED = 8
CLIENTS = 10_000


@dataclass(frozen=True)
class Limits:
    """What one request may ask, and how many may come.

    Args:
        questions: in one request.
        length: characters of a question.
        rate: requests a minute of one client; 0 = any number.
        waiting: requests that wait for their turn.
        patience: seconds in which a body must have arrived.
    """

    questions: int = 64
    length: int = 2000
    rate: float = 60
    waiting: int = 32
    patience: float = 20

    @property
    def body(self) -> int:
        """Bytes: no request within the other limits is larger."""
        return 4096 + self.questions * (LETTER * self.length + 8)


class TooLarge(Exception):
    """A body beyond its limit."""


async def read_body(parts: AsyncIterator[bytes], most: int) -> bytes:
    """The whole body, counted as it comes: a header may lie.

    Raises:
        TooLarge: more than `most` bytes; what came was read, up to a point.
    """
    kept, size = bytearray(), 0
    async for part in parts:
        size += len(part)
        if size <= most:
            kept += part
        elif size > DRAINED * most:
            break
    if size > most:
        raise TooLarge
    return bytes(kept)


@dataclass
class Buckets:
    """A bucket of tokens for each client (Turner 1986): a request takes one, and `rate` a minute come back.

    Args:
        rate: requests a minute, and at most at once; 0 = any number.
        clients: how many are remembered; who was silent longest is forgotten, and then has a full bucket.
        now: seconds, of any clock that never goes back.
    """

    rate: float
    clients: int = CLIENTS
    now: Callable[[], float] = time.monotonic
    _known: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait(self, client: str) -> int:
        """Takes a token: 0. Or there is none: seconds until there will be, 1 or more."""
        if not self.rate:
            return 0
        most, now = max(self.rate, 1.0), self.now()
        tokens, then = self._known.pop(client, (most, now))
        tokens = min(most, tokens + (now - then) * self.rate / 60)
        taken = tokens >= 1
        self._known[client] = (tokens - taken, now)
        if len(self._known) > self.clients:
            self._known.popitem(last=False)
        return 0 if taken else max(1, math.ceil((1 - tokens) * 60 / self.rate))
