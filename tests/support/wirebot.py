"""A bot that stands at the wire: the real client talks to it, a test moves its market."""

from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import httpx2

from mcp_gateway.clock import Clock
from mcp_gateway.domain.market import TIMEFRAMES
from mcp_gateway.freqtrade.client import FreqtradeClient
from tests.support.recorded import body_of, client

COLUMNS = ["date", "open", "high", "low", "close", "volume", "__date_ts"]


@dataclass
class WireBot:
    """What the bot says; every field may be changed between two calls.

    ``candles`` maps (pair, timeframe) to the Unix second of the newest candle's open.
    ``fails`` is an exception or a status that answers everything; ``hold`` makes candle
    requests wait.
    """

    clock: Clock
    timeframe: str = "5m"
    pairs: tuple[str, ...] = ("BTC/USDT", "ETH/USDT")
    blacklist: tuple[str, ...] = ()
    locks: list[Any] = field(default_factory=list)
    candles: dict[tuple[str, str], int] = field(default_factory=dict)
    count: int = 1000
    status: list[Any] = field(default_factory=list)
    fails: int | Exception | None = None
    hold: anyio.Event | None = None
    calls: list[str] = field(default_factory=list)
    clock_behind_s: float = 0.0

    def client(self) -> FreqtradeClient:
        """Return the real client, connected to this bot."""
        return client(self._answer, clock=self.clock)

    def asked(self, endpoint: str) -> int:
        """Return how often an endpoint was asked."""
        return self.calls.count(endpoint)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        endpoint = request.url.path.removeprefix("/api/v1/")
        self.calls.append(endpoint)
        await anyio.lowlevel.checkpoint()
        if isinstance(self.fails, Exception):
            raise self.fails
        if self.fails is not None:
            return httpx2.Response(self.fails, text="Internal Server Error")
        if endpoint == "pair_candles" and self.hold is not None:
            await self.hold.wait()
        now = self.clock.now() - timedelta(seconds=self.clock_behind_s)
        date = format_datetime(now, usegmt=True)
        told = self._told(endpoint, request.url.params)
        return httpx2.Response(200, json=told, headers={"date": date})

    def _told(self, endpoint: str, params: httpx2.QueryParams) -> Any:
        if (listed := self._listed(endpoint)) is not None:
            return listed
        if endpoint == "show_config":
            return body_of("show_config") | {"timeframe": self.timeframe}
        if endpoint == "status":
            return self.status
        newest = self.candles.get((params["pair"], params["timeframe"]))
        if newest is None:
            return {"columns": [], "data": []}
        step_s = TIMEFRAMES[params["timeframe"]]
        count = min(self.count, int(params["limit"]))
        opens = range(newest - (count - 1) * step_s, newest + 1, step_s)
        return {"columns": COLUMNS, "data": [row(open_s) for open_s in opens]}

    def _listed(self, endpoint: str) -> dict[str, Any] | None:
        lists: dict[str, dict[str, Any]] = {
            "whitelist": {"whitelist": list(self.pairs)},
            "blacklist": body_of("blacklist") | {"blacklist": list(self.blacklist)},
            "locks": {"locks": self.locks, "lock_count": len(self.locks)},
        }
        return lists.get(endpoint)


def row(open_s: int) -> list[Any]:
    """Return a candle whose numbers follow from its time, as the bot would send it."""
    price = 100 + open_s // 60 % 50
    return ["", price, price + 2, price - 2, price + 1, 0.1, open_s * 1000]
