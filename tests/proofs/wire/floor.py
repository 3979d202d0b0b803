"""The order floor on real sockets: the real client, a proxy, and a bot behind an HTTP server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mcp_gateway.freqtrade.client import FreqtradeClient
from tests.proofs.wire.cases import SLOW, Case
from tests.support.clock import ManualClock
from tests.support.desk import Desk, open_desk
from tests.support.proxy import Proxy, WireFault, proxied
from tests.support.standin import Breakable, StandIn
from tests.support.tradingbot import TradingBot
from tests.support.wire import served

PATIENT_S, HASTY_S = 10.0, 0.2


@dataclass
class SocketBot(TradingBot):
    """The trading bot, reached by the real client over real sockets."""

    url: str = ""
    order_timeout_s: float = PATIENT_S

    def client(self) -> FreqtradeClient:
        """Return a client that goes through the proxy."""
        return FreqtradeClient(
            self.url, "user", "password", pool_size=4, read_timeout_s=PATIENT_S,
            order_timeout_s=self.order_timeout_s, clock=self.clock,
        )  # fmt: skip


@dataclass
class Floor:
    """An order floor on the wire, for one case."""

    case: Case
    bot: SocketBot
    proxy: Proxy
    desk: Desk

    def strike(self) -> None:
        """Let the next order call meet the fault of the case."""
        self.proxy.orders.clear()
        self.proxy.broken_reads = self.case.broken_reads
        self.proxy.faults.append(WireFault(self.case.fault, self.case.moment))

    async def late_effect(self, look: int) -> None:
        """Let a request that was held back reach the bot, when its time has come."""
        if self.case.fault == "held" and look == self.case.late_by:
            self.proxy.release()
        if self.proxy.released.is_set() or self.case.fault != "held":
            await self.proxy.settled()


@asynccontextmanager
async def floor(case: Case, standing: StandIn, port: int, folder: Path) -> AsyncIterator[Floor]:
    """Build the floor over a fresh bot, a fresh store and a fresh proxy."""
    clock = ManualClock()
    timeout_s = HASTY_S if case.fault in SLOW else PATIENT_S
    async with proxied(port) as proxy:
        bot = SocketBot(clock, url=proxy.url, order_timeout_s=timeout_s)
        standing.bot = bot
        async with open_desk(folder, bot, clock) as desk:
            yield Floor(case, bot, proxy, desk)


@asynccontextmanager
async def bot_server() -> AsyncIterator[tuple[StandIn, int]]:
    """Serve whichever bot stands there, on a free port."""
    standing = StandIn(TradingBot(ManualClock()), "http://bot.test")
    async with served(standing, protocol=Breakable) as wire:
        yield standing, wire.port
