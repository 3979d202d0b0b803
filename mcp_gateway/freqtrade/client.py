"""The one place that speaks HTTP to the bot.

Reads share a pool and are repeated when a connection breaks. An order goes out once, on a
connection of its own, and its answer is a value that says what was proven. Every call has
a deadline by the wall clock, since the HTTP library's time-outs start anew with each byte.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Literal, Self, TypeVar

import anyio
import httpx2
import orjson
import stamina

from mcp_gateway.clock import Clock
from mcp_gateway.domain.answers import Accepted, Answer, NotSent, Unanswered
from mcp_gateway.domain.market import Candle
from mcp_gateway.domain.positions import Balance, BotHealth, BotState, Position, Trade
from mcp_gateway.errors import BotUnavailable, GatewayError, NotFound
from mcp_gateway.freqtrade import wire
from mcp_gateway.freqtrade.answers import entered, exited, failed_read, unaccepted
from mcp_gateway.freqtrade.orders import Entry, Exit
from mcp_gateway.telemetry import logs, metrics

LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
LONGEST_REASON = 200
# Below the 5 s after which the bot's server (uvicorn) closes an idle connection itself.
IDLE_CONNECTION_S = 4.0

T = TypeVar("T")
Answered = tuple[int, bytes]

# After each 500 the bot drops the kept connection, and a reload refuses new ones for half a
# second: both pass by trying again. A 500 itself is not repeated, it is the exchange's trouble.
_repeat = stamina.AsyncRetryingCaller(
    attempts=3, timeout=None, wait_initial=0.1, wait_max=0.4, wait_jitter=0.1
).on((httpx2.NetworkError, httpx2.RemoteProtocolError))

_log = logs.get(__name__)


class FreqtradeClient:
    """Freqtrade's REST API in the gateway's words.

    Every read raises the same:

    Raises:
        BotUnavailable: bot_unreachable, bot_timeout, bot_failed (its 500), bot_stopped,
            bot_credentials, or bot_nonsense.
        BotRejected: the bot refuses to tell; the code says why.

    Args:
        url: the bot's base URL, without ``/api/v1``.
        username: user of its API; None where it asks for none.
        pool_size: connections kept for reads.
        read_timeout_s: wall-clock deadline of a read, repetitions included.
        order_timeout_s: wall-clock deadline of an order.
        transport: stands in for the network in tests.

    Source: Freqtrade 2026.9, REST API.
    """

    def __init__(
        self,
        url: str,
        username: str | None,
        password: str | None,
        *,
        pool_size: int,
        read_timeout_s: float,
        order_timeout_s: float,
        clock: Clock,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        # Whoever starts the bot may know why it can't be reached yet.
        self.absence: Callable[[], BotUnavailable | None] = lambda: None
        self._clock = clock
        self._read_timeout_s = read_timeout_s
        self._order_timeout_s = order_timeout_s
        auth = httpx2.BasicAuth(username, password or "") if username else None

        def connect(timeout_s: float, limits: httpx2.Limits) -> httpx2.AsyncClient:
            return httpx2.AsyncClient(
                base_url=f"{self.url}/api/v1/",
                auth=auth,
                timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
                limits=limits,
                headers={"accept": "application/json", "accept-encoding": "identity"},
                follow_redirects=False,
                trust_env=False,
                transport=transport,
            )

        kept = httpx2.Limits(
            max_connections=pool_size,
            max_keepalive_connections=pool_size,
            keepalive_expiry=IDLE_CONNECTION_S,
        )
        self._reads = connect(read_timeout_s, kept)
        # No connection is kept here, so each order gets a fresh one.
        self._orders = connect(order_timeout_s, httpx2.Limits(max_keepalive_connections=0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._reads.aclose()
        await self._orders.aclose()

    async def bot_state(self) -> BotState:
        """Return what the bot says of itself now (GET /show_config)."""
        return await self._read("show_config", wire.bot_state)

    async def health(self) -> BotHealth:
        """Return when the bot last ran its loop and when its process started (GET /health)."""
        return await self._read("health", wire.health)

    async def pairs(self) -> tuple[str, ...]:
        """Return the pairs that the bot trades now (GET /whitelist)."""
        return await self._read("whitelist", wire.whitelist)

    async def blacklist(self) -> tuple[str, ...]:
        """Return the pairs, and patterns of pairs, that the bot never trades (GET /blacklist)."""
        return await self._read("blacklist", wire.blacklist)

    async def locked_pairs(self) -> tuple[str, ...]:
        """Return the pairs locked for entries now; ``*`` locks every pair (GET /locks)."""
        return await self._read("locks", wire.locked_pairs)

    async def balance(self) -> Balance:
        """Return the wallet, in the bot's quote currency (GET /balance)."""
        return await self._read("balance", wire.balance)

    async def open_trades(self) -> tuple[Trade, ...]:
        """Return every open trade, resting entries included (GET /status)."""
        return await self._read("status", wire.trades)

    async def positions(self) -> tuple[Position, ...]:
        """Return what is held: the open trades that own something (GET /status)."""
        return await self._read("status", wire.positions)

    async def recent_trades(self, limit: int) -> tuple[Trade, ...]:
        """Return the trades closed last, newest first (GET /trades)."""
        return await self._read(
            "trades", wire.closed_trades, params={"limit": limit, "order_by_id": "false"}
        )

    async def trade(self, trade_id: int) -> Trade | None:
        """Return one trade, open or closed; None where the bot has none (GET /trade/ID)."""
        try:
            return await self._read("trade", wire.trade, path=f"trade/{trade_id:d}")
        except NotFound:
            return None

    async def candles(self, pair: str, timeframe: str, limit: int) -> tuple[Candle, ...]:
        """Return the newest closed candles, oldest first (GET /pair_candles).

        Empty where the bot has none: another timeframe than its own, a pair it does not
        know or has not analysed yet.
        """
        asked: dict[str, str | int] = {"pair": pair, "timeframe": timeframe, "limit": limit}
        return await self._read("pair_candles", wire.candles, params=asked)

    async def enter(self, order: Entry) -> Answer:
        """Send an entry once (POST /forceenter); what the bot does is told, never raised."""
        return await self._order("forceenter", order.body(), entered)

    async def exit(self, order: Exit) -> Answer:
        """Send an exit once (POST /forceexit); what the bot does is told, never raised."""
        return await self._order("forceexit", order.body(), exited)

    async def _read(
        self,
        endpoint: str,
        parse: Callable[[bytes], T],
        *,
        path: str | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> T:
        started = self._clock.monotonic()
        result = "cancelled"
        try:
            status, body = await self._get(path or endpoint, params)
            if status != HTTPStatus.OK:
                _log_refusal(endpoint, status, body)
                raise failed_read(status, body)
            told = parse(body)
            result = "ok"
        except GatewayError as error:
            result = error.code
            raise
        finally:
            self._count(endpoint, result, started)
        return told

    async def _get(self, path: str, params: Mapping[str, str | int] | None) -> Answered:
        try:
            with anyio.fail_after(self._read_timeout_s):
                return await _repeat(_exchange, self._reads, "GET", path, params=params)
        except (TimeoutError, httpx2.TimeoutException):
            raise BotUnavailable(
                "The bot did not answer in time; nothing was changed.", code="bot_timeout"
            ) from None
        except httpx2.DecodingError:
            raise wire.nonsense() from None
        except httpx2.RequestError:
            raise self.absence() or BotUnavailable(
                "The bot cannot be reached; nothing was changed.", code="bot_unreachable"
            ) from None

    async def _order(
        self, endpoint: str, body: Mapping[str, Any], read: Callable[[bytes], Answer]
    ) -> Answer:
        started = self._clock.monotonic()
        result = "cancelled"
        try:
            answer = await self._post(endpoint, orjson.dumps(body), read)
            result = "ok" if isinstance(answer, Accepted) else answer.code
        finally:
            self._count(endpoint, result, started)
        return answer

    async def _post(self, path: str, content: bytes, read: Callable[[bytes], Answer]) -> Answer:
        try:
            with anyio.fail_after(self._order_timeout_s):
                status, body = await _exchange(self._orders, "POST", path, content=content)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
            return NotSent("bot_unreachable")
        except (TimeoutError, httpx2.TimeoutException):
            return Unanswered("bot_timeout")
        except httpx2.RequestError:
            return Unanswered("connection_lost")
        if status == HTTPStatus.OK:
            return read(body)
        _log_refusal(path, status, body)
        return unaccepted(status, body)

    def _count(self, endpoint: str, result: str, started: float) -> None:
        metrics.bot_requests_total.labels(endpoint, result).inc()
        metrics.bot_request_seconds.labels(endpoint).observe(self._clock.monotonic() - started)


async def _exchange(
    client: httpx2.AsyncClient,
    method: Literal["GET", "POST"],
    path: str,
    *,
    params: Mapping[str, str | int] | None = None,
    content: bytes | None = None,
) -> Answered:
    """Send one request and read its answer; what is too long is cut, and then is no JSON."""
    headers = {"content-type": "application/json"} if content else None
    body = bytearray()
    async with client.stream(
        method, path, params=params, content=content, headers=headers
    ) as response:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > LARGEST_ANSWER_BYTES:
                return response.status_code, bytes(body[:LARGEST_ANSWER_BYTES])
    return response.status_code, bytes(body)


def _log_refusal(endpoint: str, status: int, body: bytes) -> None:
    """Keep the bot's own words for the operator: no model ever sees them."""
    reason = (wire.reason(body) or "")[:LONGEST_REASON]
    _log.info("bot refused", endpoint=endpoint, status=status, reason=reason)
