"""The life of a gateway: what is there at once, what opens later, what drains at the end."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.domain.principals import Admission, Credentials, Unsigned
from mcp_gateway.errors import BotUnavailable, Draining, GatewayError, StoreUnavailable
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.gateway import UNMENDABLE, Gateway, open_gateway
from mcp_gateway.health import KEPT_S
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import open_kv
from mcp_gateway.storage.sql import Store
from tests.support import keys
from tests.support.clock import ManualClock
from tests.support.policy import POLICY_FILE
from tests.support.servers import Child
from tests.support.tradingbot import TradingBot
from tests.support.upgrade import upgrade

pytestmark = [pytest.mark.integration, pytest.mark.anyio]
LOCAL = Credentials("stdio", None, Unsigned("signature_missing"), "call-1")
NEVER_S = 3600.0


def settings(folder: Path, **changes: Any) -> Settings:
    given = {
        "data_dir": folder, "subject": "agent-a", "scopes": ("market:read", "orders:create"),
        "policy": POLICY_FILE,
    }  # fmt: skip
    return Settings.apart(**(given | changes))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nothing listens on, and that nobody else is given meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@asynccontextmanager
async def running(
    given: Settings,
    bot: TradingBot,
    clock: Clock,
    after_s: float = 0.0,
    order_bot: FreqtradeClient | None = None,
) -> AsyncIterator[Gateway]:
    """Run a gateway before a bot at the wire, as open_gateway runs one before a real bot."""
    newest = int(clock.now().timestamp()) // 300 * 300 - 300
    bot.candles = {(pair, "5m"): newest for pair in bot.pairs}
    gateway = Gateway(given, clock, open_kv(given.redis_url, clock), bot.client(), order_bot)
    async with gateway.running(after_s):
        yield gateway


async def admitted(gateway: Gateway, operation: str = "create_order") -> Admission:
    return await gateway.gate.admit(LOCAL, OPERATIONS[operation])


def an_order() -> OrderRequest:
    return OrderRequest.model_validate(
        {"request_id": uuid4(), "pair": "BTC/USDT", "side": "buy", "amount": 1,
         "order_type": "market"}
    )  # fmt: skip


async def refusal_of(gateway: Gateway) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        await gateway.orders()
    return refused.value


async def test_reads_do_not_wait_for_the_store(tmp_path: Path) -> None:
    """A desktop app has its tool list and candles before the SQL libraries are imported."""
    clock = ManualClock()
    async with running(settings(tmp_path), TradingBot(clock), clock, NEVER_S) as gateway:
        told = await gateway.market.candles(
            await admitted(gateway, "get_candles"), "BTC/USDT", "5m", limit=2
        )
        assert len(told.candles) == 2
        assert not (tmp_path / "gateway.sqlite").exists()
        assert (await gateway.health()).status == "healthy"
        assert gateway.ready


async def test_the_first_order_opens_the_store_and_waits_for_it(tmp_path: Path) -> None:
    """Long before its time; the order is then placed as if it had been open all along."""
    clock = ManualClock()
    bot = TradingBot(clock)
    async with running(settings(tmp_path), bot, clock, NEVER_S) as gateway:
        orders = await gateway.orders()
        assert (tmp_path / "gateway.sqlite").exists()
        created = await orders.create(await admitted(gateway), an_order())
        assert created.answer["outcome"] == "placed"
        assert bot.asked("forceenter") == 1


async def test_many_who_ask_how_it_is_ask_the_bot_once(tmp_path: Path) -> None:
    """Anybody may ask without a token: a flood of probes must not become one at the bot."""
    clock = ManualClock()
    bot = TradingBot(clock)
    async with running(settings(tmp_path), bot, clock, NEVER_S) as gateway:
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(gateway.health)
        assert bot.asked("show_config") == 1
        clock.advance(KEPT_S)
        await gateway.health()
        assert bot.asked("show_config") == 2


async def test_a_store_that_is_gone_is_unhealthy_though_embedded(tmp_path: Path) -> None:
    """Orders would all be refused: /health must not say that all is well."""
    clock = ManualClock()
    async with running(settings(tmp_path), TradingBot(clock), clock, 0.0) as gateway:
        await gateway.ensure_store_is_ours()
        (tmp_path / "gateway.sqlite").unlink()
        health = await gateway.health()
        assert (health.status, health.services["postgres"]) == ("degraded", "unhealthy")


async def test_the_store_opens_by_itself_in_its_time(tmp_path: Path) -> None:
    """Recovery of an earlier process's orders does not wait for the next order."""
    clock = ManualClock()
    async with running(settings(tmp_path), TradingBot(clock), clock, 0.0) as gateway:
        await gateway.ensure_store_is_ours()
        assert gateway.ready
        health = await gateway.health()
        assert health.services == {
            "freqtrade": "healthy", "postgres": "embedded", "redis": "embedded",
        }  # fmt: skip


