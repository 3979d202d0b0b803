"""The list of revocations in a process: when it is waited for, and who is told of a change."""

from dataclasses import replace
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from mcp_gateway.access.tokens import revocations
from mcp_gateway.access.tokens.revocations import Revocation, Revocations, next_second
from mcp_gateway.domain.principals import Principal
from tests.support.clock import START

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

AGENT = Principal("mcp-gateway", "signal-agent", frozenset(), token_id="t-1", issued_at=START)
WHOLE = Revocation(
    1, "mcp-gateway", "signal-agent", None, next_second(START), START,
    START + timedelta(days=1), "alice", "stolen",
)  # fmt: skip
ONE = replace(WHOLE, subject=None, issued_before=None, token_id="t-1")


async def test_the_first_token_waits_for_the_list_and_asks_for_it() -> None:
    """A token revoked while no gateway ran must not be believed for the time of a start."""
    asked: list[str] = []
    known = Revocations(lambda: asked.append("read"))
    read: list[bool] = []

    async def believe() -> None:
        await known.read()
        read.append(known.is_revoked("mcp-gateway", "signal-agent", "t-1", START))

    async with anyio.create_task_group() as group:
        group.start_soon(believe)
        await anyio.wait_all_tasks_blocked()
        assert (asked, read) == (["read"], [])
        known.add([ONE])
        known.settle()
    assert read == [True]


async def test_a_list_that_does_not_come_is_not_waited_for_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reads go on with the store down; the first of them is late, and no other."""
    monkeypatch.setattr(revocations, "LONGEST_FIRST_WAIT_S", 0.01)
    asked: list[str] = []
    known = Revocations(lambda: asked.append("read"))
    await known.read()
    await known.read()
    assert asked == ["read"]


async def test_without_a_store_there_is_nothing_to_be_waited_for() -> None:
    """A command that only looks into a token has no list."""
    with anyio.fail_after(1):
        await Revocations().read()


def test_what_is_over_is_forgotten() -> None:
    """The list does not grow for ever; what still counts stays."""
    known = Revocations()
    known.add([replace(ONE, expires_at=START), WHOLE])
    known.forget(START)
    assert known.is_revoked("mcp-gateway", "signal-agent", "t-1", START)
    assert not known.is_revoked("mcp-gateway", "another", "t-1", START)
    known.forget(START + timedelta(days=1))
    assert not known.is_revoked("mcp-gateway", "signal-agent", "t-1", START)


def test_the_longer_of_two_revocations_counts() -> None:
    """An older row read later shortens nothing."""
    known = Revocations()
    known.add([WHOLE, replace(WHOLE, expires_at=START + timedelta(hours=1))])
    known.forget(START + timedelta(hours=2))
    assert known.is_revoked("mcp-gateway", "signal-agent", None, START)
