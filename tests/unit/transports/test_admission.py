"""The way into an operation: what it counts and what it notes, whatever becomes of the call."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.errors import (
    BotUnavailable,
    GatewayError,
    IdempotencyConflict,
    NotFound,
    NotPermitted,
    OrderDenied,
    QuotaExceeded,
    RequestInvalid,
)
from mcp_gateway.telemetry import metrics
from mcp_gateway.transports.admission import admitted, current_admission
from tests.support.gates import Bench, credentials, make_bench
from tests.support.tokens import forge

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

READ = OPERATIONS["get_candles"]


def counted(code: str) -> float:
    """Return how many calls of the operation have ended with this code."""
    labels = {"operation": READ.name, "channel": "http", "code": code}
    return metrics.REGISTRY.get_sample_value("mcp_gateway_calls_total", labels) or 0


@contextmanager
def counts_once(code: str) -> Iterator[None]:
    """Hold that one call is counted, under this code."""
    before = {each: counted(each) for each in {code, "ok", "internal_error"}}
    yield
    after = {each: counted(each) for each in before}
    assert after == before | {code: before[code] + 1}


async def call(bench: Bench, failure: Exception | None = None) -> None:
    """Make one call, which fails like this once it is let in."""
    async with admitted(bench.gate, credentials(forge()), READ) as admission:
        assert current_admission() is admission
        if failure is not None:
            raise failure


async def test_a_call_that_is_answered_is_counted_and_not_noted() -> None:
    """One count for every call, under ``ok``."""
    bench = make_bench()
    with counts_once("ok"):
        await call(bench)
    assert bench.noted() == ()


@pytest.mark.parametrize(
    "refusal",
    [
        NotPermitted("No.", code="agent_not_allowed"), IdempotencyConflict("Used."),
        RequestInvalid("No.", detail={"field": "pair"}), NotFound("None."),
        QuotaExceeded("Slower."),
    ],
    ids=lambda one: one.code,
)  # fmt: skip
async def test_a_refusal_behind_the_gate_is_counted_and_noted(refusal: GatewayError) -> None:
    """Every refusal of a known caller is an audit row, whoever refuses."""
    bench = make_bench()
    with counts_once(refusal.code), pytest.raises(type(refusal)):
        await call(bench, refusal)
    (row,) = bench.noted()
    assert (row.event, row.code, row.operation) == ("call.refused", refusal.code, "get_candles")
    assert (row.subject, row.channel, row.call_id) == ("signal-agent", "http", "call-1")
    assert row.detail == refusal.detail


@pytest.mark.parametrize(
    "failure", [OrderDenied("No."), BotUnavailable("Down.")], ids=lambda one: one.code
)
async def test_what_is_told_elsewhere_or_no_refusal_is_counted_only(failure: GatewayError) -> None:
    """A denied order has its row from the ledger; a bot that is down refuses nobody."""
    bench = make_bench()
    with counts_once(failure.code), pytest.raises(type(failure)):
        await call(bench, failure)
    assert bench.noted() == ()


async def test_the_gates_own_refusal_is_counted_and_noted_once() -> None:
    """The gate has done it; the way in does not do it again."""
    bench = make_bench(rate_limit_per_minute=1)
    await call(bench)
    with counts_once("quota_exceeded"), pytest.raises(QuotaExceeded):
        await call(bench)
    assert [row.code for row in bench.noted()] == ["quota_exceeded"]


async def test_a_crash_is_counted_as_one() -> None:
    """What nobody anticipated goes on to whoever logs it."""
    with counts_once("internal_error"), pytest.raises(ZeroDivisionError):
        await call(make_bench(), ZeroDivisionError())


async def test_a_caller_who_hangs_up_is_no_failure_of_ours() -> None:
    """Its call is counted apart."""
    bench = make_bench()
    with counts_once("cancelled"):
        with anyio.CancelScope() as scope:
            async with admitted(bench.gate, credentials(forge()), READ):
                scope.cancel()
                await anyio.lowlevel.checkpoint()


async def test_nothing_is_admitted_outside_a_call() -> None:
    """A handler that is reached around the gate fails loudly."""
    await call(make_bench())
    with pytest.raises(LookupError):
        current_admission()
