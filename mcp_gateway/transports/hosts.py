"""Which Host and Origin headers are answered: the guard against DNS rebinding.

A web page can make a browser call a server on its user's own machine, under a name of the
page's choosing. The name gives it away.
"""

import re
from urllib.parse import urlsplit

from mcp_gateway.errors import HostNotAllowed, NotPermitted
from mcp_gateway.settings import Settings
from mcp_gateway.transports.requests import Headers, only

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?\Z")


class Hosts:
    """The names under which this server answers, and the origins whose pages may call it."""

    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.base_url)
        self._hosts = {*LOOPBACK, *(host.lower() for host in settings.allowed_hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in settings.allowed_origins}
        if settings.public_url is not None:
            self._hosts.add(public.netloc.lower())
            self._origins.add(f"{public.scheme}://{public.netloc}".lower())

    def check(self, headers: Headers, forwarded: str | None = None) -> str | None:
        """Refuse a request that was meant for another name, or comes from a foreign page.

        Args:
            forwarded: the host that the caller asked a proxy for; None where there is none. The
                Host header is checked all the same: a page can reach a proxy's machine too.

        Returns:
            The origin of the page that calls; None where it is no page.

        Raises:
            HostNotAllowed: the Host header is missing, doubled, or names another place.
            NotPermitted: origin_not_allowed.

        Source: MCP, transports, security warning; RFC 9110 sections 7.2 and 7.4.
        """
        try:
            host, origin = only(headers, b"host"), only(headers, b"origin")
        except ValueError:
            raise HostNotAllowed("The Host or Origin header was sent twice.") from None
        if not self._knows(host or "") or not self._knows(forwarded or host or ""):
            raise HostNotAllowed("This server does not answer under that host name.")
        if origin is not None and not self._welcomes(origin.lower()):
            raise NotPermitted(
                "Pages of that origin may not call this server.",
                code="origin_not_allowed",
                hint="List the origin in MCP_GATEWAY_ALLOWED_ORIGINS.",
            )
        return origin

    def _knows(self, host: str) -> bool:
        match = _HOST.match(host.lower())
        return match is not None and (match.group(1) in self._hosts or match.group() in self._hosts)

    def _welcomes(self, origin: str) -> bool:
        if origin in self._origins:
            return True
        scheme, _, host = origin.partition("://")
        match = _HOST.match(host)
        return scheme in {"http", "https"} and match is not None and match.group(1) in LOOPBACK
