"""Freqtrade's REST API in the gateway's words; ``connections`` speaks HTTP for it."""

from collections.abc import Callable
from typing import Self

import httpx2

from mcp_gateway.clock import Clock
from mcp_gateway.domain.answers import Answer
from mcp_gateway.domain.market import Candle
from mcp_gateway.domain.positions import Balance, BotHealth, BotState, Position, Trade
from mcp_gateway.errors import BotUnavailable, NotFound
from mcp_gateway.freqtrade import wire
from mcp_gateway.freqtrade.answers import cancelled, entered, exited, switched
from mcp_gateway.freqtrade.connections import Connections, Unless
from mcp_gateway.freqtrade.orders import Entry, Exit
from mcp_gateway.settings import Settings


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
        self._connections = Connections(
            self.url,
            username,
            password,
            pool_size=pool_size,
            read_timeout_s=read_timeout_s,
            order_timeout_s=order_timeout_s,
            clock=clock,
            absence=self._why_absent,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connections.aclose()

    async def bot_state(self) -> BotState:
        """Return what the bot says of itself now (GET /show_config)."""
        return await self._connections.read("show_config", wire.bot_state)

    async def health(self) -> BotHealth:
        """Return when the bot last ran its loop and since when its process runs (GET /health)."""
        return await self._connections.read_dated("health", wire.health)

    async def pairs(self) -> tuple[str, ...]:
        """Return the pairs that the bot trades now (GET /whitelist)."""
        return await self._connections.read("whitelist", wire.whitelist)

    async def blacklist(self) -> tuple[str, ...]:
        """Return the pairs, and patterns of pairs, that the bot never trades (GET /blacklist)."""
        return await self._connections.read("blacklist", wire.blacklist)

    async def locked_pairs(self) -> tuple[str, ...]:
        """Return the pairs locked for entries now; ``*`` locks every pair (GET /locks)."""
        return await self._connections.read("locks", wire.locked_pairs)

    async def balance(self) -> Balance:
        """Return the wallet, in the bot's quote currency (GET /balance)."""
        return await self._connections.read("balance", wire.balance)

    async def open_trades(self) -> tuple[Trade, ...]:
        """Return every open trade, resting entries included (GET /status)."""
        return await self._connections.read("status", wire.trades)

    async def positions(self) -> tuple[Position, ...]:
        """Return what is held: the open trades that own something (GET /status)."""
        return await self._connections.read("status", wire.positions)

    async def recent_trades(self, limit: int) -> tuple[Trade, ...]:
        """Return the trades closed last, newest first (GET /trades)."""
        return await self._connections.read(
            "trades", wire.closed_trades, params={"limit": limit, "order_by_id": "false"}
        )

    async def closed_trades(self, limit: int, offset: int) -> tuple[Trade, ...]:
        """Return one page of the closed trades, by their ids (GET /trades).

        A page shorter than ``limit`` is the last. A trade that closes or is deleted between
        two pages moves the others: walk twice, or key by id, where none may be missed.
        """
        asked: dict[str, str | int] = {"limit": limit, "offset": offset, "order_by_id": "true"}
        return await self._connections.read("trades", wire.closed_trades, params=asked)

    async def unmanaged_coins(self) -> tuple[str, ...]:
        """Return the coins in the wallet that no open trade accounts for (GET /balance).

        On a live bot such a coin may come from an order that the exchange carried out and
        the bot forgot. The bot reads its wallet anew after each trade of its own, at its
        start, and else once an hour: what happened later is not in this answer. A coin of
        which an open trade holds a part does not show.

        Source: Freqtrade 2026.9, ``is_bot_managed`` of GET /balance.
        """
        return await self._connections.read("balance", wire.unmanaged_coins)

    async def trade(self, trade_id: int) -> Trade | None:
        """Return one trade, open or closed; None where the bot has none (GET /trade/ID)."""
        try:
            return await self._connections.read("trade", wire.trade, path=f"trade/{trade_id:d}")
        except NotFound:
            return None

    async def candles(self, pair: str, timeframe: str, limit: int) -> tuple[Candle, ...]:
        """Return the newest closed candles, oldest first (GET /pair_candles).

        Empty where the bot has none: another timeframe than its own, a pair it does not
        know or has not analysed yet.
        """
        asked: dict[str, str | int] = {"pair": pair, "timeframe": timeframe, "limit": limit}
        return await self._connections.read("pair_candles", wire.candles, params=asked)

    async def enter(self, order: Entry, *, unless: Unless | None = None) -> Answer:
        """Send an entry once (POST /forceenter); what the bot does is told, never raised.

        Args:
            unless: is asked right before the first byte; where it tells a code, none leaves.
        """
        return await self._connections.order(
            "POST", "forceenter", entered, told=order.body(), unless=unless
        )

    async def exit(self, order: Exit) -> Answer:
        """Send an exit once (POST /forceexit); what the bot does is told, never raised."""
        return await self._connections.order("POST", "forceexit", exited, told=order.body())

    async def cancel(self, trade_id: int) -> Answer:
        """Cancel whatever rests in a trade, once; what the bot does is told, never raised.

        ``Accepted`` with a trade is no proof that the order is off: it may have been filled
        meanwhile, or left open because the rest could not be sold later. Its orders tell. An
        order that is off and was never filled is not among them any more. ``Accepted`` with
        none: an entry is off and the bot has deleted its trade.

        The bot gives the id of a deleted trade away again: make sure just before that the
        trade is the one that is meant.

        Source: Freqtrade 2026.9, DELETE /trades/ID/open-order.
        """
        path = f"trades/{trade_id:d}/open-order"
        return await self._connections.order("DELETE", "open-order", cancelled, path=path)

    async def pause(self) -> Answer:
        """Let the bot open nothing more; exits go on (POST /stopbuy, its state ``paused``).

        A bot that is stopped is *started* by this, paused: ask for its state first.

        Source: Freqtrade 2026.9, RPC ``_rpc_pause``.
        """
        return await self._connections.order("POST", "stopbuy", switched)

    async def resume(self) -> Answer:
        """Let the bot trade (POST /start), whether it was paused or stopped."""
        return await self._connections.order("POST", "start", switched)

    def _why_absent(self) -> BotUnavailable | None:
        return self.absence()  # may be set after the connections are made


def bot_from(settings: Settings, clock: Clock) -> FreqtradeClient:
    """Return the client of the bot that the settings name."""
    password = settings.freqtrade_password
    return FreqtradeClient(
        settings.freqtrade_url,
        settings.freqtrade_username,
        password.get_secret_value() if password else None,
        pool_size=settings.freqtrade_pool_size,
        read_timeout_s=settings.read_timeout_s,
        order_timeout_s=settings.order_timeout_s,
        clock=clock,
    )
