"""Threat: a recorded order is sent again: to another process, or after the store has forgotten."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import anyio
import pytest
import redis.asyncio

from mcp_gateway.access.proof import Proof
from mcp_gateway.domain.principals import Credentials, Principal, Signed
from mcp_gateway.errors import GatewayError
from mcp_gateway.storage.kv import KeyValue, open_kv
from tests.support.clock import START, ManualClock
from tests.support.servers import Child
from tests.support.signing import KEY_ID, KEYRING
from tests.support.tokens import ISSUER, NOW

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

WINDOW_S = 30
MARK = "mcp-gateway:nonces-since"
CALLER = Principal(ISSUER, KEY_ID, frozenset())
LATER_S = 5


@dataclass
class Node:
    """One gateway process: its clock, and the store that it shares with others."""

    kv: KeyValue
    clock: ManualClock

    async def takes(self, signed: Signed) -> str:
        """Return what becomes of an order with that signature."""
        proof = Proof(KEYRING, self.kv, self.clock, window_s=WINDOW_S, plain=False)
        try:
            await proof.key_id(CALLER, Credentials("rest", None, signed, "call"))
        except GatewayError as refusal:
            return refusal.code
        return "taken"


def signature(created: int = NOW) -> Signed:
    return Signed(KEY_ID, uuid.uuid4().hex, created)


@asynccontextmanager
async def node(url: str | None, *, later_s: float = 0) -> AsyncIterator[Node]:
    clock = ManualClock()
    clock.advance(later_s)
    kv = open_kv(url, clock)
    try:
        yield Node(kv, clock)
    finally:
        await kv.close()


@asynccontextmanager
async def administrator(url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    client = redis.asyncio.Redis.from_url(url)
    try:
        yield client
    finally:
        await client.aclose()


async def marked(admin: "redis.asyncio.Redis") -> int:
    """Return the second since which the store says that it remembers."""
    mark = await admin.get(MARK)
    assert isinstance(mark, bytes)
    return int(mark.split()[0])


async def met(*nodes: Node) -> None:
    """Let the store know since when it remembers, long before the test begins."""
    for each in nodes:
        each.clock.set_wall(START - timedelta(hours=1))
        assert await each.takes(signature()) == "taken"
        each.clock.set_wall(START)


async def test_what_one_process_took_another_refuses(own_redis: Child) -> None:
    """A second replica is no second chance."""
    async with node(own_redis.url) as one, node(own_redis.url) as other:
        await met(one, other)
        order = signature()
        assert await one.takes(order) == "taken"
        assert await one.takes(order) == "signature_replayed"
        assert await other.takes(order) == "signature_replayed"


async def test_of_64_at_once_over_two_processes_one_is_taken(own_redis: Child) -> None:
    """The store decides, in one step."""
    async with node(own_redis.url) as one, node(own_redis.url) as other:
        await met(one, other)
        order, told = signature(), list[str]()

        async def send(to: Node) -> None:
            told.append(await to.takes(order))

        async with anyio.create_task_group() as group:
            for place in range(64):
                group.start_soon(send, (one, other)[place % 2])
        assert sorted(told) == ["signature_replayed"] * 63 + ["taken"]


@pytest.mark.parametrize("accident", ["flushed", "restarted", "failed over", "evicted"])
async def test_what_was_signed_before_the_store_forgot_is_refused(
    own_redis: Child, accident: str
) -> None:
    """Its nonce may be among the forgotten: nobody can tell, so it must be signed anew."""
    async with node(own_redis.url) as one, administrator(own_redis.url) as admin:
        await met(one)
        order, unsent = signature(), signature(NOW + 1)
        assert await one.takes(order) == "taken"
        one.clock.advance(LATER_S)
        if accident == "flushed":
            await admin.flushall()
        elif accident == "restarted":
            await anyio.to_thread.run_sync(own_redis.stop)
            await anyio.to_thread.run_sync(own_redis.start)
        elif accident == "failed over":  # to a replica that lacks what was written last
            since = await marked(admin)
            await admin.flushall()
            await admin.set(MARK, f"{since} 0123456789abcdef")
        else:
            await admin.delete(*await admin.keys("mcp-gateway:*"))
        told = await one.takes(order)
        while told == "redis_unavailable":  # by connections of before its restart
            told = await one.takes(order)
        assert told == "signature_expired"
        assert await one.takes(unsent) == "signature_expired"
        one.clock.advance(1)
        anew = signature(NOW + LATER_S + 1)
        assert await one.takes(anew) == "taken"
        assert await one.takes(anew) == "signature_replayed"


async def test_the_second_in_which_the_store_forgot_counts_as_before(own_redis: Child) -> None:
    """Times are whole seconds: an order of this very second may have been taken already."""
    async with node(own_redis.url) as one, administrator(own_redis.url) as admin:
        await met(one)
        order = signature()
        assert await one.takes(order) == "taken"
        await admin.flushall()
        assert await one.takes(order) == "signature_expired"


async def test_every_process_learns_that_the_store_forgot(own_redis: Child) -> None:
    """The mark stands in the store: it does not matter who notices first."""
    async with node(own_redis.url) as one, node(own_redis.url) as other:
        await met(one, other)
        order = signature()
        assert await one.takes(order) == "taken"
        async with administrator(own_redis.url) as admin:
            await admin.flushall()
        other.clock.advance(LATER_S)
        await other.takes(signature(NOW + LATER_S))
        assert await one.takes(order) == "signature_expired"
        assert await other.takes(order) == "signature_replayed"


async def test_a_slow_clock_does_not_set_the_mark_back(own_redis: Child) -> None:
    """After a second accident a gateway whose clock lags must not reopen what was closed."""
    async with node(own_redis.url) as one, administrator(own_redis.url) as admin:
        one.clock.advance(LATER_S)
        await one.takes(signature())
        before = await marked(admin)
        await admin.set(MARK, f"{before} 0123456789abcdef")
        one.clock.set_wall(START - timedelta(seconds=WINDOW_S))
        await one.takes(signature())
        assert await marked(admin) == before == NOW + LATER_S + 1


async def test_a_clock_that_was_far_ahead_does_not_stop_orders_for_years(
    own_redis: Child,
) -> None:
    """One machine that started with a wrong clock must not set the mark for all the others."""
    async with node(own_redis.url) as wrong, node(own_redis.url) as one:
        wrong.clock.set_wall(START + timedelta(days=1000))
        await wrong.takes(signature())
        assert await one.takes(signature()) == "signature_expired"  # of before this very second
        one.clock.advance(1)
        assert await one.takes(signature(NOW + 1)) == "taken"


async def test_a_server_that_tells_nothing_of_itself_still_notices_a_flush(
    own_redis: Child,
) -> None:
    """Some accounts may not ask for INFO; the mark's absence says enough."""
    async with administrator(own_redis.url) as admin:
        await admin.acl_setuser(
            "gateway", enabled=True, nopass=True, keys=["*"], categories=["+@all"],
            commands=["-info"],
        )  # fmt: skip
        url = own_redis.url.replace("redis://", "redis://gateway:x@")
        async with node(url) as one:
            await met(one)
            order = signature()
            assert await one.takes(order) == "taken"
            assert await one.takes(order) == "signature_replayed"
            await admin.flushall()
            assert await one.takes(order) == "signature_expired"