async def test_a_postgresql_that_is_down_is_named_and_reads_go_on(
    tmp_path: Path, closed_port: int
) -> None:
    """Never silently replaced by SQLite: orders are refused, and the refusal names it."""
    url = f"postgresql://gateway:canary-pw@127.0.0.1:{closed_port}/gateway"
    clock = ManualClock()
    given = settings(tmp_path, database_url_given=url)
    async with running(given, TradingBot(clock), clock) as gateway:
        refusal = await refusal_of(gateway)
        assert (refusal.code, refusal.retryable) == ("database_unavailable", True)
        assert "PostgreSQL" in refusal.message
        assert "canary-pw" not in str(refusal.public())
        await gateway.ensure_store_is_ours()  # it may come back: no reason not to start
        assert (await gateway.market.pairs(await admitted(gateway, "read_pairs"))).names
        health = await gateway.health()
        assert (health.status, health.services["postgres"]) == ("degraded", "unhealthy")
        assert not gateway.ready
    assert not (tmp_path / "gateway.sqlite").exists()


async def test_a_postgresql_that_comes_back_is_taken_up(
    tmp_path: Path, own_postgres: Child
) -> None:
    """Without a restart: it is tried again every two seconds."""
    await upgrade(own_postgres.url, data_dir=tmp_path)
    own_postgres.stop()
    clock = ManualClock()
    bot = TradingBot(clock)
    async with running(
        settings(tmp_path, database_url_given=own_postgres.url), bot, clock
    ) as gateway:
        assert (await refusal_of(gateway)).code == "database_unavailable"
        await anyio.to_thread.run_sync(own_postgres.start)
        assert (await refusal_of(gateway)).code == "database_unavailable"  # not yet tried again
        await clock.sleeping()
        clock.advance(2.0)
        with anyio.fail_after(10):
            while gateway._books is None:
                await anyio.lowlevel.checkpoint()
        created = await (await gateway.orders()).create(await admitted(gateway), an_order())
        assert created.answer["outcome"] == "placed"
        health = await gateway.health()
        assert (health.status, health.services["postgres"]) == ("healthy", "healthy")
        own_postgres.stop()
        clock.advance(KEPT_S)
        health = await gateway.health()
        assert (health.status, health.services["postgres"]) == ("degraded", "unhealthy")
        with pytest.raises(StoreUnavailable) as refused:
            await (await gateway.orders()).create(await admitted(gateway), an_order())
        assert refused.value.code == "database_unavailable"
        assert bot.asked("forceenter") == 1


async def test_an_unmigrated_postgresql_is_told_at_the_start(
    tmp_path: Path, postgres_url: str
) -> None:
    """Waiting mends it not; an operator does, and is told how."""
    clock = ManualClock()
    given = settings(tmp_path, database_url_given=postgres_url)
    async with running(given, TradingBot(clock), clock) as gateway:
        with pytest.raises(StoreUnavailable) as refused:
            await gateway.ensure_store_is_ours()
        assert refused.value.code == "schema_outdated"
        assert refused.value.code in UNMENDABLE
        assert "db upgrade" in refused.value.hint


