"""Candles held in the key-value store; without the store nothing is held, and nothing fails."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from mcp_gateway.clock import from_unix
from mcp_gateway.domain.market import Candle
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.kv import KeyValue
from mcp_gateway.telemetry import logs

# Freqtrade publishes a candle 1.3 s after its close.
GRACE_S = 2.0
# A bot that is behind is asked again this soon.
RETRY_S = 2.0

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """All candles of one pair and timeframe as the bot served them at ``as_of``."""

    candles: tuple[Candle, ...]
    as_of: datetime
    resampled_from: str | None

    def is_fresh(self, step_s: int, now: datetime) -> bool:
        """Tell whether no newer candle can have been published since these were read."""
        # The candle after the newest one held closes two steps after that one's open.
        next_close = from_unix(self.candles[-1].open_s + 2 * step_s + GRACE_S)
        return now < max(next_close, self.as_of + timedelta(seconds=RETRY_S))


class CandleCache:
    """One entry for each bot, pair and timeframe, kept for at most ``longest_ttl_s`` seconds."""

    def __init__(self, kv: KeyValue, bot: str, longest_ttl_s: int) -> None:
        self._kv = kv
        self._bot = bot
        self._longest_ttl_s = longest_ttl_s

    async def get(self, pair: str, timeframe: str) -> Held | None:
        """Return what is held, fresh or not; None where nothing is, or the store is down."""
        try:
            kept = await self._kv.get(self._key(pair, timeframe))
        except StoreUnavailable:
            _log.warning("candles not cached: the store is down")
            return None
        if kept is None:
            return None
        told = orjson.loads(kept)
        rows = tuple(Candle(*row) for row in told["rows"])
        return Held(rows, from_unix(told["as_of"]), told["resampled_from"])

    async def put(self, pair: str, timeframe: str, held: Held) -> None:
        """Hold candles in place of the older ones; a store that is down holds none."""
        told = {
            "as_of": held.as_of.timestamp(),
            "resampled_from": held.resampled_from,
            "rows": [list(candle) for candle in held.candles],
        }
        try:
            await self._kv.set(
                self._key(pair, timeframe), orjson.dumps(told), float(self._longest_ttl_s)
            )
        except StoreUnavailable:
            _log.warning("candles not cached: the store is down")

    def _key(self, pair: str, timeframe: str) -> str:
        return f"candles:1:{self._bot}:{pair}:{timeframe}"
