"""Threat: one caller calls so often that the others, or the bot, are starved."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
import anyio.abc
import anyio.to_thread
import pytest
from anyio.abc import SocketStream
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.access.gate import NOTED_PER_MINUTE
from mcp_gateway.access.limiter import ASK_AGAIN_S, MOST_REMEMBERED, Limiter
from mcp_gateway.domain.operations import OPERATIONS, Operation
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import GatewayError, NotPermitted, QuotaExceeded, StoreUnavailable
from mcp_gateway.storage.kv import Bucket, KeyValue, Taken, open_kv
from mcp_gateway.storage.memory import MOST_BUCKETS, MemoryKeyValue
from mcp_gateway.storage.redis import RedisKeyValue
from mcp_gateway.telemetry import metrics
from tests.support.clock import ManualClock
from tests.support.desk import Desk, order
from tests.support.gates import credentials, make_bench
from tests.support.servers import Valkey, own
from tests.support.tokens import forge

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

READ, ORDER = OPERATIONS["get_candles"], OPERATIONS["create_order"]
PER_MINUTE = 6


def principal(subject: str = "signal-agent", issuer: str = "mcp-gateway") -> Principal:
    return Principal(issuer, subject, frozenset())


def make_limiter(
    clock: ManualClock, *, caller: int = 500, server: int = 1000, kv: KeyValue | None = None
) -> Limiter:
    """Return a limiter whose wider quotas are far away unless a test names them."""
    return Limiter(
        kv or open_kv(None, clock),
        per_minute=PER_MINUTE, caller_per_minute=caller, server_per_minute=server, clock=clock,
    )  # fmt: skip


async def spend(
    limiter: Limiter, times: int, operation: Operation = READ, who: Principal | None = None
) -> list[QuotaExceeded]:
    """Call so often; return the refusals."""
    refused = []
    for _ in range(times):
        try:
            await limiter.spend(who or principal(), operation)
        except QuotaExceeded as refusal:
            refused.append(refusal)
    return refused


async def test_a_burst_beyond_the_quota_is_refused_and_told_when_to_come_again() -> None:
    """RATE_LIMIT_PER_MINUTE calls may come at once; the refusal's time is true to the moment."""
    clock = ManualClock()
    limiter = make_limiter(clock)
    refused = await spend(limiter, PER_MINUTE + 1)
    assert [each.code for each in refused] == ["quota_exceeded"]
    assert refused[0].detail == {"quota": "get_candles"}
    assert refused[0].retry_after_s == pytest.approx(10)
    clock.advance(9.99)
    assert len(await spend(limiter, 1)) == 1
    clock.advance(0.01)
    assert await spend(limiter, 1) == []


async def test_a_refused_call_spends_nothing() -> None:
    """Whoever keeps knocking does not lock itself out."""
    clock = ManualClock()
    limiter = make_limiter(clock)
    await spend(limiter, PER_MINUTE + 500)
    clock.advance(10)
    assert await spend(limiter, 1) == []


@pytest.mark.parametrize(
    ("operation", "who"),
    [
        (READ, principal("other-agent")),
        (READ, principal(issuer="local")),
        (OPERATIONS["get_open_positions"], principal()),
    ],
)
async def test_a_quota_is_the_callers_and_the_operations_own(
    operation: Operation, who: Principal
) -> None:
    """Another subject, another issuer's same name, another kind of call: not held up."""
    limiter = make_limiter(ManualClock())
    assert len(await spend(limiter, PER_MINUTE + 1)) == 1
    assert await spend(limiter, PER_MINUTE, operation, who) == []


async def test_two_faces_of_one_thing_share_its_quota() -> None:
    """Candles by tool or by resource are the same load on the bot."""
    limiter = make_limiter(ManualClock())
    await spend(limiter, PER_MINUTE)
    assert len(await spend(limiter, 1, OPERATIONS["read_candles"])) == 1


@pytest.mark.parametrize("crafted", ["a\0b", "a:get_candles", "server", "*", "a\nb"])
async def test_no_name_is_spelt_to_reach_anothers_quota(crafted: str) -> None:
    """Names are digested before they become keys."""
    limiter = make_limiter(ManualClock())
    await spend(limiter, PER_MINUTE, who=principal(crafted))
    assert await spend(limiter, PER_MINUTE, who=principal("b", "a")) == []
    assert await spend(limiter, PER_MINUTE, who=principal("a")) == []


async def test_many_callers_together_meet_the_servers_quota() -> None:
    """A thousand names are no way around it; the refusal says whose quota it was."""
    limiter = make_limiter(ManualClock(), server=10)
    refused = [
        refusal
        for number in range(12)
        for refusal in await spend(limiter, 1, who=principal(f"agent-{number}"))
    ]
    assert [each.detail["quota"] for each in refused] == ["server", "server"]