async def test_a_store_that_another_gateway_holds_is_told_at_the_start(tmp_path: Path) -> None:
    """Two processes on one SQLite ledger could both send; the second is told where the first is."""
    holder = Store(f"sqlite:///{tmp_path}/gateway.sqlite", data_dir=tmp_path)
    await holder.open()
    clock = ManualClock()
    try:
        async with running(settings(tmp_path), TradingBot(clock), clock) as gateway:
            with pytest.raises(StoreUnavailable) as refused:
                await gateway.ensure_store_is_ours()
            assert refused.value.code == "store_held"
            assert (await refusal_of(gateway)).code == "store_held"
    finally:
        await holder.close()


async def test_a_bot_that_is_down_degrades_and_two_dead_parts_are_unhealthy(
    tmp_path: Path, closed_port: int
) -> None:
    """The words of the predecessor's /health."""
    clock = ManualClock()
    bot = TradingBot(clock)
    async with running(settings(tmp_path), bot, clock) as gateway:
        await gateway.ensure_store_is_ours()
        bot.fails = 500
        health = await gateway.health()
        assert (health.status, health.services["freqtrade"]) == ("degraded", "unhealthy")
        assert gateway.ready  # a bot that is away is no reason to restart the gateway
    url = f"postgresql://gateway@127.0.0.1:{closed_port}/gateway"
    async with running(settings(tmp_path, database_url_given=url), bot, clock) as gateway:
        await gateway.ensure_store_is_ours()
        assert (await gateway.health()).status == "unhealthy"


async def test_a_broken_keys_file_degrades_and_is_named(tmp_path: Path) -> None:
    """The keys read before stay in force; an operator must see that a change did not arrive."""
    clock = ManualClock()
    path = keys.written(tmp_path / "keys.json", keys.record())
    async with running(settings(tmp_path), TradingBot(clock), clock) as gateway:
        await gateway.ensure_store_is_ours()
        gateway.gate.keys.load()
        assert "keys" not in (await gateway.health()).services
        path.write_text("{")
        await gateway.gate.keys.look()
        clock.advance(KEPT_S + 1)
        health = await gateway.health()
    assert (health.status, health.services["keys"]) == ("degraded", "unhealthy")


async def test_health_waits_for_no_hanging_service(tmp_path: Path) -> None:
    """Two seconds for all of them together: an orchestrator asks with a deadline."""
    clock = ManualClock()
    bot = TradingBot(clock)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        async with running(settings(tmp_path, redis_url_given=url), bot, clock) as gateway:
            started = time.monotonic()
            health = await gateway.health()
            assert time.monotonic() - started < 4
    assert health.services["redis"] == "unhealthy"


async def test_with_redis_down_reads_go_on_and_orders_are_refused(
    tmp_path: Path, own_redis: Child
) -> None:
    """Nonces that cannot be checked could be replayed; candles that are not cached cannot hurt."""
    clock = ManualClock()
    bot = TradingBot(clock)
    given = settings(tmp_path, redis_url_given=own_redis.url)
    async with running(given, bot, clock, NEVER_S) as gateway:
        assert (await gateway.health()).services["redis"] == "healthy"
        own_redis.stop()
        clock.advance(KEPT_S)
        health = await gateway.health()
        assert (health.status, health.services["redis"]) == ("degraded", "unhealthy")
        told = await gateway.market.candles(
            await admitted(gateway, "get_candles"), "BTC/USDT", "5m", limit=2
        )
        assert len(told.candles) == 2
        with pytest.raises(StoreUnavailable) as refused:
            await admitted(gateway, "create_order")
        assert "Redis" in refused.value.message
        own_redis.start()
        clock.advance(2.0)
        await admitted(gateway, "create_order")
        assert (await gateway.health()).services["redis"] == "healthy"


