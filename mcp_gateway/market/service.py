"""What the market and the bot's holdings look like, and how old that is.

Every answer says when the bot was asked and whether it was asked for this call. What the bot
could not tell is an error, never an empty answer; only candles that were read before its
trouble began are served in its place, and are marked stale.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from mcp_gateway.clock import Clock, from_unix
from mcp_gateway.domain.market import (
    CANDLE_LIMIT,
    TIMEFRAMES,
    Candle,
    CandleSeries,
    Pairs,
    Source,
    is_pair,
    timeframe_seconds,
)
from mcp_gateway.domain.positions import BotState, Position, Positions
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import BotUnavailable, NotFound, RequestInvalid
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.market.cache import CandleCache, Held
from mcp_gateway.market.flights import Flights, Told
from mcp_gateway.market.resample import is_made_of, resample
from mcp_gateway.storage.kv import KeyValue
from mcp_gateway.telemetry import metrics

STATE_KEPT_S = 5.0
PAIRS_KEPT_S = 5.0
POSITIONS_KEPT_S = 1.0
# Just long enough that who looked into the cache a moment too early does not ask again.
CANDLES_KEPT_S = 1.0
# Enough to find one with a close, should the newest have none.
PRICE_CANDLES = 3


class Market:
    """Candles, pairs, positions and the bot's state, for reading.

    Args:
        longest_ttl_s: the longest that anything is kept, in seconds (REDIS_TTL).
    """

    def __init__(
        self, bot: FreqtradeClient, kv: KeyValue, clock: Clock, longest_ttl_s: int
    ) -> None:
        def kept(seconds: float) -> float:
            return min(seconds, float(longest_ttl_s))

        self._bot = bot
        self._clock = clock
        self._cache = CandleCache(kv, bot.url, longest_ttl_s)
        self._candles: Flights[tuple[str, str], Held] = Flights(clock, kept(CANDLES_KEPT_S))
        self._states: Flights[None, BotState] = Flights(clock, kept(STATE_KEPT_S))
        self._pairs: Flights[None, tuple[str, ...]] = Flights(clock, kept(PAIRS_KEPT_S))
        self._positions: Flights[None, tuple[Position, ...]] = Flights(
            clock, kept(POSITIONS_KEPT_S)
        )

    async def candles(
        self,
        admission: Admission,  # noqa: ARG002 - the proof that the gate was asked
        pair: str,
        timeframe: str,
        *,
        limit: int,
        before: datetime | None = None,
        use_cache: bool = True,
    ) -> CandleSeries:
        """Return the newest closed candles, or those before a moment.

        A timeframe that the bot does not serve is made of its own smaller one, as far as
        that reaches back (1,000 candles).

        Args:
            limit: at most this many, from the newest back; 1 or more.
            before: candles that open earlier than this; None for the newest. Past the
                beginning of what the bot has, none are left.
            use_cache: False asks the bot for this call, or shares a question on its way.

        Raises:
            NotFound: pair_unknown, timeframe_unknown or timeframe_unavailable.
            BotUnavailable: the bot does not answer, or has not analysed the pair yet
                (candles_not_ready), and nothing older is held.

        Source: Freqtrade GET /pair_candles.
        """
        if limit < 1:
            raise RequestInvalid("limit must be 1 or more.", detail={"field": "limit"})
        step_s = timeframe_seconds(timeframe)
        if not is_pair(pair):
            raise _pair_unknown()
        held, source = await self._held(pair, timeframe, step_s, use_cache=use_cache)
        metrics.cache_reads_total.labels("candles", source).inc()
        return CandleSeries(
            pair=pair,
            timeframe=timeframe,
            candles=_page(held.candles, limit, before),
            as_of=held.as_of,
            source=source,
            resampled_from=held.resampled_from,
        )

    async def pairs(
        self,
        admission: Admission,  # noqa: ARG002 - the proof that the gate was asked
    ) -> Pairs:
        """Return the pairs that the bot trades, as it told within the last five seconds.

        Raises:
            BotUnavailable: the bot does not answer.

        Source: Freqtrade GET /whitelist.
        """
        told = await self._whitelist()
        metrics.cache_reads_total.labels("pairs", told.source).inc()
        return Pairs(told.value, told.as_of, told.source)

    async def positions(
        self,
        admission: Admission,  # noqa: ARG002 - the proof that the gate was asked
        pair: str | None = None,
    ) -> Positions:
        """Return what the bot holds, at most a second old.

        Raises:
            NotFound: pair_unknown, for a pair that is neither held nor traded.
            BotUnavailable: the bot does not answer.

        Source: Freqtrade GET /status.
        """
        told = await self._positions.ask(None, self._bot.positions)
        metrics.cache_reads_total.labels("positions", told.source).inc()
        held = tuple(each for each in told.value if pair in (None, each.pair))
        if pair is not None and not held and pair not in (await self._whitelist()).value:
            raise _pair_unknown()
        state = await self.bot_state()
        return Positions(held, told.as_of, state.mode, told.source)

    def forget_positions(self) -> None:
        """Ask anew the next time: an order of ours has just changed what is held."""
        self._positions.forget(None)

    async def bot_state(self) -> BotState:
        """Return the bot's word about itself, at most five seconds old: for reads only.

        Raises:
            BotUnavailable: the bot does not answer.

        Source: Freqtrade GET /show_config.
        """
        told = await self._states.ask(None, self._bot.bot_state)
        metrics.cache_reads_total.labels("bot_state", told.source).inc()
        return told.value

    async def last_price(self, pair: str) -> tuple[Decimal, datetime] | None:
        """Return the newest close in quote, and when that candle closed; always asked anew.

        None where the bot has no candle of the pair.

        Raises:
            BotUnavailable: the bot does not answer.

        Source: Freqtrade GET /pair_candles.
        """
        timeframe = (await self.bot_state()).timeframe
        step_s = timeframe_seconds(timeframe)
        for candle in reversed(await self._bot.candles(pair, timeframe, PRICE_CANDLES)):
            if candle.close is not None:
                return Decimal(repr(candle.close)), from_unix(candle.open_s + step_s)
        return None

    async def _held(
        self, pair: str, timeframe: str, step_s: int, *, use_cache: bool
    ) -> tuple[Held, Source]:
        held = await self._cache.get(pair, timeframe) if use_cache else None
        if held is not None and held.is_fresh(step_s, self._clock.now()):
            return held, "cache"
        question = partial(self._ask, pair, timeframe, step_s)
        try:
            told = await self._candles.ask((pair, timeframe), question, anew=not use_cache)
        except BotUnavailable:
            if held is None:
                raise
            return held, "stale"
        return told.value, told.source

    async def _ask(self, pair: str, timeframe: str, step_s: int) -> Held:
        own = (await self.bot_state()).timeframe
        _must_be_served(timeframe, own)
        if pair not in (await self._whitelist()).value:
            raise _pair_unknown()
        as_of = self._clock.now()
        candles = await self._bot.candles(pair, timeframe, CANDLE_LIMIT)
        made_of = None
        if not candles and timeframe != own:
            made_of = own
            parts = await self._bot.candles(pair, own, CANDLE_LIMIT)
            candles = resample(parts, timeframe_seconds(own), step_s)
        if not candles:
            raise BotUnavailable(
                "The bot has no candles of this pair and timeframe yet.",
                code="candles_not_ready",
                hint="Call again after the next candle, or ask for a smaller timeframe.",
            )
        held = Held(candles, as_of, made_of)
        await self._cache.put(pair, timeframe, held)
        return held

    async def _whitelist(self) -> Told[tuple[str, ...]]:
        return await self._pairs.ask(None, self._bot.pairs)


def _page(candles: Sequence[Candle], limit: int, before: datetime | None) -> tuple[Candle, ...]:
    if before is not None:
        candles = [candle for candle in candles if candle.open_s < before.timestamp()]
    return tuple(candles[-limit:])


def _must_be_served(timeframe: str, own: str) -> None:
    own_s = TIMEFRAMES.get(own)
    served = [
        name
        for name, step_s in TIMEFRAMES.items()
        if name == own or (own_s is not None and is_made_of(step_s, own_s))
    ]
    if timeframe not in served:
        raise NotFound(
            "The bot does not serve this timeframe.",
            code="timeframe_unavailable",
            hint=f"Use one of {' '.join(served)}." if served else None,
            detail={"field": "timeframe"},
        )


def _pair_unknown() -> NotFound:
    return NotFound(
        "The bot does not trade this pair.", code="pair_unknown", detail={"field": "pair"}
    )
