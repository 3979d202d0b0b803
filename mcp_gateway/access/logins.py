"""Passwords at ``POST /auth/token``: checked slowly, and guessed at by nobody for long.

Failures are bounded for each address and for each name. A name can't be locked from outside:
whoever has logged in from an address before is not bound by what others guess, neither elsewhere
nor at other names from there, and always finds a place where passwords wait to be checked. Good
logins are bounded too: who has one password must not take the places of all others.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from mcp_gateway.access.clients import Client, Clients
from mcp_gateway.clock import Clock
from mcp_gateway.errors import NotAuthenticated, QuotaExceeded, StoreUnavailable
from mcp_gateway.storage.kv import Bucket
from mcp_gateway.storage.memory import Counts
from mcp_gateway.telemetry import logs

FAILURE_DELAY_S: Final = 1.0  # on top of the password's hash: guessing is slow
FAILURES_OF_ADDRESS: Final = 10  # a minute
FAILURES_OF_NAME: Final = 30  # a minute, from all addresses; more than one of them may have
LOGINS_OF_CLIENT: Final = 60  # a minute that succeed: a token serves for longer than a second
AT_ONCE_OF_ADDRESS: Final = 4  # with those that wait for the delay
AT_ONCE_OF_NAME: Final = 2  # passwords that are checked, from where the name has logged in before
KEPT: Final = 10_000  # addresses from which names have logged in
OWN_NETWORK: Final = 64  # bits of an IPv6 address that a site has; the rest it chooses freely
_log = logs.get(__name__)


class Logins:
    """Checks passwords within bounds; one for a process."""

    def __init__(self, clients: Clients, clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        self._counts = Counts(clock)
        self._under_way: Counter[str] = Counter()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def check(self, name: str, password: str, peer: str) -> Client:
        """Return the client whose password this is.

        Args:
            peer: the address that asks.

        Raises:
            NotAuthenticated: client_invalid, for an unknown name and a wrong password alike,
                and after the same time.
            QuotaExceeded: too many failures, or too many logins at once; nothing was checked.
        """
        address = network(peer)
        is_known = (name, address) in self._known
        self._require_patience(name, address, is_known=is_known)
        with self._place(_pair(name, address) if is_known else address, AT_ONCE_OF_ADDRESS):
            client = await self._checked(name, password, is_known=is_known)
            if client is None:
                self._count_failure(name, address, is_known=is_known)
                await self._clock.sleep(FAILURE_DELAY_S)
                raise NotAuthenticated(
                    "Unknown client or wrong password.",
                    code="client_invalid",
                    hint="Check name and password.",
                    detail={"error": "invalid_client"},
                )
        self._remember(name, address)
        with suppress(StoreUnavailable):  # more names and addresses than are counted
            self._counts.take([_of_client(name, cost=1)])
        return client

    async def _checked(self, name: str, password: str, *, is_known: bool) -> Client | None:
        if not is_known:  # strangers could take the places of any name: they share the others
            return await self._clients.check(name, password)
        with self._place(f"name:{name}", AT_ONCE_OF_NAME):
            return await self._clients.check(name, password, is_known=True)

    def _require_patience(self, name: str, address: str, *, is_known: bool) -> None:
        taken = self._counts.take(_failures(name, address, cost=0, is_known=is_known))
        for place, left in enumerate(taken.left):
            if left < 1:
                raise QuotaExceeded(
                    "Too many logins failed.",
                    code="logins_failed",
                    hint="Wait retry_after_s seconds, then log in with the right password.",
                    retry_after_s=taken.next_in_s(place),
                )
        taken = self._counts.take([_of_client(name, cost=0)])
        if not taken.remaining:
            raise QuotaExceeded(
                "The client logs in too often.",
                hint="Use the token that it has until it ends; wait retry_after_s seconds.",
                retry_after_s=taken.next_in_s(0),
            )

    def _count_failure(self, name: str, address: str, *, is_known: bool) -> None:
        _log.info("Login refused", peer=address)
        buckets = _failures(name, address, cost=1, is_known=False)
        if is_known:
            buckets += _failures(name, address, cost=1, is_known=True)
        for bucket in buckets:  # what is used up must not hide the others
            self._counts.take([bucket])

    @contextmanager
    def _place(self, of: str, most: int) -> Iterator[None]:
        """Hold one of the few places that an address or a name has."""
        if self._under_way[of] >= most:
            raise QuotaExceeded("Too many logins at once.", retry_after_s=FAILURE_DELAY_S)
        self._under_way[of] += 1
        try:
            yield
        finally:
            self._under_way[of] -= 1
            if not self._under_way[of]:
                del self._under_way[of]

    def _remember(self, name: str, address: str) -> None:
        self._known[name, address] = None
        self._known.move_to_end((name, address))
        if len(self._known) > KEPT:
            self._known.popitem(last=False)


def network(peer: str) -> str:
    """Return what stands for an address: of IPv6 the network that its owner has."""
    try:
        address = ip_address(peer)
    except ValueError:  # a socket of this machine, or none
        return peer
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, OWN_NETWORK), strict=False))


def _pair(name: str, address: str) -> str:
    return f"known:{address}\0{name}"


def _of_client(name: str, *, cost: int) -> Bucket:
    return Bucket(f"client:{name}", LOGINS_OF_CLIENT, LOGINS_OF_CLIENT, cost)


def _failures(name: str, address: str, *, cost: int, is_known: bool) -> list[Bucket]:
    """Return what bounds the failures of a name at an address where it is known, or is not."""
    if is_known:
        return [Bucket(_pair(name, address), FAILURES_OF_ADDRESS, FAILURES_OF_ADDRESS, cost)]
    return [
        Bucket(f"address:{address}", FAILURES_OF_ADDRESS, FAILURES_OF_ADDRESS, cost),
        Bucket(f"name:{name}", FAILURES_OF_NAME, FAILURES_OF_NAME, cost),
    ]
