"""Threat: one caller calls so often that the others, or the bot, are starved."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.access.gate import NOTED_PER_MINUTE
from mcp_gateway.access.limiter import ASK_AGAIN_S, Limiter
from mcp_gateway.domain.operations import OPERATIONS, Operation
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import NotPermitted, QuotaExceeded, StoreUnavailable
from mcp_gateway.storage.kv import KeyValue, open_kv
from mcp_gateway.telemetry import metrics
from tests.support.clock import ManualClock
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


async def test_two_processes_share_one_quota_on_redis(valkey: Valkey) -> None:
    """A second replica is not a second quota."""
    clock = ManualClock()
    async with opened(valkey.url) as one, opened(valkey.url) as other:
        assert await spend(make_limiter(clock, kv=one), PER_MINUTE) == []
        assert len(await spend(make_limiter(clock, kv=other), 1)) == 1


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