async def test_stop_waits_for_an_order_on_its_way(tmp_path: Path) -> None:
    """The bot's answer is written down before the store is closed; a new order is refused."""
    clock = ManualClock()
    bot = TradingBot(clock)
    bot.faults.append("hang")
    outcome: list[str] = []
    async with running(settings(tmp_path), bot, clock) as gateway:
        orders = await gateway.orders()

        async def place() -> None:
            created = await orders.create(await admitted(gateway), an_order())
            outcome.append(created.answer["outcome"])

        async with anyio.create_task_group() as group:
            group.start_soon(place)
            while not bot.posts:
                await anyio.lowlevel.checkpoint()
            group.start_soon(gateway.stop)
            while not gateway._stopping:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(Draining) as refused:
                await gateway.orders()
            assert refused.value.code == "draining"
            with pytest.raises(Draining):
                await orders.create(await admitted(gateway), an_order())
            assert outcome == []
            bot.release.set()
    assert outcome == ["placed"]
    assert len(bot.posts) == 1


async def test_an_order_cut_off_by_the_end_is_taken_up_by_the_next_gateway(tmp_path: Path) -> None:
    """Sent and unanswered when the process ended: the next one finds it at the bot by its tag."""
    clock = ManualClock()
    bot = TradingBot(clock)
    bot.faults.append("lose_done")
    order = an_order()
    async with running(settings(tmp_path), bot, clock) as gateway:
        with pytest.raises(GatewayError) as refused:
            await (await gateway.orders()).create(await admitted(gateway), order)
        first = refused.value.code
    async with running(settings(tmp_path), bot, clock) as gateway:
        told = await (await gateway.orders()).get(await admitted(gateway), order.request_id)
        assert told["outcome"] == "placed"
    assert first == "outcome_unknown"
    assert bot.asked("forceenter") == 1


async def test_the_trail_is_written_before_the_store_closes(tmp_path: Path) -> None:
    """A refusal just before the end still becomes an audit row."""
    clock = ManualClock()
    async with running(settings(tmp_path), TradingBot(clock), clock) as gateway:
        await gateway.orders()
        with pytest.raises(GatewayError):
            await admitted(gateway, "get_account")
    async with running(settings(tmp_path), TradingBot(clock), clock) as gateway:
        rows = await (await gateway.audit_log()).tail(10, event="call.refused")
    assert [row.event.operation for row in rows] == ["get_account"]


async def test_stopping_asked_for_by_many_at_once_happens_once_and_ends_for_all(
    tmp_path: Path,
) -> None:
    """A signal and the end of the input come together; none of them returns before the end."""
    clock = ManualClock()
    bot = TradingBot(clock)
    bot.faults.append("hang")
    returned = []
    async with running(settings(tmp_path), bot, clock) as gateway:
        orders = await gateway.orders()
        allowed = await admitted(gateway)

        async def stop() -> None:
            await gateway.stop()
            returned.append(bot.release.is_set())

        async with anyio.create_task_group() as group:
            group.start_soon(orders.create, allowed, an_order())
            while not bot.posts:
                await anyio.lowlevel.checkpoint()
            group.start_soon(stop)
            group.start_soon(stop)
            await anyio.wait_all_tasks_blocked()
            assert returned == []
            bot.release.set()
        assert returned == [True, True]
        await (await reopened(tmp_path)).close()


async def reopened(folder: Path) -> Store:
    """Open the store of a gateway that must have let it go."""
    store = Store(f"sqlite:///{folder}/gateway.sqlite", data_dir=folder)
    await store.open()
    return store


async def test_a_caller_that_is_cancelled_cuts_off_neither_order_nor_trail(tmp_path: Path) -> None:
    """Whatever ends what runs in the gateway: the order arrives and every row is written."""
    clock = ManualClock()
    bot = TradingBot(clock)
    bot.faults.append("hang")
    order = an_order()
    with anyio.CancelScope() as everything:
        async with (
            running(settings(tmp_path), bot, clock) as gateway,
            anyio.create_task_group() as group,
        ):
            orders = await gateway.orders()
            group.start_soon(orders.create, await admitted(gateway), order)
            while not bot.posts:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(GatewayError):
                await admitted(gateway, "get_account")
            everything.cancel()
            bot.release.set()
            await anyio.lowlevel.checkpoint()
    async with running(settings(tmp_path), TradingBot(clock), clock) as gateway:
        told = await (await gateway.orders()).get(await admitted(gateway), order.request_id)
        rows = await (await gateway.audit_log()).tail(10, event="call.refused")
    assert told["outcome"] == "placed"
    assert [row.event.operation for row in rows] == ["get_account"]


