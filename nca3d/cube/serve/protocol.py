"""HTTP/1.1 as strangers may speak it to us: uvicorn's protocol over h11, with deadlines, and stricter about requests.

uvicorn gives a silent connection five seconds, but begins anew with each byte, and knows no limit for a request's head, for a
client that never reads, or for a body that nobody asked for. h11 reads requests by the book; where the book allows two
readings, a proxy in front may have another one than we (request smuggling), and the request is refused.
"""

import asyncio
import json
import math
import re
import socket
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr

from nca3d.cube.serve.connections import Phase, Table, client_of
from nca3d.cube.serve.limits import Limits

# Bytes and lines of a request's head.
HEAD, LINES = 16_384, 100
# Seconds that a client may still send in vain after its last reply: to be cut off at once, it would not see it.
FAREWELL = 1.0
# Seconds more than the application has for the same, so that its error comes first.
GRACE = 2.0
END = re.compile(rb"\n\r?\n")
# What no head may hold: control characters, a carriage return alone, a line that goes on in the next one (obs-fold).
UNCLEAN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|\n[ \t]")
LENGTHS = re.compile(rb"^content-length[ \t]*:", re.IGNORECASE | re.MULTILINE)
CODINGS = re.compile(rb"^transfer-encoding[ \t]*:", re.IGNORECASE | re.MULTILINE)
# By status, what is said of requests that reach no application.
WRONG = {
    400: "request: found one that is not HTTP/1.1 as RFC 9112 has it, allowed one length, whole lines, no control characters",
    408: "head: found none that was complete in time, allowed a few seconds; send it again",
    431: f"request: found a head that is too large, allowed {HEAD:,} bytes and {LINES} lines",
    501: "Transfer-Encoding: found another than chunked, allowed chunked",
    503: "connections: found as many as are allowed, all with questions; try again",
    505: "version: found another than HTTP/1.1, allowed HTTP/1.1 and HTTP/1.0",
}


class StrictConnection(h11.Connection):
    """A connection that refuses what could be read in two ways."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Returns the next event, as h11 does.

        Raises:
            RemoteProtocolError: The request is refused; its hint is the status.
        """
        if self.their_state is h11.IDLE:
            self._look()
        event = super().next_event()
        if isinstance(event, h11.Request) and event.http_version not in (b"1.0", b"1.1"):
            raise h11.RemoteProtocolError("version", error_status_hint=505)
        return event

    def _look(self) -> None:
        """Looks at a head as it came: h11 has made it tidy by the time it hands it on."""
        received, _ = self.trailing_data
        end = END.search(received)
        head = received[: end.end() if end else None]
        if len(head) > HEAD or head.count(b"\n") > LINES:
            raise h11.RemoteProtocolError("head", error_status_hint=431)
        if end and (UNCLEAN.search(head) or len(LENGTHS.findall(head)) + len(CODINGS.findall(head)) > 1):
            raise h11.RemoteProtocolError("head", error_status_hint=400)


