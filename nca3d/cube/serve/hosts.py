"""Which names a server answers to, and which pages may ask it.

A page of another site can't read what this server says, unless its own name is made to point here (DNS rebinding): then the
browser takes it for the same site. It still sends that name as `Host`, and so it is told from a name that was meant.
"""

import ipaddress
import re
from collections.abc import Iterable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PLACE = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?", re.IGNORECASE | re.ASCII)
ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
# Characters of a name that are shown in an error.
SHOWN = 80


class KnownHosts:
    """An application that answers to known names alone, and to pages that came from it.

    Args:
        app: The application behind it.
        names: The names it answers to, besides `localhost` and all addresses: no name can be made to look like an address.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        self.app, self.names = app, {name.lower().rstrip(".") for name in names} | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request itself where its `Host` or `Origin` is wrong, else hands it on."""
        if scope["type"] == "http":
            error = self._check(scope)
            if error:
                status, detail = error
                await JSONResponse({"detail": detail}, status)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> tuple[int, str] | None:
        """Returns what is wrong, as status and text, and turns an absolute target into a path (RFC 9112, 3.2.2)."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if absolute := ABSOLUTE.match(scope["raw_path"]):
            # Where the target names a host, it is that one, whatever the header says.
            hosts = [absolute[1].decode("latin-1")]
            scope["raw_path"] = scope["raw_path"][absolute.end() :] or b"/"
            scope["path"] = re.sub("^https?://[^/?#]*", "", scope["path"], flags=re.IGNORECASE) or "/"
        # HTTP/1.0 knows no Host, and no browser speaks it.
        if not hosts and scope["http_version"] == "1.0" and not origins:
            return None
        place = PLACE.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if place is None or not self.knows(place[1]):
            found = f"{len(hosts)} of them" if len(hosts) != 1 else shown(hosts[0])
            return 400, f"Host: found {found}, allowed localhost, an address, or a name given by --allow-host"
        if origins and (len(origins) > 1 or not _same(origins[0], place)):
            return 403, f"Origin: found {shown(', '.join(origins))}, allowed the page of this server itself"
        return None

    def knows(self, name: str) -> bool:
        """Returns whether a name, without its port, is one that the server answers to."""
        if name.lower().rstrip(".") in self.names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def _same(origin: str, place: re.Match[str]) -> bool:
    """Returns whether an origin is that of a host: over TLS, too, which a proxy in front may speak."""
    scheme, _, rest = origin.lower().partition("://")
    found = PLACE.fullmatch(rest)
    default = {"http": "80", "https": "443"}.get(scheme)
    if found is None or default is None:
        return False
    return (found[1], found[2] or default) == (place[1].lower(), place[2] or default)


def shown(text: str) -> str:
    """Returns a text as an error shows it: in quotes, not too long, without control characters."""
    return ascii(text if len(text) <= SHOWN else text[:SHOWN] + "…")