async def test_one_caller_meets_its_total_whatever_it_calls() -> None:
    """Going from operation to operation is no way around a quota, nor to the server's."""
    limiter = make_limiter(ManualClock(), caller=10)
    reads = [one for one in OPERATIONS.values() if "all_calls" in one.shares]
    refused = [refusal for one in reads for refusal in await spend(limiter, 2, one)]
    assert len(refused) == 2 * len(reads) - 10
    assert {each.detail["quota"] for each in refused} == {"all_calls"}
    assert await spend(limiter, 1, who=principal("other-agent")) == []


@pytest.mark.parametrize("name", ["cancel_order", "halt", "release_halt", "approve_order"])
async def test_no_flood_keeps_out_a_cancel_or_a_person(name: str) -> None:
    """What gets out or stops shares no quota: neither the caller's reads nor others touch it."""
    limiter = make_limiter(ManualClock(), caller=3, server=5)
    await spend(limiter, 50)
    await spend(limiter, 50, who=principal("flood"))
    assert await spend(limiter, PER_MINUTE, OPERATIONS[name]) == []
    assert len(await spend(limiter, 1, OPERATIONS[name])) == 1


async def test_a_clients_own_lists_take_nothing_from_its_agent() -> None:
    """SDK clients ask for tools/list by themselves, after every call: that stands apart."""
    limiter = make_limiter(ManualClock(), caller=PER_MINUTE)
    await spend(limiter, PER_MINUTE, OPERATIONS["list"])
    assert await spend(limiter, PER_MINUTE) == []


async def test_what_any_quota_refuses_is_taken_from_none() -> None:
    """Operation, caller and server are decided at once: all or nothing, whoever says no."""
    clock = ManualClock()
    limiter = make_limiter(clock, caller=8, server=10)
    other = OPERATIONS["get_open_positions"]
    assert len(await spend(limiter, PER_MINUTE + 40)) == 40  # the operation's
    assert len(await spend(limiter, 40, other)) == 38  # the caller's
    left = await limiter.left(principal(), [READ, other])
    assert left == {"get_candles": 0, "all_calls": 0, "get_open_positions": PER_MINUTE - 2}
    assert len(await spend(limiter, 3, who=principal("other-agent"))) == 1  # the server's


async def test_what_the_server_refuses_is_not_taken_from_the_caller() -> None:
    """Both quotas are decided at once, all or nothing."""
    clock = ManualClock()
    limiter = make_limiter(clock, server=2)
    await spend(limiter, 50)
    clock.advance(60)
    assert len(await spend(limiter, 2)) == 0


async def test_callers_that_race_get_no_more_than_the_quota() -> None:
    """The decision is one step: a check and a later count would let a race through."""
    limiter = make_limiter(ManualClock())
    refused: list[QuotaExceeded] = []

    async def call() -> None:
        refused.extend(await spend(limiter, 1))

    async with anyio.create_task_group() as group:
        for _ in range(64):
            group.start_soon(call)
    assert len(refused) == 64 - PER_MINUTE


@given(waits=st.lists(st.floats(0, 30), min_size=1, max_size=60))
async def test_no_pattern_of_calls_beats_the_rate(waits: list[float]) -> None:
    """GCRA: in any time t at most burst + t times the rate calls pass."""
    clock = ManualClock()
    limiter = make_limiter(clock)
    passed = 0
    for wait_s in waits:
        clock.advance(wait_s)
        passed += not await spend(limiter, 1)
    assert passed <= PER_MINUTE + clock.monotonic() * PER_MINUTE / 60 + 1e-6


def degraded(limiter: Limiter) -> tuple[bool, float | None]:
    """Return what the limiter says of itself, and what its metric says."""
    return limiter.degraded, metrics.REGISTRY.get_sample_value("mcp_gateway_limiter_degraded")


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """Yield a server of one's own, to be stopped and started."""
    with own(Valkey) as server:
        yield server


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[KeyValue]:
    kv = open_kv(url, ManualClock())
    try:
        yield kv
    finally:
        await kv.close()


async def test_redis_gone_reads_are_limited_here_and_orders_are_refused(valkey: Valkey) -> None:
    """Reads degrade and say so; what writes fails closed; both recover by themselves."""
    clock = ManualClock()
    async with opened(valkey.url) as kv:
        limiter = make_limiter(clock, kv=kv)
        assert await spend(limiter, 1) == []
        assert limiter.degraded is False
        await anyio.to_thread.run_sync(valkey.stop)
        assert len(await spend(limiter, PER_MINUTE + 1)) == 1
        assert degraded(limiter) == (True, 1)
        with pytest.raises(StoreUnavailable) as refused:
            await limiter.spend(principal(), ORDER)
        assert refused.value.code == "redis_unavailable"
        await anyio.to_thread.run_sync(valkey.start)
        clock.advance(ASK_AGAIN_S)
        assert await spend(limiter, PER_MINUTE) == []
        assert degraded(limiter) == (False, 0)


