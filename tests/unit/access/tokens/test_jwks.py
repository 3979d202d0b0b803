"""Keys published at a URL: renewed in the background, sought when unknown, kept for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from mcp_gateway.access.tokens.jwks import (
    COOLDOWN_S,
    FIRST_RETRY_S,
    LATEST_S,
    LONGEST_KEPT_S,
    MOST_WAITING,
    SOONEST_S,
    USUAL_S,
    JwksKeys,
)
from mcp_gateway.errors import IssuerUnavailable
from mcp_gateway.telemetry import metrics
from tests.support.clock import ManualClock
from tests.support.issuers import Publisher, Signing, ed25519, jwks, p256, published
from tests.support.rogue import Connection

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OLD, NEW = ed25519("old", "old"), ed25519("new", "new")
WITHDRAWN = {
    "no key": jwks(),
    "a key of another algorithm": jwks(p256("old")),
    "the key for encryption": jwks(OLD.jwk(use="enc")),
    "the key that verifies nothing": jwks(OLD.jwk(key_ops=["sign"])),
    "the key twice": jwks(OLD, OLD),
    "the key with a part missing": jwks(OLD.jwk(x=None)),
    "the key with its private half": jwks(OLD.jwk(d="AAAA")),
}


def sample(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def answers_500(connection: Connection) -> None:
    await connection.answer(b"{}", "500 Internal Server Error")


def source(issuer: Publisher, clock: ManualClock) -> JwksKeys:
    return JwksKeys("desk", issuer.url, "EdDSA", clock)


def ids(keys: JwksKeys) -> set[str]:
    return {each for each in ("old", "new") if keys.keys.find(each)}


@asynccontextmanager
async def kept(
    *keys: Signing, **fields: Any
) -> AsyncIterator[tuple[JwksKeys, Publisher, ManualClock]]:
    """Keep the keys of an issuer fresh; the first fetch is over."""
    clock = ManualClock()
    async with published(*keys, **fields) as issuer, anyio.create_task_group() as group:
        found = source(issuer, clock)
        group.start_soon(found.keep)
        await clock.sleeping()
        yield found, issuer, clock
        group.cancel_scope.cancel()


async def after(clock: ManualClock, seconds: float) -> None:
    """Let time pass, and whoever woke by it fall asleep again."""
    clock.advance(seconds)
    await clock.sleeping()


async def test_the_keys_are_there_soon_after_the_start() -> None:
    """The first token needs not wait for the first fetch of its own."""
    async with kept(OLD) as (keys, issuer, _):
        assert ids(keys) == {"old"}
        assert keys.trouble is None
        assert issuer.fetches == 1


@pytest.mark.parametrize(
    ("max_age_s", "wait_s"),
    [(None, USUAL_S), (0, SOONEST_S), (10, SOONEST_S), (1000, 1000), (999_999, LATEST_S)],
)
async def test_the_issuer_says_how_often_within_bounds(
    max_age_s: int | None, wait_s: float
) -> None:
    """Five minutes at the soonest, an hour at the latest."""
    async with kept(OLD, max_age_s=max_age_s) as (_, issuer, clock):
        clock.advance(wait_s - 1)
        await anyio.wait_all_tasks_blocked()
        assert issuer.fetches == 1
        await after(clock, 1)
        assert issuer.fetches == 2


async def test_a_key_that_vanishes_is_believed_until_the_next_refresh_only() -> None:
    """The issuer has withdrawn it: stolen, perhaps."""
    async with kept(OLD, NEW) as (keys, issuer, clock):
        assert ids(keys) == {"old", "new"}
        issuer.keys = (NEW,)
        await after(clock, USUAL_S)
        assert ids(keys) == {"new"}


async def test_a_refresh_that_changes_nothing_is_not_noticed() -> None:
    """The very same set stays, so that tokens checked by it stay checked."""
    async with kept(OLD, NEW) as (keys, issuer, clock):
        before = keys.keys
        issuer.keys = (NEW, OLD, p256("another-purpose"))
        await after(clock, USUAL_S)
        assert issuer.fetches == 2
        assert keys.keys is before


async def test_an_unknown_key_has_them_fetched_at_once() -> None:
    """A key that is used as soon as it is published works."""
    async with kept(OLD) as (keys, issuer, _):
        issuer.keys = (OLD, NEW)
        await keys.seek("new")
        assert ids(keys) == {"old", "new"}
        assert issuer.fetches == 2


async def test_a_flood_of_unknown_keys_costs_one_fetch_in_a_cooldown() -> None:
    """Made-up key ids cannot turn the gateway against its issuer."""
    clock = ManualClock()
    async with published(OLD) as issuer:
        keys = source(issuer, clock)
        for _ in range(50):
            await keys.seek("unknown")
        assert issuer.fetches == 1
        clock.advance(COOLDOWN_S - 0.01)
        await keys.seek("unknown")
        assert issuer.fetches == 1
        clock.advance(0.01)
        for _ in range(50):
            await keys.seek("unknown")
        assert issuer.fetches == 2


async def test_all_who_wait_share_one_fetch() -> None:
    """Single flight: whoever comes while a fetch is under way waits for that one."""
    release = anyio.Event()
    waiting = 0

    async def late(connection: Connection) -> None:
        await release.wait()
        issuer.misbehaves = None
        await issuer.answer(connection)
        issuer.requests.pop()

    async def seek(keys: JwksKeys, found: list[set[str]]) -> None:
        nonlocal waiting
        waiting += 1
        await keys.seek("unknown")
        found.append(ids(keys))

    async with published(OLD, misbehaves=late) as issuer:
        keys, found = source(issuer, ManualClock()), list[set[str]]()
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(seek, keys, found)
            await issuer.asked.wait()
            assert (waiting, found) == (20, [])
            release.set()
    assert found == [{"old"}] * 20
    assert issuer.fetches == 1


async def test_a_key_published_during_a_fetch_is_found_by_the_next() -> None:
    """The fetch under way may have been answered before; whoever joined it looks once more."""
    release = anyio.Event()

    async def with_the_old_key_alone(connection: Connection) -> None:
        issuer.misbehaves = None
        await release.wait()
        await connection.answer(jwks(OLD))

    async with published(OLD, NEW, misbehaves=with_the_old_key_alone) as issuer:
        keys = source(issuer, ManualClock())
        async with anyio.create_task_group() as group:
            group.start_soon(keys.keep)
            await issuer.asked.wait()
            async with anyio.create_task_group() as callers:
                for _ in range(20):
                    callers.start_soon(keys.seek, "new")
                await anyio.wait_all_tasks_blocked()
                release.set()
            assert ids(keys) == {"old", "new"}
            assert issuer.fetches == 2
            group.cancel_scope.cancel()


async def test_whoever_asks_and_hangs_up_does_not_stop_the_fetch() -> None:
    """Else a flood that hangs up would use the cooldowns and keep every new key unknown."""
    release = anyio.Event()

    async def late(connection: Connection) -> None:
        await release.wait()
        issuer.misbehaves = None
        await issuer.answer(connection)

    async with published(OLD, misbehaves=late) as issuer, anyio.create_task_group() as group:
        keys = source(issuer, ManualClock())

        async def hang_up(*, task_status: anyio.abc.TaskStatus[anyio.CancelScope]) -> None:
            with anyio.CancelScope() as scope:
                task_status.started(scope)
                await keys.seek("unknown")

        scope = await group.start(hang_up)
        await issuer.asked.wait()
        scope.cancel()
        release.set()
        await keys.seek("unknown")
        assert ids(keys) == {"old"}


async def test_only_so_many_wait() -> None:
    """A slow issuer and a flood must not fill the gateway with waiting callers."""
    release = anyio.Event()

    async def held(connection: Connection) -> None:
        await release.wait()
        await connection.reset()

    async with published(misbehaves=held) as issuer, anyio.create_task_group() as group:
        keys = source(issuer, ManualClock())
        for _ in range(MOST_WAITING):
            group.start_soon(keys.seek, "unknown")
        await issuer.asked.wait()
        with pytest.raises(IssuerUnavailable) as refused, anyio.fail_after(0.5):
            await keys.seek("unknown")
        assert refused.value.code == "issuer_unavailable"
        assert refused.value.retryable
        release.set()


async def test_while_the_issuer_is_down_its_last_keys_hold() -> None:
    """Running agents go on; that it is down is told, and it is tried again soon."""
    async with kept(OLD) as (keys, issuer, clock):
        issuer.misbehaves = answers_500
        await after(clock, USUAL_S)
        assert ids(keys) == {"old"}
        assert keys.trouble == "status 500"
        await after(clock, FIRST_RETRY_S)
        await after(clock, 2 * FIRST_RETRY_S)
        assert issuer.fetches == 4
        issuer.misbehaves = None
        await after(clock, 4 * FIRST_RETRY_S)
        assert keys.trouble is None


async def test_after_a_day_the_last_keys_hold_no_more() -> None:
    """Whoever keeps us from the issuer must not keep a withdrawn key alive for ever."""
    async with kept(OLD) as (keys, issuer, clock):
        issuer.misbehaves = answers_500
        before = keys.keys
        clock.advance(LONGEST_KEPT_S)
        assert keys.keys is before
        clock.advance(0.01)
        assert ids(keys) == set()
        issuer.misbehaves = None
        await clock.sleeping()
        await after(clock, SOONEST_S)
        assert ids(keys) == {"old"}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"no JSON", b"{}", b'{"keys": 1}', b'{"keys":[],"keys":[]}', b"\xff",
     b"[" * 100_000, b'{"keys": [NaN]}', b'{"keys": [1, null, "a"]}'],
    ids=range(10),
)  # fmt: skip
async def test_garbage_takes_no_keys_away(body: bytes) -> None:
    """A broken answer is no withdrawal: the last good set is kept, and the trouble told."""

    async def garbage(connection: Connection) -> None:
        await connection.answer(body)

    async with kept(OLD) as (keys, issuer, clock):
        issuer.misbehaves = garbage
        await after(clock, USUAL_S)
        assert ids(keys) == {"old"}
        assert keys.trouble is not None
        assert keys.trouble.startswith(("no usable JWKS", "not a JSON object"))


@pytest.mark.parametrize("body", WITHDRAWN.values(), ids=WITHDRAWN.keys())
async def test_an_issuer_takes_its_last_key_back(body: bytes) -> None:
    """A set without a usable key is a withdrawal, not a broken answer; and it is told."""

    async def nothing(connection: Connection) -> None:
        await connection.answer(body)

    def trouble() -> float:
        return sample("mcp_gateway_issuer_keys_trouble", issuer="desk")

    async with kept(OLD) as (keys, issuer, clock):
        issuer.misbehaves = nothing
        await after(clock, USUAL_S)
        assert ids(keys) == set()
        assert keys.trouble is not None
        assert keys.trouble.startswith("no usable key: no key for EdDSA")
        assert trouble() == 1
        issuer.misbehaves, issuer.keys = None, (NEW,)
        await after(clock, USUAL_S)
        assert (ids(keys), trouble()) == ({"new"}, 0)
    assert keys.trouble is None


async def test_how_it_is_is_counted() -> None:
    """An alert rests on the gauge; the counter tells for how long."""

    def count(result: str) -> float:
        return sample("mcp_gateway_issuer_fetches_total", issuer="desk", result=result)

    def trouble() -> float:
        return sample("mcp_gateway_issuer_keys_trouble", issuer="desk")

    async with kept(OLD) as (_, issuer, clock):
        good, bad = count("ok"), count("failed")
        assert trouble() == 0
        issuer.misbehaves = answers_500
        await after(clock, USUAL_S)
        assert (count("failed"), trouble()) == (bad + 1, 1)
        issuer.misbehaves = None
        await after(clock, FIRST_RETRY_S)
        assert (count("ok"), trouble()) == (good + 1, 0)


async def test_ending_does_not_wait_for_a_silent_issuer() -> None:
    """A gateway that stops must not hang on somebody else's server."""
    async with published(misbehaves=Connection.hang) as issuer:
        with anyio.fail_after(1):
            async with anyio.create_task_group() as group:
                group.start_soon(source(issuer, ManualClock()).keep)
                await issuer.asked.wait()
                group.cancel_scope.cancel()


async def test_it_shows_who_and_where_and_nothing_else() -> None:
    """For logs."""
    async with published(OLD) as issuer:
        assert repr(source(issuer, ManualClock())) == f"JwksKeys('desk', '{issuer.url}')"
