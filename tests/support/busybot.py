"""A bot whose books change while somebody reads them page by page."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx2

from tests.support.tradingbot import TradingBot


@dataclass
class BusyBot(TradingBot):
    """``between`` is taken one for each page of closed trades, before the page is made."""

    between: deque[Callable[[], Awaitable[None]]] = field(default_factory=deque)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.params.get("order_by_id") == "true" and self.between:
            await self.between.popleft()()
        return await super()._answer(request)

    def trade_for_a_day(self, count: int) -> None:
        """Open and close that many trades."""
        for _ in range(count):
            self.enter("BTC/USDT", "strategy")
            self._exit({"tradeid": self.status[-1]["trade_id"]})
