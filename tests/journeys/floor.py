"""A floor of agents that trade without end, and a person who halts it again and again."""

import random
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID, uuid4

import anyio
import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal

from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import OrderRecord, OrderRequest, State
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.sandbox.bot import Sandbox
from tests.journeys.door import AGAIN_S, Door, door_before
from tests.support.desk import BOT

PAIRS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
HELD = "ADA/USDT"
STAKE, HOLDING, PART = Decimal(30), Decimal(400), Decimal(12)  # in quote
BELOW = Decimal("0.97")  # of the last price: it rests
LATEST_S = 0.1  # an entry that has not begun by then after a halt, never does
# How long a halt is in force, at least; where an entry is at the door until it would have come.
SHORT_S, LONG_S = 0.4, 0.7
# When the person halts: so long behind the last entry, or behind the one at the door.
AT_RANDOM_S, AT_THE_DOOR_S = (0.0, 0.4), (0.5 * AGAIN_S, 0.85 * AGAIN_S)
KNOCK_S = 3.0
LOOK_S = 0.03
PATIENCE_S = 30.0
MOST_ROWS = 100_000


class Wire(Protocol):
    """How agents reach a gateway."""

    async def create(self, agent: str, wanted: OrderRequest) -> dict[str, Any]:
        """Send an order; return its receipt, or what it is refused with, with a ``code``."""

    async def cancel(self, agent: str, request_id: UUID) -> bool:
        """Take an order back; tell whether it is off."""


@dataclass
class Trader:
    """One agent: it rests below the market and takes that back."""

    name: str
    wire: Wire
    prices: Mapping[str, Decimal]
    denials: list[tuple[str, float]]

    async def trade(self, dice: random.Random) -> None:
        """Trade for ever; what is sold would be locked by the bot until the next candle."""
        while True:
            pair = dice.choice(PAIRS)
            price = round(self.prices[pair] * BELOW, 4)
            wanted = order(pair, "buy", STAKE / price, price)
            if await self.ask(wanted) is not None:
                while not await self.wire.cancel(self.name, wanted.request_id):  # noqa: ASYNC110 (asked again, as agents do)
                    await anyio.sleep(LOOK_S)
            await anyio.sleep(dice.uniform(0.0, 0.2))

    async def ask(self, wanted: OrderRequest) -> dict[str, Any] | None:
        """Send an order; a denial is noted."""
        told = await self.wire.create(self.name, wanted)
        if told.get("outcome") == "placed":
            return told
        self.denials.append((told["code"], time.monotonic()))
        return None

    async def hold(self) -> None:
        """Buy what is sold part by part while everything is halted."""
        await self._placed(order(HELD, "buy", HOLDING / self.prices[HELD]))

    async def sell_a_part(self) -> None:
        """Sell; no halt stops that."""
        await self._placed(order(HELD, "sell", PART / self.prices[HELD]))

    async def _placed(self, wanted: OrderRequest) -> None:
        told = await self.wire.create(self.name, wanted)
        assert told.get("outcome") == "placed", told


@dataclass(frozen=True)
class Halting:
    """One halt, by the clock of the tests and by that of the ledger.

    Args:
        began: right before the person's call, or behind it where that starts a program;
            ``began_at`` is the same moment.
        ended: right before the call that released it.
    """

    way: str
    began: float
    began_at: datetime
    ended: float

    def late(self, entries: Iterable[float]) -> list[float]:
        """Return how late entries came that came too late (s)."""
        latest = self.began + LATEST_S
        return [at - self.began for at in entries if latest < at < self.ended]

    def caught(self, withheld: Iterable[OrderRecord]) -> list[OrderRecord]:
        """Return the entries that the rules had let through, and that were held back after all."""
        return [
            one
            for one in withheld
            if one.sent_at and one.sent_at <= self.began_at <= one.updated_at
        ]


