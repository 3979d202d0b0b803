"""The store in memory, in virtual time: what goes when, and what never does."""

import pytest

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.buckets import Bucket
from mcp_gateway.storage.memory import MemoryKeyValue
from tests.support.clock import START, ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
def clock() -> ManualClock:
    """Time stands still."""
    return ManualClock()


@pytest.fixture
def kv(clock: ManualClock) -> MemoryKeyValue:
    """A store with room for ten bytes, two nonces and two buckets."""
    return MemoryKeyValue(clock, largest_values_bytes=10, most_nonces=2, most_buckets=2)


async def test_a_value_lives_exactly_its_time(kv: MemoryKeyValue, clock: ManualClock) -> None:
    """At its end it is gone, before it is there."""
    await kv.set("a", b"1", ttl_s=10)
    clock.advance(9.999)
    assert await kv.get("a") == b"1"
    clock.advance(0.001)
    assert await kv.get("a") is None


async def test_time_is_the_monotonic_clock(kv: MemoryKeyValue, clock: ManualClock) -> None:
    """Setting the wall clock neither ends nor prolongs anything."""
    await kv.set("a", b"1", ttl_s=10)
    await kv.add_if_absent("n", ttl_s=10)
    clock.set_wall(START.replace(year=2035))
    assert await kv.get("a") == b"1"
    assert not await kv.add_if_absent("n", ttl_s=10)


async def test_the_oldest_values_make_room(kv: MemoryKeyValue) -> None:
    """Values are a cache: bounded by bytes, and the last written stays."""
    for name in "abc":
        await kv.set(name, b"1234", ttl_s=60)
    assert [await kv.get(name) for name in "abc"] == [None, b"1234", b"1234"]


async def test_a_value_written_again_is_new_and_counts_once(kv: MemoryKeyValue) -> None:
    """Replacing frees what was there, and makes the value the youngest."""
    await kv.set("a", b"12345", ttl_s=60)
    await kv.set("b", b"12345", ttl_s=60)
    await kv.set("a", b"54321", ttl_s=60)
    await kv.set("c", b"1", ttl_s=60)
    assert [await kv.get(name) for name in "abc"] == [b"54321", None, b"1"]


async def test_a_value_larger_than_all_the_room_evicts_nothing_else(kv: MemoryKeyValue) -> None:
    """It is not kept, and its predecessor is not served in its place."""
    await kv.set("a", b"1", ttl_s=60)
    await kv.set("b", b"1", ttl_s=60)
    await kv.set("a", b"12345678901", ttl_s=60)
    assert [await kv.get("a"), await kv.get("b")] == [None, b"1"]


async def test_a_live_nonce_is_never_forgotten_for_a_new_one(
    kv: MemoryKeyValue, clock: ManualClock
) -> None:
    """A full store refuses: forgetting would let a signature be replayed."""
    assert await kv.add_if_absent("a", ttl_s=60)
    assert await kv.add_if_absent("b", ttl_s=30)
    with pytest.raises(StoreUnavailable) as full:
        await kv.add_if_absent("c", ttl_s=60)
    assert full.value.code == "nonce_store_full"
    assert not await kv.add_if_absent("a", ttl_s=60)
    clock.advance(30)
    assert await kv.add_if_absent("c", ttl_s=60)
    assert not await kv.add_if_absent("a", ttl_s=60)


async def test_a_refused_nonce_does_not_live_longer(kv: MemoryKeyValue, clock: ManualClock) -> None:
    """Its time runs from the first use."""
    await kv.add_if_absent("a", ttl_s=10)
    clock.advance(9)
    assert not await kv.add_if_absent("a", ttl_s=10)
    clock.advance(1)
    assert await kv.add_if_absent("a", ttl_s=10)


async def test_buckets_that_are_full_again_make_room(
    kv: MemoryKeyValue, clock: ManualClock
) -> None:
    """Nobody's limit is forgotten while it says something; then a stranger can come."""
    for name in "ab":
        assert (await kv.take([Bucket(name, 60, 1)])).allowed
    with pytest.raises(StoreUnavailable) as full:
        await kv.take([Bucket("c", 60, 1)])
    assert full.value.code == "limiter_full"
    clock.advance(1)
    assert (await kv.take([Bucket("c", 60, 1)])).allowed


async def test_known_callers_are_served_while_strangers_fill_the_limiter(
    kv: MemoryKeyValue, clock: ManualClock
) -> None:
    """A full table costs new callers a wait, not those that are in it."""
    for name in "ab":
        await kv.take([Bucket(name, 60, 2)])
    assert (await kv.take([Bucket("a", 60, 2)])).allowed


async def test_closing_forgets_everything(kv: MemoryKeyValue) -> None:
    """A store that is opened again starts empty."""
    await kv.set("a", b"1", ttl_s=60)
    await kv.add_if_absent("a", ttl_s=60)
    await kv.take([Bucket("a", 1, 1)])
    await kv.close()
    assert await kv.get("a") is None
    assert await kv.add_if_absent("a", ttl_s=60)
    assert (await kv.take([Bucket("a", 1, 1)])).allowed
