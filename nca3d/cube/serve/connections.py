"""Who is connected: a cap in all and for each client, and who has to go when it is reached.

A cap that turned newcomers away would let anybody who holds connections open lock out everybody else, those behind his own
address too. So the newcomer is let in, and the connection that is missed least is closed: one that is said goodbye to, one
without a request, one whose request trickles in, one whose reply nobody reads. Only a request that is being answered is safe.
"""

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Protocol

# Connections beyond the cap that are told so, rather than cut off, at a time.
REFUSED = 8


class Phase(IntEnum):
    """What a connection is at, that which is missed least first."""

    LEAVING = 0  # its last reply is written, and what the client still sends is thrown away
    IDLE = 1  # no byte of a request has come
    HEAD = 2  # a request's head is coming in
    BODY = 3  # a request's body is coming in
    REPLY = 4  # a reply waits for the client to read it
    WORK = 5  # a request is being answered


class Guest(Protocol):
    """A connection, as the table sees it."""

    @property
    def phase(self) -> Phase:
        """What it is at."""

    @property
    def since(self) -> float:
        """Since when, in seconds of the loop's clock."""

    def overdue(self, now: float) -> bool:
        """Whether it has been at it for longer than is allowed."""

    def expire(self) -> None:
        """Ends it because it is overdue."""

    def drop(self) -> None:
        """Closes it at once."""


@lru_cache(maxsize=1024)
def client_of(host: str) -> str:
    """Returns who an address belongs to: of IPv6 its network of 64 bits, since whoever has one address has all of those."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


@dataclass
class Table:
    """All connections of a server.

    Attributes:
        most: The most at a time.
        each: The most of one client at a time.
    """

    most: int
    each: int
    _clients: dict[Guest, str] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    _refused: set[Guest] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._clients)

    def admit(self, guest: Guest, client: str) -> bool:
        """Lets a connection in, closing another for it if need be; False where all others are being answered."""
        if self._counts[client] >= self.each:
            fits = self._make_room(client)
        else:
            fits = len(self) < self.most or self._make_room(None)
        if not fits:
            return False
        self._clients[guest] = client
        self._counts[client] += 1
        return True

    def refuse(self, guest: Guest) -> bool:
        """Notes a connection that is told to go; False where so many are being told that it must be cut off."""
        if len(self._refused) >= REFUSED:
            return False
        self._refused.add(guest)
        return True

    def remove(self, guest: Guest) -> None:
        """Forgets a connection that is closed, if it is known."""
        self._refused.discard(guest)
        client = self._clients.pop(guest, None)
        if client is not None:
            self._counts[client] -= 1
            if not self._counts[client]:  # or every address that ever came would be remembered
                del self._counts[client]

    def sweep(self, now: float) -> None:
        """Ends every connection that is overdue."""
        for guest in [*self._clients, *self._refused]:
            if guest.overdue(now):
                guest.expire()

    def make_room(self) -> bool:
        """Closes the connection that is missed least; False where there is none to close."""
        return self._make_room(None)

    def _make_room(self, client: str | None) -> bool:
        guests = [guest for guest, owner in self._clients.items() if client in (None, owner) and guest.phase < Phase.WORK]
        if not guests:
            return False
        # Of those that are at the same, one of the client with the most, and of these the one that has been at it longest.
        least = min(guests, key=lambda guest: (guest.phase, -self._counts[self._clients[guest]], guest.since))
        self.remove(least)  # now: its socket is closed a little later
        least.drop()
        return True
