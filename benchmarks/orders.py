"""How many orders go through one after the other, and how soon each leaves.

Through the order service in this process, before a bot that answers at once, on both engines;
beside the bare commits of the same store and the bare requests that nothing can do without.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from uuid import uuid4

import httpx2
import orjson
from sqlalchemy import text

from benchmarks.children import Bench
from benchmarks.instant import PAIRS
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.orders import OrderRequest, Side
from mcp_gateway.domain.principals import Admission, Principal, admission_by_the_gate
from mcp_gateway.gateway import open_gateway
from mcp_gateway.orders.service import OrderService
from mcp_gateway.settings import Settings
from mcp_gateway.storage.sql import Store
from tests.support.servers import Postgres, own

ORDERS = 400
FLOOR_ROUNDS = 400
WARM_UP = 40
LEAST_PER_S = 200.0
MOST_MS = 5.0  # to the first byte, at the median
AMOUNT = "1"
SCOPES = frozenset({"orders:create", "orders:preview"})
POLICY = """\
[defaults]
orders_per_minute = "none"
orders_per_day = "none"

[markets."*/USDT"]
lot_step = "0.00001"
minimum_stake = "5"
"""


class Durable(Postgres):
    """The tests' PostgreSQL, but one that writes to the disk before it confirms."""

    @property
    def command(self) -> list[str]:
        """The tests' command line, their haste taken back."""
        return [*super().command, "-c", "fsync=on"]


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL of our own and yield its URL."""
    with own(Durable) as server:
        yield server.url


def trader() -> Admission:
    """Return what the gate makes of an agent that may trade."""
    principal = Principal("benchmarks", "agent", SCOPES)
    return admission_by_the_gate(principal, OPERATIONS["create_order"], "http", "call-1")


def order(place: int) -> OrderRequest:
    """Return the next order: each pair is bought, then sold whole."""
    side: Side = "buy" if place % 2 == 0 else "sell"
    return OrderRequest.model_validate({
        "request_id": uuid4(), "pair": PAIRS[place // 2 % len(PAIRS)], "side": side,
        "amount": AMOUNT, "order_type": "market",
    })  # fmt: skip


async def orders(service: OrderService, count: int) -> tuple[list[float], float]:
    """Send orders one after the other; return when each was asked for, and the seconds of all.

    Raises:
        GatewayError: one was not placed.
    """
    admission, asked_at = trader(), []
    started = time.perf_counter()
    for place in range(count):
        one = order(place)
        asked_at.append(time.monotonic())
        await service.create(admission, one)
    return asked_at, time.perf_counter() - started


async def through_the_gateway(settings: Settings, bot_url: str) -> dict[str, Any]:
    """Measure orders through a whole gateway, opened as ``serve`` opens it."""
    async with open_gateway(settings) as gateway:
        service = await gateway.orders()
        await orders(service, WARM_UP)
        arrivals(bot_url)
        asked_at, elapsed = await orders(service, ORDERS)
    arrived_at = arrivals(bot_url)
    if len(arrived_at) != len(asked_at):
        raise RuntimeError(f"{len(asked_at)} orders were asked for, {len(arrived_at)} came")
    waits = [(came - asked) * 1000 for asked, came in zip(asked_at, arrived_at, strict=True)]
    return {
        "per_s": round(ORDERS / elapsed, 1),
        "first_byte_p50_ms": round(median(waits), 2),
        "first_byte_p99_ms": round(quantiles(waits, n=100)[98], 2),
    }


def arrivals(bot_url: str) -> list[float]:
    """Return when the first byte of each order reached the bot since the last look."""
    told: list[float] = orjson.loads(httpx2.get(f"{bot_url}/arrivals", trust_env=False).content)
    return told


async def commits(store: Store) -> float:
    """Return how many transactions with one small row the same store commits in a second."""
    insert = text("INSERT INTO floor VALUES (:word)")
    row = {"word": "a row"}

    async def commit() -> None:
        await store.write(lambda connection: connection.execute(insert, row).rowcount)

    make = text("CREATE TABLE floor (word VARCHAR(40))")
    await store.write(lambda connection: connection.execute(make).rowcount)
    return await rate(commit)


async def posts(bot_url: str) -> float:
    """Return how many requests, each on a connection of its own, are answered in a second."""
    no_keeping = httpx2.Limits(max_keepalive_connections=0)
    content = orjson.dumps({"pair": PAIRS[0], "stakeamount": 100.0, "entry_tag": "floor"})
    async with httpx2.AsyncClient(limits=no_keeping, trust_env=False) as client:

        async def post() -> None:
            answer = await client.post(f"{bot_url}/floor", content=content)
            answer.raise_for_status()

        return await rate(post)


async def rate(work: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """Return how often in a second some work is done, one after the other."""
    for _ in range(WARM_UP):
        await work()
    started = time.perf_counter()
    for _ in range(FLOOR_ROUNDS):
        await work()
    return FLOOR_ROUNDS / (time.perf_counter() - started)


def fsync_ms(folder: Path) -> float:
    """Return how long the folder's disk takes to keep a page, at the median."""
    took = []
    with (folder / "page").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            started = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - started)
    return median(took) * 1000


def settings_before(bot_url: str, url: str, folder: Path) -> Settings:
    """Return the settings of a gateway with a store and a folder of its own."""
    folder.mkdir(parents=True)
    policy = folder / "policy.toml"
    policy.write_text(POLICY, encoding="utf-8")
    return Settings.apart(
        freqtrade_url=bot_url, freqtrade_username="bot", freqtrade_password="bot",
        database_url_given=url, data_dir=folder, policy=policy,
    )  # fmt: skip


async def on_engine(settings: Settings, bot_url: str, post_ms: float) -> dict[str, Any]:
    """Measure one engine: bare commits, then orders."""
    store = Store(settings.database_url, data_dir=settings.data_dir)
    await store.open(migrates=True)
    try:
        commits_per_s = await commits(store)
    finally:
        await store.close()
    told = await through_the_gateway(settings, bot_url)
    floor_ms = 1000 / commits_per_s + post_ms
    return told | {
        "commits_per_s": round(commits_per_s),
        "ratio_to_commit_and_post": round(1000 / told["per_s"] / floor_ms, 1),
    }


def measure_orders(bench: Bench) -> dict[str, Any]:
    """Measure both engines and the requests that no gateway can do without."""
    measured: dict[str, Any] = {"orders": ORDERS, "fsync_ms": round(fsync_ms(bench.folder), 2)}
    with ExitStack() as stack:
        _, bot_url = stack.enter_context(bench.server("benchmarks.instant"))
        posts_per_s = asyncio.run(posts(bot_url))
        measured["posts_per_s"] = round(posts_per_s)
        folder = bench.folder / "orders"
        urls = {
            "sqlite": f"sqlite:///{folder / 'sqlite' / 'gateway.sqlite'}",
            "postgresql": stack.enter_context(postgres()),
        }
        for name, url in urls.items():
            settings = settings_before(bot_url, url, folder / name)
            measured[name] = asyncio.run(on_engine(settings, bot_url, 1000 / posts_per_s))
    engines = [measured[name] for name in urls]
    return measured | {
        "least_per_s": LEAST_PER_S,
        "limit_first_byte_ms": MOST_MS,
        "within": all(
            one["per_s"] >= LEAST_PER_S and one["first_byte_p50_ms"] <= MOST_MS for one in engines
        ),
    }
