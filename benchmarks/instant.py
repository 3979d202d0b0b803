"""A bot that trades at once: what an order costs is then the gateway's own.

usage: python -m benchmarks.instant

Answers have a real Freqtrade's shapes and sizes, made ready beforehand where they can be. The
first line on standard output is the URL; it ends when its standard input does.

``GET /arrivals`` tells, and forgets, at which moments of the machine's monotonic clock the
first bytes of each order came in.
"""

import asyncio
import itertools
import sys
import time
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from mcp_gateway.domain.market import TIMEFRAMES
from tests.support.recorded import body_of
from tests.support.wirebot import COLUMNS, row

PAIRS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
PRICE = 100.0
LOTS = 100_000  # in one coin
MONEY = 1e9
TIMEFRAME = "1d"  # no candle closes while the benchmark runs
ORDER = b"POST /api/v1/force"


@lru_cache(maxsize=32)
def candles(limit: int, newest: int) -> bytes:
    """Return closed candles of any pair, all at one price."""
    step_s = TIMEFRAMES[TIMEFRAME]
    rows = [row(newest - place * step_s) for place in reversed(range(limit))]
    for one in rows:
        one[1:5] = [PRICE] * 4
    return orjson.dumps({"columns": COLUMNS, "data": rows})


class InstantBot:
    """Fills every order whole when it comes, and never runs out of slots or money."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self._ids = itertools.count(1)
        self._model = body_of("trade open")
        self._bought, self._sold = self._model["orders"]
        self._open: dict[int, dict[str, Any]] = {}
        self._closed: dict[int, bytes] = {}
        changes = {"max_open_trades": -1, "timeframe": TIMEFRAME, "force_entry_enable": True}
        wallet = body_of("balance")
        coin = wallet["currencies"][0] | {"free": MONEY, "balance": MONEY, "bot_owned": MONEY}
        self._ready = {
            "show_config": orjson.dumps(body_of("show_config") | changes),
            "health": orjson.dumps(body_of("health")),
            "whitelist": orjson.dumps(body_of("whitelist") | {"whitelist": PAIRS}),
            "blacklist": orjson.dumps(body_of("blacklist")),
            "locks": orjson.dumps({"lock_count": 0, "locks": []}),
            "balance": orjson.dumps(wallet | {"currencies": [coin], "total": MONEY}),
        }

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body."""
        parts = urlsplit(target)
        endpoint = parts.path.removeprefix("/api/v1/")
        if method == "POST":
            return 200, self._ordered(endpoint, body)
        told = self._told(endpoint, parse_qs(parts.query))
        return (200, told) if told is not None else (404, b'{"detail":"Trade not found."}')

    def _told(self, endpoint: str, asked: dict[str, list[str]]) -> bytes | None:
        told = self._ready.get(endpoint)
        if endpoint.startswith("trade/"):
            told = self._trade(int(endpoint.removeprefix("trade/")))
        elif endpoint == "status":
            told = orjson.dumps(list(self._open.values()))
        elif endpoint == "trades":
            told = self._trades(int(asked["limit"][0]), int(asked.get("offset", ["0"])[0]))
        elif endpoint == "pair_candles":
            step_s = TIMEFRAMES[TIMEFRAME]
            told = candles(int(asked["limit"][0]), (int(time.time()) // step_s - 1) * step_s)
        elif endpoint == "/arrivals":
            told, self.arrivals = orjson.dumps(self.arrivals), []
        return told

    def _ordered(self, endpoint: str, body: bytes) -> bytes:
        match endpoint:
            case "forceenter":
                return self._enter(orjson.loads(body))
            case "forceexit":
                return self._exit(orjson.loads(body))
        return b"{}"  # what the bare requests are answered

    def _enter(self, asked: dict[str, Any]) -> bytes:
        trade_id = next(self._ids)
        amount = int(asked["stakeamount"] / PRICE * LOTS + 1e-6) / LOTS
        now_ms = int(time.time() * 1000)
        tag, number = asked["entry_tag"], {"amount": amount, "filled": amount}
        order = self._bought | number | {
            "order_id": f"dry_run_buy_{trade_id}", "pair": asked["pair"], "ft_order_tag": tag,
            "order_timestamp": now_ms, "safe_price": PRICE, "average": PRICE,
        }  # fmt: skip
        trade = self._model | {
            "trade_id": trade_id, "pair": asked["pair"], "enter_tag": tag, "amount": amount,
            "open_rate": PRICE, "current_rate": PRICE, "open_timestamp": now_ms, "orders": [order],
        }  # fmt: skip
        self._open[trade_id] = trade
        return orjson.dumps(trade)

    def _exit(self, asked: dict[str, Any]) -> bytes:
        trade_id = int(asked["tradeid"])
        trade = self._open[trade_id]
        amount = asked.get("amount") or trade["amount"]
        rest = round(trade["amount"] - amount, 8)
        order = self._sold | {
            "order_id": f"dry_run_sell_{next(self._ids)}", "pair": trade["pair"], "amount": amount,
            "filled": amount, "order_timestamp": int(time.time() * 1000), "safe_price": PRICE,
            "average": PRICE,
        }  # fmt: skip
        trade |= {"amount": rest, "orders": [*trade["orders"], order]}
        if rest <= 0:
            # As the bot does: a closed trade keeps the amount that was sold last.
            closed = self._open.pop(trade_id) | {"is_open": False, "amount": amount}
            self._closed[trade_id] = orjson.dumps(closed)
        return orjson.dumps({"result": f"Created exit order for trade {trade_id}."})

    def _trade(self, trade_id: int) -> bytes | None:
        trade = self._open.get(trade_id)
        return orjson.dumps(trade) if trade is not None else self._closed.get(trade_id)

    def _trades(self, limit: int, offset: int) -> bytes:
        told = list(itertools.islice(reversed(self._closed.values()), offset, offset + limit))
        rows, count, total = b",".join(told), len(told), len(self._closed)
        return b'{"trades":[%b],"trades_count":%d,"offset":%d,"total_trades":%d}' % (
            rows, count, offset, total,
        )  # fmt: skip


class Connection(asyncio.Protocol):
    """One caller's connection: HTTP/1.1 as the gateway speaks it, and no more."""

    def __init__(self, bot: InstantBot) -> None:
        self._bot = bot
        self._got = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is there whole."""
        if not self._got and data.startswith(ORDER):
            self._bot.arrivals.append(time.monotonic())
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            head = self._got[:end]
            length = head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]
            whole = end + 4 + int(length or 0)
            if len(self._got) < whole:
                return
            body, self._got = self._got[end + 4 : whole], self._got[whole:]
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self._respond(*self._bot.answer(method, target, body))

    def _respond(self, status: int, body: bytes) -> None:
        assert self._transport is not None
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)


async def main() -> None:
    """Serve on a free port until standard input ends."""
    bot = InstantBot()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(bot), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