async def test_rows_that_wait_get_their_store_where_nobody_has_wanted_it(tmp_path: Path) -> None:
    """A short session that was refused something leaves its rows, too."""
    clock = ManualClock()
    async with running(settings(tmp_path), TradingBot(clock), clock, NEVER_S) as gateway:
        with pytest.raises(GatewayError):
            await admitted(gateway, "get_account")
        assert not (tmp_path / "gateway.sqlite").exists()
    async with running(settings(tmp_path), TradingBot(clock), clock) as gateway:
        rows = await (await gateway.audit_log()).tail(10, event="call.refused")
    assert [row.event.operation for row in rows] == ["get_account"]


async def test_a_gateway_that_stops_is_sent_no_more_calls(tmp_path: Path) -> None:
    """Not ready from the first moment of the end, while orders still arrive."""
    clock = ManualClock()
    bot = TradingBot(clock)
    bot.faults.append("hang")
    async with (
        running(settings(tmp_path), bot, clock) as gateway,
        anyio.create_task_group() as group,
    ):
        orders = await gateway.orders()
        group.start_soon(orders.create, await admitted(gateway), an_order())
        while not bot.posts:
            await anyio.lowlevel.checkpoint()
        before = gateway.ready
        group.start_soon(gateway.stop)
        await anyio.wait_all_tasks_blocked()
        assert (before, gateway.ready) == (True, False)
        assert (await gateway.health()).status == "unhealthy"
        bot.release.set()


async def test_stopping_twice_is_stopping_once(tmp_path: Path) -> None:
    """A signal and the end of the context both stop it."""
    clock = ManualClock()
    async with running(settings(tmp_path), TradingBot(clock), clock) as gateway:
        await gateway.orders()
    await gateway.stop()
    assert (await refusal_of(gateway)).code == "draining"


async def test_open_gateway_lets_the_data_folder_go_when_it_is_left(
    tmp_path: Path, closed_port: int
) -> None:
    """The next process must be able to hold it; and why the bot is away is told in given words."""
    given = settings(tmp_path, freqtrade_url=f"http://127.0.0.1:{closed_port}")
    starting = BotUnavailable("Starting.", code="bot_starting")
    async with open_gateway(given, absence=lambda: starting) as gateway:
        await gateway.orders()
        with pytest.raises(BotUnavailable) as refused:
            await gateway.market.bot_state()
        assert refused.value.code == "bot_starting"
    store = Store(given.database_url, data_dir=tmp_path)
    await store.open()
    await store.close()


async def test_orders_go_over_connections_of_their_own(tmp_path: Path) -> None:
    """Readers who use up theirs, or break them, hold up no order."""
    clock = ManualClock()
    readers, orders = TradingBot(clock), TradingBot(clock)
    async with running(settings(tmp_path), orders, clock):
        pass  # lays out the market of the second one
    async with running(settings(tmp_path), readers, clock, order_bot=orders.client()) as gateway:
        readers.fails = 500
        created = await (await gateway.orders()).create(await admitted(gateway), an_order())
    assert created.answer["outcome"] == "placed"
    assert (len(orders.posts), len(readers.posts)) == (1, 0)


async def test_a_bot_is_the_same_under_another_spelling_of_its_address(tmp_path: Path) -> None:
    """Localhost for 127.0.0.1 must not trap a position, nor open a second place in flight."""
    clock = ManualClock()
    bot = TradingBot(clock)
    for url, side in (("http://127.0.0.1:1", "buy"), ("http://localhost:1", "sell")):
        async with running(settings(tmp_path, freqtrade_url=url), bot, clock) as gateway:
            wanted = an_order().model_copy(update={"side": side})
            created = await (await gateway.orders()).create(await admitted(gateway), wanted)
            assert created.answer["outcome"] == "placed"
