"""What the bot says just now, gathered for the checks of one order."""

from dataclasses import dataclass

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.domain.market import timeframe_seconds
from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.domain.positions import BotState, Mode, Trade
from mcp_gateway.errors import BotUnavailable, GatewayError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.market.service import Market
from mcp_gateway.orders.ledger import Ledger
from mcp_gateway.orders.risk import Facts, Price

# Closed trades that are looked through for a fee rate and a pair's lot step.
REMEMBERED_TRADES = 20


@dataclass(frozen=True, slots=True)
class FactFinder:
    """Asks the bot, anew for each order, everything that the checks need.

    Args:
        market: what readers see; it forgets its positions when an order changes them.
        prices: asked over the orders' own connections.
        bot_name: under which the ledger keeps this bot's orders.
        declared_mode: the mode in which the operator says that the bot is.
        deadline_s: wall-clock seconds for all questions together.
    """

    ledger: Ledger
    bot: FreqtradeClient
    market: Market
    prices: Market
    clock: Clock
    bot_name: str
    declared_mode: Mode
    deadline_s: float

    async def facts(self, agent: str, issuer: str, pair: str) -> Facts:
        """Gather the facts for an order of an agent in ``pair``.

        Raises:
            StoreUnavailable: the ledger can't tell what the agent bought.
            BotUnavailable: the bot does not answer, or not in time.
            BotRejected: the bot refuses to tell.
        """
        own = await self.ledger.opened_by(agent, issuer, self.bot_name, pair)
        try:
            with anyio.fail_after(self.deadline_s):
                return await self._ask(pair, own)
        except TimeoutError:
            raise BotUnavailable("The bot is too slow.", code="bot_timeout") from None

    def forget_positions(self) -> None:
        """Let readers see at once what an order has changed."""
        self.market.forget_positions()

    async def _ask(self, pair: str, own_entries: tuple[OrderRecord, ...]) -> Facts:
        # One after the other: the bot serves its API from one thread anyway.
        state = await self.bot.bot_state()
        pairs = await self.bot.pairs()
        trades = await self.bot.open_trades()
        closed = await self.bot.recent_trades(REMEMBERED_TRADES)
        balance = await self.bot.balance()
        health = await self.bot.health()
        known = (*trades, *closed)
        fees = (trade.fee_rate for trade in known)
        steps = (trade.lot_step for trade in known if trade.pair == pair)
        return Facts(
            declared_mode=self.declared_mode,
            bot=state,
            pairs=pairs,
            price=await self._price(pair, state, trades),
            balance=balance,
            open_positions=len(trades),
            pair_is_held=any(trade.pair == pair for trade in trades),
            held=held_by(trades, own_entries),
            fee_rate=next((fee for fee in fees if fee is not None), None),
            lot_step=next((step for step in steps if step is not None), None),
            bot_started_at=health.started_at,
        )

    async def _price(self, pair: str, state: BotState, trades: tuple[Trade, ...]) -> Price | None:
        """Prefer the current rate of an open trade, else the close of the last candle."""
        step_s = timeframe_seconds(state.timeframe)
        for trade in trades:
            if trade.pair == pair and trade.current_rate is not None:
                return Price(trade.current_rate, 0.0, step_s)
        try:
            last = await self.prices.last_price(pair)
        except GatewayError:
            return None  # a price that can't be told fails its own check
        if last is None:
            return None
        value, closed_at = last
        return Price(value, max(0.0, (self.clock.now() - closed_at).total_seconds()), step_s)


def held_by(trades: tuple[Trade, ...], own_entries: tuple[OrderRecord, ...]) -> Trade | None:
    """Return the open trade that one of these entries opened, known by its tag.

    Trade ids are reused by the bot after a deletion, the tag never is.
    """
    tags = {record.tag for record in own_entries}
    return next((trade for trade in trades if trade.tag in tags), None)
