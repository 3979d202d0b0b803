"""The key-value store keeps its promises on memory and on a real Redis alike."""

import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_gateway.clock import Clock
from mcp_gateway.errors import ConfigurationError, StoreUnavailable
from mcp_gateway.storage.buckets import decide
from mcp_gateway.storage.kv import Bucket, KeyValue, Taken, open_kv
from mcp_gateway.storage.redis import DECIDE, RedisKeyValue, taken
from tests.support.servers import Child, Server

pytestmark = [pytest.mark.integration, pytest.mark.anyio]


@pytest.fixture(params=["memory", "redis"])
async def kv(request: pytest.FixtureRequest) -> AsyncIterator[KeyValue]:
    """Each engine in turn, both on a running clock."""
    url = request.getfixturevalue("redis_server").url if request.param == "redis" else None
    store = open_kv(url, Clock())
    yield store
    await store.close()


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return uuid.uuid4().hex


async def _gone(kv: KeyValue, key: str) -> None:
    while await kv.get(key) is not None:
        await anyio.lowlevel.checkpoint()


async def test_the_engine_is_the_configured_one(
    kv: KeyValue, request: pytest.FixtureRequest
) -> None:
    """Memory or Redis is chosen once, by the URL."""
    assert kv.backend == request.node.callspec.params["kv"]
    await kv.ping()


async def test_a_value_comes_back_byte_for_byte(kv: KeyValue, key: str) -> None:
    """Values are bytes; nothing decodes them."""
    await kv.set(key, b"\x00\xff \r\n", ttl_s=60)
    assert await kv.get(key) == b"\x00\xff \r\n"


async def test_an_unknown_key_has_no_value(kv: KeyValue, key: str) -> None:
    """Absence is None, not an error."""
    assert await kv.get(key) is None


async def test_a_later_value_replaces_the_earlier_one(kv: KeyValue, key: str) -> None:
    """There is one value for a key."""
    await kv.set(key, b"1", ttl_s=60)
    await kv.set(key, b"2", ttl_s=60)
    assert await kv.get(key) == b"2"


async def test_a_deleted_value_is_gone(kv: KeyValue, key: str) -> None:
    """Deleting is final, and deleting nothing is no error."""
    await kv.set(key, b"1", ttl_s=60)
    await kv.delete(key)
    await kv.delete(key)
    assert await kv.get(key) is None


async def test_a_value_goes_with_its_time(kv: KeyValue, key: str) -> None:
    """Nothing is kept longer than its time to live."""
    await kv.set(key, b"1", ttl_s=0.05)
    with anyio.fail_after(5):
        await _gone(kv, key)


async def test_a_nonce_is_new_once(kv: KeyValue, key: str) -> None:
    """The same nonce again is a replay."""
    assert await kv.add_if_absent(key, ttl_s=60)
    assert not await kv.add_if_absent(key, ttl_s=60)


async def test_a_spent_nonce_is_no_first_time(kv: KeyValue, key: str) -> None:
    """Each engine tells whether it is the first, and since when it has forgotten nothing."""
    now_s = int(Clock().now().timestamp())
    first, second = await kv.spend(key, 60, now_s), await kv.spend(key, 60, now_s)
    assert (first.first, second.first) == (True, False)
    assert first.since == second.since <= now_s + 1
    assert not await kv.add_if_absent(key, 60)


async def test_a_nonce_can_come_again_after_its_time(kv: KeyValue, key: str) -> None:
    """A nonce is kept for its time and no longer."""
    assert await kv.add_if_absent(key, ttl_s=0.05)
    with anyio.fail_after(5):
        while not await kv.add_if_absent(key, ttl_s=0.05):
            await anyio.lowlevel.checkpoint()


async def test_one_of_64_tasks_spends_a_nonce(kv: KeyValue, key: str) -> None:
    """Adding is one step: however many come at once, one is first."""
    together = anyio.Event()
    waiting: list[int] = []
    first: list[int] = []

    async def spend(number: int) -> None:
        waiting.append(number)
        if len(waiting) == 64:
            together.set()
        await together.wait()
        if await kv.add_if_absent(key, ttl_s=60):
            first.append(number)

    async with anyio.create_task_group() as group:
        for number in range(64):
            group.start_soon(spend, number)
    assert len(waiting) == 64
    assert len(first) == 1


