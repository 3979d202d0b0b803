"""The queue before the audit log."""

import anyio
import pytest

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.trail import Trail
from mcp_gateway.telemetry.metrics import REGISTRY
from tests.support.clock import START

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def lost() -> float:
    """Read the metric."""
    sample = REGISTRY.get_sample_value("mcp_gateway_audit_rows_total", {"result": "lost"})
    return sample or 0.0


def event(number: int) -> AuditEvent:
    """A refused call."""
    return AuditEvent(event="call.refused", at=START, call_id=str(number))


def test_a_full_queue_loses_the_new_one_and_counts_it() -> None:
    """A flood costs memory up to a bound, and what is lost is never silent."""
    trail = Trail(most_waiting=2)
    before = lost()
    for number in range(5):
        trail.note(event(number))
    assert [one.call_id for one in trail.oldest(9)] == ["0", "1"]
    assert lost() == before + 3


def test_events_stay_until_they_are_written() -> None:
    """Looking removes nothing: a store that fails gets the same batch again."""
    trail = Trail()
    for number in range(3):
        trail.note(event(number))
    assert trail.oldest(2) == trail.oldest(2)
    trail.written(2)
    assert [one.call_id for one in trail.oldest(9)] == ["2"]


async def test_a_waiter_wakes_for_the_first_event() -> None:
    """The writer sleeps while there is nothing, and sees what came before it asked."""
    trail = Trail()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(trail.something)
            await anyio.wait_all_tasks_blocked()
            trail.note(event(0))
        await trail.something()
