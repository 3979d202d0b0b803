"""The door's coarse limit: who keeps sending what never becomes a call, waits or is sent away.

The gate counts calls. What it never sees (bad tokens, bodies that do not parse, pings, calls
that it refused anyway) is counted here, for each caller, and for each address where nobody
knows the caller. What comes to nothing at the logins counts apart: a flood of bad tokens must not
keep its neighbours from good ones. Nothing that passed the gate counts, so an agent that behaves
never gets here, whoever floods beside it from the same address.
"""

from collections import Counter
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from mcp_gateway.access.gate import Gate
from mcp_gateway.clock import Clock
from mcp_gateway.domain.principals import Credentials, Principal, Unsigned
from mcp_gateway.errors import NotAuthenticated, QuotaExceeded, StoreUnavailable
from mcp_gateway.storage.kv import Bucket
from mcp_gateway.storage.memory import Counts
from mcp_gateway.telemetry import metrics
from mcp_gateway.transports.credentials import bearer
from mcp_gateway.transports.rest.discovery import TOKEN_PATH
from mcp_gateway.transports.visit import Visit

DOOR_LIMIT: Final = "door_limit"
PAUSE_S: Final = 0.5  # who calls again at each answer is slowed down by it, and nobody else
MOST_WAITING: Final = 256  # refusals that wait so; each holds a connection and little else
LANE: Final = 8  # signed requests of one caller that wait so, to be served then
OWN_NETWORK: Final = 64  # bits of an IPv6 address that a site has; the rest it chooses freely


class Turnstile:
    """Slows down floods before they cost anything; one for a process.

    Args:
        per_minute: requests a minute of one address or caller that may come to nothing.
    """

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._counts = Counts(clock)
        self._waiting = 0
        self._lanes: Counter[str] = Counter()

    async def admit_stranger(self, visit: Visit, gate: Gate) -> None:
        """Let a request on to have its body read; over the limit, only a known caller's.

        Raises:
            QuotaExceeded: too much of this address came to nothing.
        """
        key = _place(visit)
        if not (wait_s := self._wait_s(key)) or _is_known(visit, gate):
            return
        await self._refuse("address", wait_s)

    async def admit_caller(self, principal: Principal, credentials: Credentials) -> None:
        """Let a known caller's request on; over the limit, only what is signed, and slowly.

        Whoever stole a token without its key must not be able to keep an agent in a position,
        so a fitting signature always has its turn: only the key's owner can fill its lane.

        Raises:
            QuotaExceeded: too much of this caller came to nothing.
        """
        key = _caller(principal)
        if not (wait_s := self._wait_s(key)):
            return
        if isinstance(credentials.evidence, Unsigned) or self._lanes[key] >= LANE:
            await self._refuse("caller", wait_s)
        self._lanes[key] += 1
        try:
            await self._clock.sleep(PAUSE_S)
        finally:
            self._lanes[key] -= 1
            if not self._lanes[key]:
                del self._lanes[key]

    def count(self, visit: Visit) -> None:
        """Count a request that has been answered and was no call."""
        if not _came_to_nothing(visit):
            return
        known = visit.principal
        key = _place(visit) if known is None else _caller(known)
        with suppress(StoreUnavailable):  # more floods at once than are counted: the newest is not
            self._counts.take([self._bucket(key, 1)])

    def _wait_s(self, key: str) -> float:
        """Return the seconds until something may come to nothing again; 0 where it may now."""
        taken = self._counts.take([self._bucket(key, 0)])
        return 0.0 if taken.remaining else taken.next_in_s(0)

    def _bucket(self, key: str, cost: int) -> Bucket:
        return Bucket(key, self._per_minute, self._per_minute, cost)

    async def _refuse(self, whose: str, wait_s: float) -> None:
        metrics.door_refusals_total.labels(whose).inc()
        if self._waiting < MOST_WAITING:
            self._waiting += 1
            try:
                await self._clock.sleep(PAUSE_S)
            finally:
                self._waiting -= 1
        raise QuotaExceeded(
            f"Too many requests of this {whose} were no calls.",
            code=DOOR_LIMIT,
            hint="Wait retry_after_s seconds; then send calls that are well formed, with a valid "
            "token. What is signed is still served.",
            retry_after_s=wait_s,
            detail={"quota": "door"},
        )


def _came_to_nothing(visit: Visit) -> bool:
    """Tell whether an answered request was neither an admitted call nor anything useful."""
    route = visit.route
    if visit.meter.passed or (route is not None and route.probe):
        return False
    if visit.status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # ours to mend
        return False
    is_open = route is not None and route.operation is None and route.handler is not None
    return visit.status >= HTTPStatus.BAD_REQUEST or not is_open


def _is_known(visit: Visit, gate: Gate) -> bool:
    """Tell whether a valid token came, by what is known: nothing is fetched in a flood."""
    try:
        token = bearer(visit.headers)
        shown = Credentials("http", token, Unsigned("signature_missing"), visit.call_id)
        return token is not None and bool(gate.recognise(shown))
    except NotAuthenticated:
        return False


def _caller(principal: Principal) -> str:
    return f"caller:{principal.issuer}\0{principal.subject}"


def _place(visit: Visit) -> str:
    """Return the key under which a request of nobody known counts."""
    address = _address(visit.peer)
    is_login = visit.route is not None and visit.route.path == TOKEN_PATH
    return f"login:{address}" if is_login else address


@lru_cache(4096)
def _address(peer: str) -> str:
    """Return the key of an address: of IPv6 its network, which one site can walk at will."""
    try:
        address = ip_address(peer)
    except ValueError:  # a socket without addresses
        return "address:"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return f"address:{address.ipv4_mapped}"
        return f"address:{IPv6Network((int(address), OWN_NETWORK), strict=False)}"
    return f"address:{address}"