async def test_values_nonces_and_buckets_do_not_meet(kv: KeyValue, key: str) -> None:
    """A caller who names a value like a nonce neither reads nor spends it."""
    assert await kv.add_if_absent(key, ttl_s=60)
    await kv.take([Bucket(key, per_minute=1, burst=1)])
    assert await kv.get(key) is None
    await kv.set(key, b"1", ttl_s=60)
    await kv.delete(key)
    assert not await kv.add_if_absent(key, ttl_s=60)
    assert not (await kv.take([Bucket(key, per_minute=1, burst=1)])).allowed


async def test_a_burst_is_allowed_and_then_no_more(kv: KeyValue, key: str) -> None:
    """A bucket gives its burst at once, then one unit an interval."""
    bucket = Bucket(key, per_minute=1, burst=3)
    answers = [await kv.take([bucket]) for _ in range(4)]
    assert [answer.allowed for answer in answers] == [True, True, True, False]
    assert [answer.remaining for answer in answers] == [2, 1, 0, 0]
    assert answers[3].exceeded == key
    assert 59 < answers[3].retry_after_s <= 60


async def test_a_unit_comes_back_with_its_time(kv: KeyValue, key: str) -> None:
    """``retry_after_s`` is true: a call after it is allowed."""
    bucket = Bucket(key, per_minute=600, burst=1)
    assert (await kv.take([bucket])).allowed
    with anyio.fail_after(5):
        while not (await kv.take([bucket])).allowed:
            await anyio.lowlevel.checkpoint()


async def test_a_costly_call_spends_its_cost(kv: KeyValue, key: str) -> None:
    """A cost counts as that many calls."""
    assert (await kv.take([Bucket(key, per_minute=1, burst=5, cost=4)])).remaining == 1
    assert not (await kv.take([Bucket(key, per_minute=1, burst=5, cost=2)])).allowed
    assert (await kv.take([Bucket(key, per_minute=1, burst=5, cost=1)])).allowed


async def test_a_look_spends_nothing(kv: KeyValue, key: str) -> None:
    """A cost of nothing tells what is left, of an unused bucket and of an empty one."""
    look, bucket = (Bucket(key, per_minute=1, burst=2, cost=cost) for cost in (0, 1))
    assert [(await kv.take([look])).remaining for _ in range(3)] == [2, 2, 2]
    assert [(await kv.take([bucket])).allowed for _ in range(3)] == [True, True, False]
    assert (await kv.take([look])).remaining == 0


async def test_one_exceeded_limit_spends_none_of_the_others(kv: KeyValue, key: str) -> None:
    """Several limits are taken all or nothing."""
    mine, everybody = Bucket(f"{key}:me", 1, 1), Bucket(f"{key}:all", 1, 2)
    assert (await kv.take([mine, everybody])).allowed
    refused = await kv.take([mine, everybody])
    assert (refused.allowed, refused.exceeded) == (False, mine.key)
    assert (await kv.take([everybody])).allowed


async def test_the_limit_that_holds_longest_is_named(kv: KeyValue, key: str) -> None:
    """Where several limits refuse, waiting for the named one is enough."""
    quick, slow = Bucket(f"{key}:quick", 600, 1), Bucket(f"{key}:slow", 1, 1)
    await kv.take([quick, slow])
    refused = await kv.take([quick, slow])
    assert refused.exceeded == slow.key
    assert refused.retry_after_s > 50


async def test_64_tasks_share_a_burst_exactly(kv: KeyValue, key: str) -> None:
    """A race takes what there is, never more."""
    bucket = Bucket(key, per_minute=1, burst=10)
    answers: list[Taken] = []

    async def call() -> None:
        answers.append(await kv.take([bucket]))

    async with anyio.create_task_group() as group:
        for _ in range(64):
            group.start_soon(call)
    assert sum(answer.allowed for answer in answers) == 10