async def test_a_process_refuses_what_was_signed_before_it_began() -> None:
    """Without Redis nonces are in memory: a restart forgets them all."""
    order = signature()
    async with node(None) as before:
        assert await before.takes(order) == "taken"
    async with node(None, later_s=LATER_S) as after:
        assert await after.takes(order) == "signature_expired"
        assert await after.takes(signature(NOW + LATER_S)) == "taken"


async def test_a_store_that_is_down_takes_no_order(own_redis: Child) -> None:
    """Whether a nonce is new can't be known; there is no other store in its place."""
    async with node(own_redis.url) as one:
        await met(one)
        await anyio.to_thread.run_sync(own_redis.stop)
        assert await one.takes(signature()) == "redis_unavailable"


async def test_a_gateway_meets_its_store_before_the_first_order(own_redis: Child) -> None:
    """Else the first order of a new installation would be refused for the store's being new."""
    async with node(own_redis.url) as one:
        proof = Proof(KEYRING, one.kv, one.clock, window_s=WINDOW_S, plain=False)
        async with anyio.create_task_group() as group:
            group.start_soon(proof.meet_store)
            await one.clock.sleeping()
            one.clock.advance(1)
        assert await one.takes(signature(NOW + 1)) == "taken"
        await proof.meet_store()  # now it is known, and nothing is waited for


async def test_meeting_a_store_that_is_down_stops_nobody() -> None:
    """Reads are served without it; the orders say what is wrong."""
    async with node("redis://127.0.0.1:1/0") as one:
        await Proof(KEYRING, one.kv, one.clock, window_s=WINDOW_S, plain=False).meet_store()
