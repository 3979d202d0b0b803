"""What the bot says just now, gathered for the checks of one order."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Final

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.domain.market import LONGEST_STEP_S, TIMEFRAMES, MarketRules
from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.domain.positions import BotHealth, BotState, Mode, Trade
from mcp_gateway.errors import BotUnavailable, GatewayError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.market.flights import Flights
from mcp_gateway.market.service import Market
from mcp_gateway.orders.ledger import Ledger
from mcp_gateway.orders.policy import Policy
from mcp_gateway.orders.risk import Facts, Price

# Closed trades that are looked through for a fee rate and a pair's lot step.
REMEMBERED_TRADES: Final = 20
CLOSED_TRADES_KEPT_S: Final = 60.0  # a market's step and an account's fee seldom change
PAIRS_KEPT_S: Final = 2.0
HEALTH_KEPT_S: Final = 30.0  # wanted for its start, which tells one run of the bot from another
PRICES_KEPT_S: Final = 2.0  # a closed candle does not change; the next one may have come


@dataclass(slots=True)
class FactFinder:
    """Asks the bot, anew for each order, everything that the checks need.

    Args:
        market: what readers see; it forgets its positions when an order changes them.
        prices: asked over the orders' own connections.
        bot_name: under which the ledger keeps this bot's orders.
        declared_mode: the mode in which the operator says that the bot is.
        policy: what the operator wrote about markets.
        deadline_s: wall-clock seconds for all questions together.
    """

    ledger: Ledger
    bot: FreqtradeClient
    market: Market
    prices: Market
    clock: Clock
    bot_name: str
    declared_mode: Mode
    policy: Policy
    deadline_s: float
    _pairs: Flights[None, tuple[str, ...]] = field(init=False)
    _closed: Flights[None, tuple[Trade, ...]] = field(init=False)
    _healths: Flights[None, BotHealth] = field(init=False)
    _prices: Flights[str, tuple[Decimal, datetime] | None] = field(init=False)

    def __post_init__(self) -> None:
        self._pairs = Flights(self.clock, PAIRS_KEPT_S)
        self._closed = Flights(self.clock, CLOSED_TRADES_KEPT_S)
        self._prices = Flights(self.clock, PRICES_KEPT_S)
        self._healths = Flights(self.clock, HEALTH_KEPT_S)

    async def facts(self, asked: OrderRecord) -> Facts:
        """Gather what the checks of one order need.

        Raises:
            StoreUnavailable: the ledger can't tell what was bought by whom.
            BotUnavailable: the bot does not answer, or not in time.
            BotRejected: the bot refuses to tell.
        """
        try:
            with anyio.fail_after(self.deadline_s):
                if asked.side == "buy":
                    return await self._for_entry(asked)
                return await self._for_exit(asked)
        except TimeoutError:
            raise BotUnavailable("The bot is too slow.", code="bot_timeout") from None

    def forget_positions(self) -> None:
        """Let readers see at once what an order has changed."""
        self.market.forget_positions()

    # One question after the other: the bot serves its API from one thread anyway.

    async def _for_entry(self, asked: OrderRecord) -> Facts:
        facts = await self._common(asked.pair)
        balance = await self.bot.balance()
        pairs = (await self._pairs.ask(None, self.bot.pairs)).value
        closed = (await self._closed.ask(None, self._recent_trades)).value
        price = facts.price or await self._last_price(asked.pair, facts.bot)
        fees = (trade.fee_rate for trade in closed)
        steps = (trade.lot_step for trade in closed if trade.pair == asked.pair)
        market = _told_by(steps).filled_from(facts.market)
        return replace(
            facts,
            pairs=pairs,
            balance=balance,
            price=price,
            fee_rate=facts.fee_rate or next((fee for fee in fees if fee is not None), None),
            market=market,
            taken_stake=await self._taken_stake(asked.pair, market, price),
        )

    async def _for_exit(self, asked: OrderRecord) -> Facts:
        facts = await self._common(asked.pair)
        tags = {trade.tag for trade in facts.open_trades if trade.pair == asked.pair and trade.tag}
        entries = await self.ledger.by_tags(tags)
        own = {
            entry.tag
            for entry in entries
            if (entry.agent, entry.issuer, entry.bot) == (asked.agent, asked.issuer, self.bot_name)
        }
        # Trade ids are reused by the bot after a deletion, the tag never is.
        held = next((trade for trade in facts.open_trades if trade.tag in own), None)
        price = facts.price or await self._last_price(asked.pair, facts.bot)
        return replace(facts, held=held, price=price)

    async def _common(self, pair: str) -> Facts:
        """Ask what every order needs: the bot's state, its open trades, when it was started."""
        state = await self.bot.bot_state()
        trades = await self.bot.open_trades()
        health = (await self._healths.ask(None, self.bot.health)).value
        here = tuple(trade for trade in trades if trade.pair == pair)
        fees = (trade.fee_rate for trade in trades)
        steps = (trade.lot_step for trade in here)
        rates = (trade.current_rate for trade in here)
        rate = next((rate for rate in rates if rate is not None), None)
        return Facts(
            declared_mode=self.declared_mode,
            bot=state,
            open_trades=trades,
            pair_is_held=bool(here),
            price=None if rate is None else Price(rate, 0.0, _step_s(state)),
            fee_rate=next((fee for fee in fees if fee is not None), None),
            # What the bot took from its exchange stands above what a person wrote.
            market=_told_by(steps).filled_from(self.policy.market(pair)),
            bot_started_at=health.started_at,
        )

    async def _recent_trades(self) -> tuple[Trade, ...]:
        return await self.bot.recent_trades(REMEMBERED_TRADES)

    async def _taken_stake(
        self, pair: str, market: MarketRules, price: Price | None
    ) -> Decimal | None:
        """Return the smallest stake of which the bot is known not to have made more.

        Asked only where nobody wrote down the market's minimum. A minimum amount costs more
        when the price has risen since.
        """
        if market.minimum_stake is not None or price is None:
            return None
        stakes = [
            entry.quote_sent * max(Decimal(1), price.value / entry.average_price)
            for entry in await self.ledger.stakes(self.bot_name, pair)
            if entry.quote_sent and entry.average_price and _was_not_raised(entry)
        ]
        return min(stakes, default=None)

    async def _last_price(self, pair: str, state: BotState) -> Price | None:
        try:
            last = (await self._prices.ask(pair, partial(self.prices.last_price, pair))).value
        except GatewayError:
            return None  # a price that can't be told fails its own check
        if last is None:
            return None
        value, closed_at = last
        age_s = max(0.0, (self.clock.now() - closed_at).total_seconds())
        return Price(value, age_s, _step_s(state))


def _step_s(state: BotState) -> int:
    """Return how long a candle of the bot's lasts; one of its own making must not stop an exit."""
    return TIMEFRAMES.get(state.timeframe, LONGEST_STEP_S)


def _told_by(steps: Iterable[Decimal | None]) -> MarketRules:
    return MarketRules(lot_step=next((step for step in steps if step is not None), None))


def _was_not_raised(entry: OrderRecord) -> bool:
    return entry.actual_amount is not None and entry.actual_amount <= entry.amount