class GuardedProtocol(H11Protocol):
    """One connection of a client.

    Args:
        table: All connections; this one is entered there.
        limits: How long things may take.
        given: What uvicorn hands to its protocols.
    """

    def __init__(self, *given: Any, table: Table, limits: Limits, **named: Any) -> None:
        super().__init__(*given, **named)
        self.conn = StrictConnection(h11.SERVER, HEAD)
        self.table, self.limits = table, limits
        self.at = Phase.IDLE
        self.since = self.loop.time()
        # Since when the client has read nothing of what waits for it.
        self.unread_since: float | None = None
        # Whether the client has said that it sends nothing more.
        self.is_half_closed = False

    # What the table asks ----------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """What the connection is at."""
        is_unread = self.at == Phase.WORK and self.transport.get_write_buffer_size()
        return Phase.REPLY if is_unread else self.at

    def overdue(self, now: float) -> bool:
        """Whether it has been at it for longer than is allowed; it is asked every now and then."""
        if not self.transport.get_write_buffer_size():
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        if self.unread_since is not None and now - self.unread_since > self.limits.patience:
            return True
        if self.is_half_closed and self._is_gone():
            return True
        if self.transport.is_closing():  # as soon as its last bytes are read, which was looked at above
            return False
        allowed = {
            Phase.LEAVING: FAREWELL,
            Phase.IDLE: self.limits.timeout,
            Phase.HEAD: self.limits.timeout,
            Phase.BODY: self.limits.patience + GRACE,
        }
        return now - self.since > allowed.get(self.at, math.inf)

    def expire(self) -> None:
        """Ends the connection because it is overdue: whoever has begun with a request is told so."""
        if self.at == Phase.HEAD and not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self._say(408)
            self._leave()
        else:
            self.drop()

    def drop(self) -> None:
        """Closes the connection at once."""
        self.transport.abort()

    # What asyncio and uvicorn call -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Enters a new connection, or refuses it where all others have a question."""
        # asyncio reads 256 KB at once, and of a thousand requests in a row h11 would move all the others to read one.
        transport.max_size = HEAD  # type: ignore[attr-defined]
        super().connection_made(transport)
        self.since = self.loop.time()
        address = get_remote_addr(transport)
        if self.table.admit(self, client_of(address[0] if address else "")):
            return
        if not self.table.refuse(self):
            self.drop()
            return
        self._say(503)
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self.table.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads what a client sends; once it is said goodbye to, in vain."""
        if self.at == Phase.LEAVING or self.transport.is_closing():
            return
        if self.at == Phase.IDLE:
            # The first request is timed from when the client has connected, the others from their first byte.
            self._enter(Phase.HEAD, self.since if self.cycle is None else None)
        try:
            super().data_received(data)
        except h11.ProtocolError:  # bytes that make no sense after a reply, and the like: there is nothing to say to them
            self.drop()
        else:
            self._settle()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answers a client that has sent all it will, unless it has gone away, which looks the same.

        An interim reply tells the two apart: who is gone refuses it, which is looked at in `overdue`.
        """
        if self.at != Phase.WORK or self.cycle.response_started or self.conn.their_http_version != b"1.1":
            return None
        self.is_half_closed, self.cycle.keep_alive = True, False
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuses a request that could not be read: uvicorn calls it where h11 has raised."""
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        # A chunk without an end is no large head.
        status = status if status in WRONG and not (status == 431 and self.at == Phase.BODY) else 400
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._say(status)
        self._leave()

    def on_response_complete(self) -> None:
        """Goes on to the next request; where this one's body was not wanted, the connection ends."""
        if self.cycle.more_body and not self.transport.is_closing():
            self._leave()
            return
        super().on_response_complete()
        self._settle()

    def shutdown(self) -> None:
        """Ends the connection, once a request that is being answered is."""
        if self.at in (Phase.WORK, Phase.BODY):
            super().shutdown()
        else:
            self.transport.close()

    def _should_upgrade(self) -> bool:
        """Returns False: whoever asks for another protocol is answered in this one, as HTTP allows."""
        return False

    # What happens here -----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Notes what the connection is at, by what was read and answered."""
        if self.at == Phase.LEAVING:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            phase = Phase.BODY if self.cycle.more_body else Phase.WORK
        elif self.conn.trailing_data[0] or (self.cycle is None and self.at == Phase.HEAD):
            phase = Phase.HEAD
        else:
            phase = Phase.IDLE
        if phase != self.at:
            self._enter(phase)

    def _is_gone(self) -> bool:
        """Whether the client has refused what was sent to it."""
        place = self.transport.get_extra_info("socket")
        return place is None or bool(place.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _enter(self, phase: Phase, since: float | None = None) -> None:
        self.at, self.since = phase, self.loop.time() if since is None else since

    def _say(self, status: int) -> None:
        """Writes a reply to what reaches no application, with a line in the log."""
        body = json.dumps({"detail": WRONG[status]}).encode()
        lines = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *(["retry-after: 1"] if status == 503 else []),
            "connection: close",
        )
        self.transport.write("\r\n".join((*lines, "", "")).encode() + body)
        client = ":".join(map(str, self.client or ("?",)))
        self.access_logger.info('%s - "-" %d', client, status)

    def _leave(self) -> None:
        """Says goodbye: what is written is sent, and what still comes is thrown away for a moment."""
        self._unset_keepalive_if_required()
        self._enter(Phase.LEAVING)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
