"""What a caller sent before a reverse proxy took it on: scheme, host, and the caller's address.

Anybody can write the headers that tell it. So they are read only where the connection comes
from a proxy that the operator named, and of several values only those that such a proxy wrote.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from mcp_gateway.errors import RequestMalformed
from mcp_gateway.settings import Settings
from mcp_gateway.transports.requests import Headers

LONGEST: Final = 2048  # bytes of each header, all its lines together
PARTS: Final = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
SCHEMES: Final = frozenset({"http", "https"})
_TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - RFC 9110's word for a bare value
_PAIR: Final = re.compile(rf'({_TOKEN})=({_TOKEN}|"(?:[^"\\\x00-\x1f]|\\[ -~])*")')
_BETWEEN: Final = re.compile(r"[ \t]*([;,])[ \t]*")
_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+):\d{1,5}")
_HOST: Final = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Outside:
    """A request as its caller sent it: ``host`` is None where the Host header says it.

    ``public`` is the host that callers may have signed all the same, for a proxy that nobody
    named may have written another into the Host header; None where there is none.
    """

    scheme: str
    host: str | None
    peer: str
    public: str | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """What the proxies wrote, the nearest one last; None where one left a part out."""

    callers: Sequence[str | None]
    schemes: Sequence[str | None]
    hosts: Sequence[str | None]


class Proxies:
    """The proxies whose word counts: those of MCP_GATEWAY_TRUSTED_PROXIES.

    Where MCP_GATEWAY_PUBLIC_URL is set, no proxy tells another scheme or host.
    """

    def __init__(self, settings: Settings) -> None:
        self._networks = [ip_network(each) for each in settings.trusted_proxies]
        base = urlsplit(settings.base_url)
        self._scheme = base.scheme
        self._fixed = None if settings.public_url is None else base.netloc

    def outside(self, peer: str, headers: Headers) -> Outside:
        """Return the request as its caller sent it.

        Args:
            peer: address at the other end of the connection; empty where it has none.

        Raises:
            RequestMalformed: forwarded_malformed; a trusted proxy wrote what cannot be read.
        """
        if not self._trusts(peer):
            return Outside(self._scheme, None, peer, self._fixed)
        told = _told(headers)
        hops, caller = self._walked(told.callers, peer)
        if self._fixed is not None:
            return Outside(self._scheme, self._fixed, caller)
        scheme = (_outermost(told.schemes, hops) or self._scheme).lower()
        host = _outermost(told.hosts, hops)
        if scheme not in SCHEMES or not (host is None or _HOST.fullmatch(host)):
            raise _malformed("A proxy forwards a scheme or host that is none.")
        return Outside(scheme, host, caller)

    def _walked(self, callers: Sequence[str | None], peer: str) -> tuple[int, str]:
        """Go back from proxy to proxy; return how many are trusted, and who called the first."""
        hops = 0
        for told in reversed(callers):
            hops += 1
            address = None if told is None else _address(told)
            if address is None:  # hidden on purpose, which RFC 7239 section 6.3 allows
                break
            peer = str(address)
            if not self._trusts(peer):
                break
        return max(hops, 1), peer

    def _trusts(self, peer: str) -> bool:
        address = _address(peer) if self._networks else None
        return address is not None and any(address in network for network in self._networks)


def _told(headers: Headers) -> _Told:
    present = {name for name, _ in headers}
    if b"forwarded" not in present:
        return _Told(*(_listed(headers, name) for name in PARTS))
    if present & set(PARTS):
        # One of them may be the caller's own that the proxy passed on.
        raise _malformed("Both Forwarded and X-Forwarded-* are there; which is the proxy's?")
    hops = list(_elements(_joined(headers, b"forwarded")))
    return _Told(*([hop.get(part) for hop in hops] for part in ("for", "proto", "host")))


def _joined(headers: Headers, name: bytes) -> str:
    text = b",".join(value for found, value in headers if found == name).decode("latin-1")
    if len(text) > LONGEST:
        raise _malformed("A forwarded header is too long.")
    return text


def _listed(headers: Headers, name: bytes) -> list[str | None]:
    text = _joined(headers, name)
    values = [value.strip(" \t") for value in text.split(",")] if text else []
    if not all(values):
        raise _malformed("A forwarded header has an empty value.")
    return list(values)


def _elements(text: str) -> Iterator[dict[str, str]]:
    """Read a Forwarded field: what each proxy wrote, the nearest one last (RFC 7239 section 4)."""
    hop: dict[str, str] = {}
    place = 0
    while True:
        pair = _PAIR.match(text, place)
        if pair is None or (name := pair[1].lower()) in hop:
            raise _malformed("The Forwarded header cannot be read.")
        value = pair[2]
        hop[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if pair.end() == len(text):
            yield hop
            return
        between = _BETWEEN.match(text, pair.end())
        if between is None:
            raise _malformed("The Forwarded header cannot be read.")
        place = between.end()
        if between[1] == ",":
            yield hop
            hop = {}


def _outermost(values: Sequence[str | None], hops: int) -> str | None:
    """Return what the farthest of the trusted proxies wrote; further left anybody may have."""
    return next((value for value in values[-hops:] if value is not None), None)


def _address(text: str) -> Address | None:
    """Read an address with or without a port; an IPv4 one in IPv6 clothes as what it is."""
    parts = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((parts[1] or parts[2]) if parts else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _malformed(message: str) -> RequestMalformed:
    return RequestMalformed(
        message,
        code="forwarded_malformed",
        hint="Let the proxy overwrite Forwarded or X-Forwarded-*, and remove the other.",
    )
