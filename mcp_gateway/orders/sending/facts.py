"""What the bot says just now, gathered for the checks of one order."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Final

import anyio

from mcp_gateway.clock import CLOCKS_APART, Clock
from mcp_gateway.domain.market import LONGEST_STEP_S, TIMEFRAMES, MarketRules
from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.domain.positions import BotHealth, BotState, Mode, Trade
from mcp_gateway.errors import BotError, BotUnavailable, GatewayError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.market.flights import Flights
from mcp_gateway.market.service import Market
from mcp_gateway.orders.book import marks
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.risk.facts import Facts, Price, midnight
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.risk.policy import Closes, Policy

# Closed trades that are looked through for a fee rate and a pair's lot step.
REMEMBERED_TRADES: Final = 20
CLOSED_TRADES_KEPT_S: Final = 60.0  # a market's step and an account's fee seldom change
LISTS_KEPT_S: Final = 2.0  # of pairs: what the bot trades, never trades, does not enter now
RESULTS_KEPT_S: Final = 5.0  # for those who only watch
LONGEST_FOR_AN_ESTIMATE_S: Final = 1.0
MOST_OF_A_DAY: Final = 500  # trades: more than one answer of the bot's holds
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
        policies: what the operator wrote.
        deadline_s: wall-clock seconds for all questions together.
    """

    ledger: Ledger
    bot: FreqtradeClient
    market: Market
    prices: Market
    clock: Clock
    bot_name: str
    declared_mode: Mode
    policies: PolicyKeeper
    deadline_s: float
    _lists: Flights[str, tuple[str, ...]] = field(init=False)
    _results: Flights[None, tuple[Trade, ...]] = field(init=False)
    _closed: Flights[None, tuple[Trade, ...]] = field(init=False)
    _healths: Flights[None, BotHealth] = field(init=False)
    _prices: Flights[str, tuple[Decimal, datetime] | None] = field(init=False)

    def __post_init__(self) -> None:
        self._lists = Flights(self.clock, LISTS_KEPT_S)
        self._results = Flights(self.clock, RESULTS_KEPT_S)
        self._closed = Flights(self.clock, CLOSED_TRADES_KEPT_S)
        self._prices = Flights(self.clock, PRICES_KEPT_S)
        self._healths = Flights(self.clock, HEALTH_KEPT_S)

    async def facts(self, asked: OrderRecord) -> Facts:
        """Gather what the checks of one order need, by the policy of this moment.

        The judge decides by the policy of its own moment.

        Raises:
            StoreUnavailable: the ledger can't tell what was bought by whom.
            BotUnavailable: the bot does not answer, or not in time.
            BotRejected: the bot refuses to tell.
        """
        policy = self.policies.current
        try:
            with anyio.fail_after(self.deadline_s):
                if asked.side == "buy":
                    return await self._for_entry(asked, policy)
                facts = await self._for_exit(asked, policy)
        except TimeoutError:
            raise BotUnavailable("The bot is too slow.", code="bot_timeout") from None
        return replace(facts, bot=await self._once_more(facts.bot))

    async def of_account(self, facts: Facts, agent: str, policy: Policy) -> Facts:
        """Add to what is known of the bot whose its open trades are, and what the day has brought.

        Raises:
            StoreUnavailable: the ledger can't tell what was bought by whom.
            BotUnavailable: the bot does not answer.
        """
        facts = replace(facts, owners=await self._owners(facts.open_trades))
        return await self._with_results(facts, agent, policy)

    def forget_positions(self) -> None:
        """Let readers see at once what an order has changed."""
        self.market.forget_positions()

    # One question after the other: the bot serves its API from one thread anyway.

    async def _for_entry(self, asked: OrderRecord, policy: Policy) -> Facts:
        facts = await self._common(asked.pair, policy)
        balance = await self.bot.balance()
        closed = (await self._closed.ask(None, self._recent_trades)).value
        price = facts.price or await self._last_price(asked.pair, facts.bot)
        fees = (trade.fee_rate for trade in closed)
        steps = (trade.lot_step for trade in closed if trade.pair == asked.pair)
        market = _told_by(steps).filled_from(facts.market)
        facts = replace(
            facts,
            pairs=(await self._lists.ask("white", self.bot.pairs)).value,
            blacklisted=(await self._lists.ask("black", self.bot.blacklist)).value,
            locked=(await self._lists.ask("locks", self.bot.locked_pairs)).value,
            owners=await self._owners(facts.open_trades),
            balance=balance,
            price=price,
            fee_rate=facts.fee_rate or next((fee for fee in fees if fee is not None), None),
            market=market,
            taken_stake=await self._taken_stake(asked.pair, market, price),
        )
        facts = await self._with_results(facts, asked.agent, policy)
        # The last look before it is judged: a bot that turned live meanwhile spends real money.
        return replace(facts, bot=await self.bot.bot_state())

    async def _with_results(self, facts: Facts, agent: str, policy: Policy) -> Facts:
        """Add what was won and lost since midnight, where a limit asks for it."""
        if policy.limits(agent).daily_loss is None and policy.totals.daily_loss is None:
            return facts
        # Asked anew, and behind what is open: a trade that is closed in between is seen twice,
        # and none is missed.
        return await self._todays(facts, await self._last_results())

    async def results(self) -> Facts:
        """Gather what is open, and what every agent won and lost since midnight; raises as ``facts``."""
        state = await self.bot.bot_state()
        trades = await self.bot.open_trades()
        owners = await self._owners(trades)
        bare = Facts(self.declared_mode, state, trades, pair_is_held=False, bot_started_at=None)
        closed = (await self._results.ask(None, self._last_results)).value
        return await self._todays(replace(bare, owners=owners), closed)

    async def _todays(self, facts: Facts, closed: tuple[Trade, ...]) -> Facts:
        since = midnight(self.clock.now())
        today = tuple(
            trade for trade in closed if trade.closed_at is None or trade.closed_at >= since
        )
        if len(today) == MOST_OF_A_DAY:
            return replace(facts, closed_today=None)  # there may be more: nobody knows the sum
        owners = {**facts.owners, **await self._owners(today)}
        return replace(facts, closed_today=today, owners=owners)

    async def _last_results(self) -> tuple[Trade, ...]:
        return await self.bot.recent_trades(MOST_OF_A_DAY)

    async def _owners(self, trades: tuple[Trade, ...]) -> dict[str, str]:
        """Return the agents whose orders opened trades, by the trades' tags."""
        tags = {trade.tag for trade in trades if marks.is_ours(trade.tag)}
        entries = await self.ledger.by_tags({tag for tag in tags if tag})
        return {entry.tag: entry.agent for entry in entries if entry.bot == self.bot_name}

    async def _for_exit(self, asked: OrderRecord, policy: Policy) -> Facts:
        facts = await self._common(asked.pair, policy)
        closes = policy.limits(asked.agent).closes
        held = await self._closable(asked, facts.open_trades, closes)
        price = facts.price
        with anyio.move_on_after(LONGEST_FOR_AN_ESTIMATE_S):  # no rule of a sell asks for it
            price = price or await self._last_price(asked.pair, facts.bot)
        return replace(facts, held=held, price=price)

    async def _once_more(self, before: BotState) -> BotState:
        """Return the bot's state by the last look before a sell is judged, or the first one's.

        A bot that turned live meanwhile sells for real money. One that does not answer a
        second time has answered once: it traps nobody.
        """
        with anyio.move_on_after(LONGEST_FOR_AN_ESTIMATE_S), suppress(BotError):
            return await self.bot.bot_state()
        return before

    async def _closable(
        self, asked: OrderRecord, trades: tuple[Trade, ...], closes: Closes
    ) -> Trade | None:
        """Return the open trade in the order's pair that its agent may close; its own first."""
        here = tuple(trade for trade in trades if trade.pair == asked.pair)
        entries = await self.ledger.by_tags({trade.tag for trade in here if trade.tag})
        ours = [entry for entry in entries if entry.bot == self.bot_name]
        own = {e.tag for e in ours if (e.agent, e.issuer) == (asked.agent, asked.issuer)}
        # Trade ids are reused by the bot after a deletion, the tag never is.
        held = next((trade for trade in here if trade.tag in own), None)
        if held is None and closes == "gateway":
            tags = {entry.tag for entry in ours}
            held = next((trade for trade in here if trade.tag in tags), None)
        if held is None and closes == "all":
            held = next(iter(here), None)
        return held

    async def _common(self, pair: str, policy: Policy) -> Facts:
        """Ask what every order needs: the bot's state, its open trades, when it was started."""
        state = await self.bot.bot_state()
        trades = await self.bot.open_trades()
        started_at = await self._started_at()
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
            market=_told_by(steps).filled_from(policy.market(pair)),
            bot_started_at=started_at,
        )

    async def _started_at(self) -> datetime | None:
        """Return when the bot was started; unknown, a lost order only takes longer to be found."""
        try:
            return (await self._healths.ask(None, self.bot.health)).value.started_at
        except BotError:
            return None

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
        age = self.clock.now() - closed_at
        if age < -CLOCKS_APART:  # by which clock? nobody knows how old it is
            return None
        return Price(value, max(0.0, age.total_seconds()), _step_s(state))


def _step_s(state: BotState) -> int:
    """Return how long a candle of the bot's lasts; one of its own making must not stop an exit."""
    return TIMEFRAMES.get(state.timeframe, LONGEST_STEP_S)


def _told_by(steps: Iterable[Decimal | None]) -> MarketRules:
    return MarketRules(lot_step=next((step for step in steps if step is not None), None))


def _was_not_raised(entry: OrderRecord) -> bool:
    return entry.actual_amount is not None and entry.actual_amount <= entry.amount