@dataclass
class Floor:
    """What a person halts, and what was seen of it.

    Args:
        doors: of all gateways; ``door`` is that of the one whose entries are caught, ``agents``
            are those that trade there.
    """

    door: Door
    doors: Sequence[Door]
    agents: frozenset[str]
    ledger: Ledger
    portal: BlockingPortal
    dice: random.Random
    halts: list[Halting] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def entries(self) -> list[float]:
        """Return when entries came to the bot, through whichever gateway."""
        return sorted(at for door in self.doors for at in door.times("forceenter"))

    async def more(self, count: int, door: Door | None = None) -> None:
        """Wait until so many entries more have come."""
        counted = self.entries if door is None else lambda: door.times("forceenter")
        wanted = len(counted()) + count
        await until(lambda: len(counted()) >= wanted)

    async def entry_at_the_door(self) -> None:
        """Wait for an entry that has passed the rules and can't connect, but not for ever.

        Returns when it has waited for most of the time for which it will.
        """
        since = self.clock.now()
        await anyio.to_thread.run_sync(self.portal.call, self.door.shut)
        with anyio.move_on_after(KNOCK_S):
            while (sent_at := await self._sent_since(since)) is None:  # noqa: ASYNC110 (a row tells nobody that it is there)
                await anyio.sleep(LOOK_S)
            until_then = timedelta(seconds=self.dice.uniform(*AT_THE_DOOR_S))
            await anyio.sleep(max(0.0, (sent_at + until_then - self.clock.now()).total_seconds()))

    async def _sent_since(self, since: datetime) -> datetime | None:
        sent = await self.ledger.in_states(BOT, {State.SENT})
        times = [one.sent_at for one in sent if one.agent in self.agents and one.sent_at]
        return next((at for at in times if at > since), None)

    @asynccontextmanager
    async def halted(
        self,
        way: str,
        call: Callable[[], Awaitable[object]],
        *,
        at_the_door: bool,
        program: bool = False,
    ) -> AsyncIterator[None]:
        """Halt at a random moment, with an entry on its way or not; look for a while.

        Args:
            program: it is the call's end that counts, for it begins with starting a program.
        """
        if at_the_door:
            await self.entry_at_the_door()
        else:
            await anyio.sleep(self.dice.uniform(*AT_RANDOM_S))
        await anyio.to_thread.run_sync(self.portal.call, self.door.open)
        began, began_at = time.monotonic(), self.clock.now()
        await call()
        if program:
            began, began_at = time.monotonic(), self.clock.now()
        yield
        held_s = LONG_S if at_the_door else SHORT_S
        await anyio.sleep(max(0.0, began + held_s - time.monotonic()))
        self.halts.append(Halting(way, began, began_at, time.monotonic()))

    async def withheld(self) -> list[OrderRecord]:
        """Return the entries that a halt held back behind the rules, right before they left."""
        denied = await self.ledger.recent(limit=MOST_ROWS, state=State.DENIED)
        sent = [one for one in denied if one.agent in self.agents and one.sent_at is not None]
        return [one for one in sent if one.code == "trading_halted"]

    async def verdict(self) -> tuple[list[float], int]:
        """Return how late entries came behind any halt, and at how many halts one was caught."""
        withheld, entries = await self.withheld(), self.entries()
        late = [at for one in self.halts for at in one.late(entries)]
        caught = [one for one in self.halts if one.caught(withheld)]
        for one in self.halts:
            last = [at - one.began for at in entries if at < one.ended][-1:]
            print(f"{one.way}: last entry {last}, caught {len(one.caught(withheld))}")
        print(
            f"{len(entries)} entries, {len(self.halts)} halts, {len(caught)} caught one; late: {late}"
        )
        return late, len(caught)


@contextmanager
def doors_before(bot: Sandbox, count: int = 1) -> Iterator[tuple[BlockingPortal, list[Door]]]:
    """Stand before the bot, in a thread whose times are its own."""
    port = int(bot.freqtrade_url.rpartition(":")[2])
    with start_blocking_portal("asyncio") as portal, ExitStack() as stack:
        doors = [portal.wrap_async_context_manager(door_before(port)) for _ in range(count)]
        yield portal, [stack.enter_context(door) for door in doors]


def order(pair: str, side: str, amount: Decimal, price: Decimal | None = None) -> OrderRequest:
    """Return an order under a new request_id; at the market without a price."""
    plain = {"request_id": uuid4(), "pair": pair, "side": side, "amount": round(amount, 5)}
    kind = {"order_type": "market"} if price is None else {"order_type": "limit", "price": price}
    return OrderRequest.model_validate(plain | kind)


def prices(bot_api: httpx2.Client) -> dict[str, Decimal]:
    """Return the last close of each pair that the bot knows."""
    return {pair: _price(bot_api, pair) for pair in (*PAIRS, HELD)}


def _price(bot_api: httpx2.Client, pair: str) -> Decimal:
    told = bot_api.get("pair_candles", params={"pair": pair, "timeframe": "5m", "limit": 2}).json()
    return Decimal(str(told["data"][-1][told["columns"].index("close")]))


async def until(done: Callable[[], bool]) -> None:
    """Wait for real processes, which tell nobody when they are done."""
    with anyio.fail_after(PATIENCE_S):
        while not await anyio.to_thread.run_sync(done):  # noqa: ASYNC110 (another process has no event to wait for)
            await anyio.sleep(LOOK_S)