async def _slow(upstream: int, client: SocketStream) -> None:
    """Carry bytes to a server, and its answers back after a quarter of a second."""
    async with client, await anyio.connect_tcp("127.0.0.1", upstream) as server:

        async def carry(source: SocketStream, sink: SocketStream, after_s: float) -> None:
            with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                while True:
                    told = await source.receive()
                    await anyio.sleep(after_s)
                    await sink.send(told)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(carry, client, server, 0)
            group.start_soon(carry, server, client, 0.25)


async def test_a_slow_redis_is_waited_for_and_its_quota_holds(valkey: Valkey) -> None:
    """A quarter of a second is no failure: nobody counts alone, and orders go on."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, partial(_slow, valkey.port))
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with opened(f"redis://127.0.0.1:{port}/0") as kv, opened(valkey.url) as fast:
            assert await spend(make_limiter(ManualClock(), kv=fast), PER_MINUTE - 1) == []
            slow = make_limiter(ManualClock(), kv=kv)
            assert len(await spend(slow, 2)) == 1
            assert await spend(slow, 1, ORDER) == []
            assert slow.degraded is False
        group.cancel_scope.cancel()


async def test_while_redis_is_down_one_read_a_second_asks_it(valkey: Valkey) -> None:
    """A flood of reads must not wait for a dead store, each for its time-out."""
    clock = ManualClock()
    asked: list[object] = []

    class Watched(RedisKeyValue):
        async def take(self, buckets: Sequence[Bucket]) -> Taken:
            asked.append(buckets)
            return await super().take(buckets)

    await anyio.to_thread.run_sync(valkey.stop)
    kv = Watched(valkey.url)
    limiter = make_limiter(clock, kv=kv)
    await spend(limiter, 5)
    assert len(asked) == 1
    clock.advance(ASK_AGAIN_S)
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(spend, limiter, 1, READ, principal(f"agent-{number}"))
    assert len(asked) == 2
    await kv.close()


async def test_a_hundred_thousand_callers_cost_bounded_memory() -> None:
    """Each leaves a few numbers, for a minute at most; a full table is searched once a second."""
    clock = ManualClock()
    kv = MemoryKeyValue(clock)
    limiter = make_limiter(clock, server=10_000_000, kv=kv)
    for number in range(100_000):
        await limiter.spend(principal(f"agent-{number}"), READ)
        if number % 1000 == 0:
            clock.advance(1)  # a thousand new callers a second, each of them for ten seconds
    assert len(kv._counts._arrivals) <= MOST_BUCKETS
    assert limiter._buckets.cache_info().currsize <= MOST_REMEMBERED


async def test_two_processes_share_one_quota_on_redis(valkey: Valkey) -> None:
    """A second replica is not a second quota."""
    clock = ManualClock()
    async with opened(valkey.url) as one, opened(valkey.url) as other:
        assert await spend(make_limiter(clock, kv=one), PER_MINUTE) == []
        assert len(await spend(make_limiter(clock, kv=other), 1)) == 1


async def test_an_agent_that_buys_in_a_loop_can_still_sell(desk: Desk) -> None:
    """Gate and order floor together: buys beyond the quota spend nothing of what sells have."""
    bench = make_bench(subject="agent-a", scopes="orders:create", hmac_secret=None)
    shown = credentials(channel="stdio")
    codes: list[str] = []
    for _ in range(40):
        admission = await bench.gate.admit(shown, ORDER)
        try:
            await desk.orders.create(admission, order())
        except GatewayError as refused:
            codes.append(refused.code)
    assert codes[-37:] == ["quota_exceeded"] * 37
    assert (await bench.gate.calls_left(admission.principal))["exits"] == 3
    selling = order(side="sell")
    sold = await desk.orders.create(await bench.gate.admit(shown, ORDER), selling)
    assert sold.answer["outcome"] == "placed"
    assert (await bench.gate.calls_left(admission.principal))["exits"] == 2


async def test_a_flood_of_refused_calls_does_not_fill_the_audit_log() -> None:
    """A valid token repeats a call it may not make: counted always, written at most 60 times."""
    bench = make_bench()
    shown = credentials(forge(scope="market:read"))
    for _ in range(NOTED_PER_MINUTE + 40):
        with pytest.raises(NotPermitted):
            await bench.gate.admit(shown, OPERATIONS["create_order"])
    assert len(bench.noted()) == NOTED_PER_MINUTE
    bench.clock.advance(1)
    with pytest.raises(NotPermitted):
        await bench.gate.admit(shown, OPERATIONS["create_order"])
    assert len(bench.noted()) == NOTED_PER_MINUTE + 1
