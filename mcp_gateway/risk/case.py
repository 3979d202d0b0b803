"""One order before its judge, with what every rule needs worked out once. Pure."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from functools import cached_property
from typing import Final

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.domain.positions import Balance, Trade
from mcp_gateway.freqtrade.orders import quote_for
from mcp_gateway.risk.facts import NO_GRANTS, NOTHING, Facts, Grants, Standing, midnight
from mcp_gateway.risk.policy import Limits, Policy

ASSUMED_FEE_RATE: Final = Decimal("0.001")  # where the bot has no trade to tell it from
PRICE_AGE_CANDLES: Final = 2  # an older price is no price
# The largest amount times the largest price has more digits than the default context.
WIDE: Final = Context(prec=80)


@dataclass(frozen=True)
class Asked:
    """One order as an agent asks for it, and the moment and the policy it is judged by.

    Args:
        agent: whom it is for: the one that limits, positions and money are counted of.
        subject: the caller that sends it, mostly the agent itself.
    """

    order: OrderRequest
    agent: str
    subject: str
    fingerprint: str
    policy: Policy
    now: datetime
    grants: Grants = NO_GRANTS


@dataclass(frozen=True)
class Case:
    """An order with the facts it is judged on; amounts in base, money in quote."""

    asked: Asked
    facts: Facts
    standing: Standing

    @property
    def order(self) -> OrderRequest:
        """What is asked for."""
        return self.asked.order

    @cached_property
    def limits(self) -> Limits:
        """What holds for the agent."""
        return self.asked.policy.limits(self.asked.agent)

    @cached_property
    def price(self) -> Decimal | None:
        """The limit, or the last price; None where there is neither."""
        return self.order.price or (self.facts.price.value if self.facts.price else None)

    @cached_property
    def worst_price(self) -> Decimal | None:
        """The price that the order may be carried out at, at worst.

        Of a market order nobody can promise it: it is the last price and the collar.
        """
        if self.order.price is not None or self.price is None:
            return self.order.price
        collar = self.limits.price_collar
        return self.price * (1 + collar if self.order.side == "buy" else 1 - collar)

    @cached_property
    def fee_rate(self) -> Decimal:
        """The share of the notional that the exchange takes."""
        told = self.facts.fee_rate
        # A rebate is no promise: it must not make an order look cheaper than its stake.
        return ASSUMED_FEE_RATE if not told else max(NOTHING, told)

    @cached_property
    def cost(self) -> Decimal | None:
        """The amount at the price; None without one."""
        return None if self.price is None else WIDE.multiply(self.order.amount, self.price)

    @cached_property
    def stake(self) -> Decimal | None:
        """What an entry is sent with, and may all be spent: a little more than it costs."""
        if self.order.side == "sell" or self.price is None:
            return None
        return quote_for(self.order.amount, self.price, self.facts.market.lot_step)

    @cached_property
    def spent(self) -> Decimal | None:
        """Stake and fee of an entry: what every limit in quote binds."""
        return None if self.stake is None else self.stake * (1 + self.fee_rate)

    @property
    def counts(self) -> int:
        """How many orders and positions it makes: itself."""
        return 1

    @cached_property
    def worst_cost(self) -> Decimal | None:
        """Stake and fee of an entry at the worst price: what a person is asked to agree to."""
        if self.spent is None or self.price is None or self.worst_price is None:
            return None
        return self.spent * self.worst_price / self.price

    @cached_property
    def bought(self) -> Decimal | None:
        """The most base that the stake may buy, at a price as good as the collar."""
        if self.stake is None or self.price is None:
            return None
        return self.stake / (self.price * (1 - self.limits.price_collar))

    @cached_property
    def midnight(self) -> datetime:
        """When the day of the limits of a day began."""
        return midnight(self.asked.now)

    @cached_property
    def own_trades(self) -> tuple[Trade, ...]:
        """The open trades that this agent's orders opened."""
        return tuple(
            trade for trade in self.facts.open_trades if self.facts.owner(trade) == self.asked.agent
        )


class Idle(Case):
    """A case of no order: what the same rules find is what they leave to the next one."""

    @property
    def counts(self) -> int:
        """It makes none."""
        return 0

    @cached_property
    def spent(self) -> Decimal | None:
        """It costs nothing."""
        return NOTHING


def largest_order(limits: Limits, wallet: Balance | None) -> Decimal | None:
    """Return what one entry may cost, by the policy and the wallet (quote); None: no limit."""
    share = None
    if limits.wallet_share is not None:
        # Nobody knows what a share of an unknown wallet is.
        share = NOTHING if wallet is None else wallet.total * limits.wallet_share
    return min((one for one in (limits.order_notional, share) if one is not None), default=None)


def notional(trade: Trade) -> Decimal | None:
    """Return what an open trade is worth, or has cost where that is more; None: not readable.

    What still rests of its entry counts as if it were filled.
    """
    if trade.open_rate is None or not trade.readable:
        return None
    wanted = sum(
        (order.amount for order in trade.orders if order.is_open and order.side == "buy"), NOTHING
    )
    amount = max(trade.amount, wanted)
    return WIDE.multiply(amount, max(trade.open_rate, trade.current_rate or NOTHING))


def worth(trades: tuple[Trade, ...]) -> Decimal | None:
    """Return what trades are worth together; None where one of them can't be told."""
    told = [notional(trade) for trade in trades]
    return None if None in told else sum((one for one in told if one is not None), NOTHING)


def _is_unfilled(trade: Trade) -> bool:
    """Tell whether nothing of an entry was carried out yet, so that nothing can be lost."""
    filled = any(order.filled for order in trade.orders)
    return trade.readable and trade.is_open and not trade.amount and not filled


def lost(facts: Facts, agent: str | None) -> Decimal | None:
    """Return what was lost since midnight, by an agent or by all of ours; None: not known.

    Closed trades by their result, open ones by what they stand at; a gain is below zero.
    """
    if facts.closed_today is None:
        return None
    total = NOTHING
    for trade in (*facts.open_trades, *facts.closed_today):
        owner = facts.owner(trade)
        if owner is None or agent not in {None, owner}:
            continue
        if trade.profit is None:
            if not _is_unfilled(trade):
                return None
            continue
        total -= trade.profit
    return total
