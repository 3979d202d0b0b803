"""64 agents before a real Freqtrade, and the kill switch: entries stop, exits go on."""

import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx2
import pytest
from anyio.from_thread import start_blocking_portal

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.errors import GatewayError
from mcp_gateway.gateway import Gateway, open_gateway
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.desk import admission
from tests.support.gateway import settings_for
from tests.support.halting import halted, resumed
from tests.support.proxy import Proxy
from tests.support.rogue import Connection, rogue

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.xdist_group("bot")]

AGENTS = 64
PAIRS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
HELD = "ADA/USDT"
QUOTE = Decimal(30)
BELOW = Decimal("0.97")  # of the last price: it rests
LATEST_S = 0.1  # an entry that has not begun by then after the halt, never does
BEFORE_S, BEHIND_S, LOOK_S = 5.0, 3.0, 0.05
Halting = Callable[[Gateway], Awaitable[object]]


@dataclass
class Passing(Proxy):
    """What passes between gateway and bot: each order call with the moment at which it came."""

    came: list[tuple[str, float]] = field(default_factory=list)

    def times(self, path: str) -> list[float]:
        """Return when calls of a kind came."""
        return [at for one, at in self.came if one == path]

    async def serve(self, connection: Connection) -> None:
        """Note an order call and let it pass."""
        if connection.method == "POST":
            self.came.append((connection.path, time.monotonic()))
        await super().serve(connection)


@dataclass
class Trader:
    """One agent: it rests below the market and takes that back, until the test is over."""

    name: str
    gateway: Gateway
    prices: dict[str, Decimal]
    denials: list[tuple[str, float]]

    async def trade(self, dice: random.Random) -> None:
        """Trade for ever; what is sold would be locked by the bot until the next candle."""
        while True:
            pair = dice.choice(PAIRS)
            price = round(self.prices[pair] * BELOW, 4)
            wanted = order(pair, "buy", round(QUOTE / price, 5), price)
            if await self.ask(wanted) is not None:
                await anyio.sleep(dice.uniform(0.0, 0.1))
                await self.take_back(wanted)
            await anyio.sleep(dice.uniform(0.0, 0.2))

    async def ask(self, wanted: OrderRequest) -> dict[str, Any] | None:
        """Send an order; a denial is noted."""
        try:
            orders = await self.gateway.orders()
            return (await orders.create(admission(self.name), wanted)).answer
        except GatewayError as error:
            self.denials.append((error.code, time.monotonic()))
            return None

    async def take_back(self, wanted: OrderRequest) -> None:
        """Cancel an order; one that the bot does not show yet is cancelled a moment later."""
        while True:
            with suppress(GatewayError):
                orders = await self.gateway.orders()
                await orders.cancel(admission(self.name, "cancel_order"), wanted.request_id)
                return
            await anyio.sleep(LOOK_S)


def order(pair: str, side: str, amount: Decimal, price: Decimal | None = None) -> OrderRequest:
    """Return an order under a new request_id; at the market without a price."""
    plain = {"request_id": uuid4(), "pair": pair, "side": side, "amount": amount}
    kind = {"order_type": "market"} if price is None else {"order_type": "limit", "price": price}
    return OrderRequest.model_validate(plain | kind)


async def by_the_switch(gateway: Gateway) -> object:
    """Halt as the command line and REST do."""
    return await halted((await gateway.books()).halts)


async def by_the_file(gateway: Gateway) -> object:
    """Halt from outside, as somebody who can reach nothing but the disk."""
    path = gateway.settings.data_dir / "HALT"
    return await anyio.to_thread.run_sync(path.write_text, "stop")


@contextmanager
def watched(bot: Sandbox) -> Iterator[Passing]:
    """Stand between gateway and bot, in a thread of its own, so that its times are its own."""
    passing = Passing(int(bot.freqtrade_url.rpartition(":")[2]))
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(rogue(passing.serve)) as front,
    ):
        passing.url = front.url
        yield passing


def state(bot_api: httpx2.Client) -> str:
    """Return what the bot says of itself, past the gateway."""
    return str(bot_api.get("show_config").json()["state"])


async def until(done: Callable[[], bool]) -> None:
    """Wait for real processes, which tell nobody when they are done."""
    with anyio.fail_after(30):
        while not await anyio.to_thread.run_sync(done):  # noqa: ASYNC110 (another process has no event to wait for)
            await anyio.sleep(LOOK_S)


async def becomes(bot_api: httpx2.Client, wanted: str) -> None:
    """Wait until the bot is in a state."""
    await until(lambda: state(bot_api) == wanted)


@pytest.mark.parametrize("halting", [by_the_switch, by_the_file], ids=["switch", "file"])
async def test_no_entry_leaves_later_than_a_tenth_of_a_second_after_a_halt(
    halting: Halting, clean_bot: Sandbox, bot_api: httpx2.Client, tmp_path: Path
) -> None:
    """64 agents trade; halted, no entry is sent, all exits are; resumed, it goes on."""
    dice = random.Random(4)
    prices = {pair: price(bot_api, pair) for pair in (*PAIRS, HELD)}
    with watched(clean_bot) as passing:
        settings = settings_for(
            tmp_path, freqtrade_url=passing.url, freqtrade_username=clean_bot.freqtrade_username,
            freqtrade_password=clean_bot.freqtrade_password, policy=clean_bot.policy,
        )  # fmt: skip
        async with open_gateway(settings) as gateway, anyio.create_task_group() as group:
            denials: list[tuple[str, float]] = []
            traders = [Trader(f"agent-{n}", gateway, prices, denials) for n in range(AGENTS)]
            holder, amount = traders[0], round(QUOTE / prices[HELD], 5)
            bought = await holder.ask(order(HELD, "buy", amount))
            assert bought is not None
            for trader in traders[1:]:
                group.start_soon(trader.trade, dice)
            await anyio.sleep(BEFORE_S)
            halted_at = time.monotonic()
            await halting(gateway)
            sold = await holder.ask(order(HELD, "sell", Decimal(str(bought["filled_amount"]))))
            await becomes(bot_api, "paused")
            await anyio.sleep(BEHIND_S)
            entries = passing.times("forceenter")
            late = [at - halted_at for at in entries if at > halted_at]
            last = max(at for at in entries if at <= halted_at) - halted_at
            print(f"{len(entries)} entries; the last {last:.4f} s, behind the halt: {late}")
            assert len(entries) >= 5  # however busy the machine is
            assert [at for at in late if at > LATEST_S] == []
            assert sold is not None
            assert sold["outcome"] == "placed"
            assert {code for code, at in denials if at > halted_at + 1} == {"trading_halted"}
            assert bot_api.get("status").json() == []  # what rested was taken back
            await resumed((await gateway.books()).halts)
            await becomes(bot_api, "running")
            resumed_at = time.monotonic()
            await until(lambda: passing.times("forceenter")[-1] > resumed_at)
            group.cancel_scope.cancel()


def price(bot_api: httpx2.Client, pair: str) -> Decimal:
    """Return the last close that the bot knows."""
    told = bot_api.get("pair_candles", params={"pair": pair, "timeframe": "5m", "limit": 2}).json()
    return Decimal(str(told["data"][-1][told["columns"].index("close")]))