async def test_a_key_twice_in_one_take_is_a_fault_of_the_code(kv: KeyValue, key: str) -> None:
    """No engine decides what it would have to count twice."""
    with pytest.raises(ValueError, match="each key once"):
        await kv.take([Bucket(key, 1, 1), Bucket(key, 1, 1)])
    with pytest.raises(ValueError, match="one bucket at least"):
        await kv.take([])


BUCKETS = st.lists(
    st.tuples(
        st.sampled_from(["caller", "server", "order"]),
        st.integers(1, 100_000),
        st.integers(1, 50),
        st.integers(0, 50),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda drawn: drawn[0],
)
STEPS = st.lists(
    st.tuples(st.integers(-90_000_000, 90_000_000) | st.integers(0, 5_000), BUCKETS), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_the_script_decides_as_the_twin_in_memory(redis_server: Server, steps: list[Any]) -> None:
    """The Lua script and its twin give the same answers, also when clocks are set back."""
    anyio.run(_compare, redis_server.url, steps)


async def _compare(url: str, steps: list[Any]) -> None:
    """Run the real script on a real server, with a time of our own in place of the server's."""
    run = uuid.uuid4().hex
    arrivals: dict[str, int] = {}
    now = 1_700_000_000_000_000
    async with redis.asyncio.from_url(url) as client:
        for passed, drawn in steps:
            now += passed
            buckets = [
                Bucket(f"{run}:{name}", per_minute, max(burst, cost), cost)
                for name, per_minute, burst, cost in drawn
            ]
            numbers = [n for one in buckets for n in (one.interval_us, one.burst, one.cost)]
            keys = [one.key for one in buckets]
            script = f"local now = {now}\n{DECIDE}"
            answer = await client.eval(script, len(keys), *keys, *numbers)
            expected, kept = decide(buckets, arrivals, now)
            arrivals |= kept
            assert taken(buckets, answer) == expected
            stored = await client.mget(keys)
            assert [one and int(one) for one in stored] == [arrivals.get(key) for key in keys]


async def test_a_redis_that_dies_is_named_and_one_that_returns_is_used(
    own_redis: Child, key: str
) -> None:
    """A configured Redis is never replaced by memory; back again, it serves without a restart."""
    kv = open_kv(own_redis.url, Clock())
    assert await kv.add_if_absent(key, ttl_s=60)
    assert (await kv.take([Bucket(key, 60, 1)])).allowed
    own_redis.stop()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: kv.get(key),
        lambda: kv.set(key, b"", 60),
        lambda: kv.delete(key),
        lambda: kv.add_if_absent(key, 60),
        lambda: kv.take([Bucket(key, 60, 1)]),
        lambda: kv.spend(key, 60, 0),
        kv.ping,
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable) as refused:
            await call()
        assert refused.value.code == "redis_unavailable"
    own_redis.start()
    await kv.ping()
    # The script is unknown to the new server and has to be loaded again.
    assert (await kv.take([Bucket(key, 60, 1)])).allowed
    await kv.close()


async def test_each_engine_tells_what_it_forgets_early(kv: KeyValue) -> None:
    """Nothing by default, on either; what an operator sets otherwise is named."""
    assert await kv.eviction() is None


async def test_a_redis_that_evicts_says_by_which_rule(own_redis: Child) -> None:
    """An evicted nonce is a replay let through: `doctor` warns by this word."""
    kv = open_kv(own_redis.url, Clock())
    async with redis.asyncio.Redis.from_url(own_redis.url) as admin:
        await admin.config_set("maxmemory-policy", "volatile-lru")
    assert await kv.eviction() == "volatile-lru"
    await kv.close()


async def test_opening_does_not_wait_for_redis() -> None:
    """A Redis that is down is told at the first call, not at the start."""
    kv = open_kv("redis://127.0.0.1:1/0", Clock())
    with pytest.raises(StoreUnavailable) as refused:
        await kv.ping()
    assert refused.value.code == "redis_unavailable"
    await kv.close()


async def _silent(stream: anyio.abc.SocketStream) -> None:
    async with stream:
        while True:
            await stream.receive()


async def _dripping(stream: anyio.abc.SocketStream) -> None:
    """Answer with a bulk string that grows by a byte now and then, within every time-out."""
    async with stream:
        await stream.receive()
        await stream.send(b"$1000000\r\n")
        while True:
            await anyio.sleep(0.1)
            await stream.send(b"x")


@pytest.mark.parametrize("server", [_silent, _dripping])
async def test_a_redis_that_hangs_or_drips_is_given_up_in_time(
    server: Callable[[anyio.abc.SocketStream], Awaitable[None]],
) -> None:
    """A caller waits a second at most, whatever stands behind the address."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        try:
            await server(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        kv = RedisKeyValue(f"redis://127.0.0.1:{port}/0")
        with anyio.fail_after(3), pytest.raises(StoreUnavailable) as refused:
            await kv.get("anything")
        assert refused.value.code == "redis_unavailable"
        await kv.close()
        group.cancel_scope.cancel()


async def test_a_cancelled_call_leaves_no_answer_for_the_next_one(
    redis_server: Server, key: str
) -> None:
    """A caller who hangs up between command and answer never shifts another's answer."""
    kv = open_kv(redis_server.url, Clock())
    for number in range(20):
        await kv.set(f"{key}:{number}", str(number).encode(), ttl_s=60)
    for number in range(20):
        with anyio.move_on_after(0.0001 * number):
            await kv.get(f"{key}:{19 - number}")
        assert await kv.get(f"{key}:{number}") == str(number).encode()
    await kv.close()


async def test_a_script_that_the_server_has_forgotten_is_loaded_again(
    redis_server: Server, key: str
) -> None:
    """NOSCRIPT, after a restart, a failover or SCRIPT FLUSH, is no trouble of a caller's."""
    kv = open_kv(redis_server.url, Clock())
    assert (await kv.take([Bucket(key, 1, 2)])).allowed
    async with redis.asyncio.from_url(redis_server.url) as client:
        await client.script_flush()
    answers = [await kv.take([Bucket(key, 1, 2)]) for _ in range(2)]
    assert [answer.allowed for answer in answers] == [True, False]
    await kv.close()


async def test_a_flushed_server_gives_a_burst_and_no_more(own_redis: Child, key: str) -> None:
    """A store that has lost its counts begins anew: that is the most that a flush is worth."""
    kv = open_kv(own_redis.url, Clock())
    bucket = Bucket(key, 1, 3)
    for _ in range(2):
        assert [(await kv.take([bucket])).allowed for _ in range(4)] == [True] * 3 + [False]
        async with redis.asyncio.from_url(own_redis.url) as client:
            await client.flushall()
    await kv.close()


async def test_a_server_that_has_become_a_replica_refuses_and_is_used_again(
    own_redis: Child, key: str
) -> None:
    """During a failover nothing can be counted: that is trouble, and no yes."""
    kv = open_kv(own_redis.url, Clock())
    bucket = Bucket(key, 60, 5)
    assert (await kv.take([bucket])).allowed
    async with redis.asyncio.from_url(own_redis.url) as client:
        await client.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable) as refused:
            await kv.take([bucket])
        assert refused.value.code == "redis_unavailable"
        await client.replicaof("NO", "ONE")
    assert (await kv.take([bucket])).remaining == 3
    await kv.close()


async def test_every_buckets_rest_is_told(kv: KeyValue, key: str) -> None:
    """What is left of each, in their order, and when the next unit comes."""
    mine, all_of_it = Bucket(f"{key}:a", 60, 2), Bucket(f"{key}:b", 60, 10, cost=3)
    taken = await kv.take([mine, all_of_it])
    assert (taken.left, taken.remaining) == ((1, 7), 1)
    assert 0 < taken.next_in_s(0) <= 1
    assert (await kv.take([Bucket(f"{key}:c", 60, 2, cost=0)])).next_in_s(0) == 0


def test_a_url_that_is_not_redis_is_refused_without_repeating_it() -> None:
    """The URL may hold a password."""
    with pytest.raises(ConfigurationError) as refused:
        open_kv("http://:hunter2hunter2@somewhere/0", Clock())
    assert refused.value.code == "configuration_invalid"
    assert not re.search("hunter2", str(refused.value))
