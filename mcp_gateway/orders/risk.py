"""What is checked before an order is sent: one pure function for dry run and create.

Until an operator writes a policy, these built-in rules hold. A rule that can't be
evaluated denies. Exits are never trapped by a rule about entries.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Final, NamedTuple

from mcp_gateway.domain.market import NOTHING_KNOWN, MarketRules
from mcp_gateway.domain.orders import Check, OrderRecord, OrderRequest, State, canonical
from mcp_gateway.domain.positions import Balance, BotState, Mode, Trade
from mcp_gateway.freqtrade.orders import quote_for

LARGEST_NOTIONAL: Final = Decimal(1000)  # quote units for one order
LARGEST_SHARE: Final = Decimal("0.2")  # of the wallet, for quotes worth more than a dollar
ASSUMED_FEE_RATE: Final = Decimal("0.001")  # where the bot has no trade to tell it from
# The largest amount times the largest price has more digits than the default context.
WIDE: Final = Context(prec=80)
PRICE_MARGIN: Final = Decimal("0.05")  # by which the bot's order book may stand above it
PRICE_AGE_TIMEFRAMES: Final = 2  # a price older than two candles is no price


@dataclass(frozen=True, slots=True)
class Price:
    """The last price that the bot has told, in quote per base, and its age in seconds."""

    value: Decimal
    age_s: float
    timeframe_s: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the bot said just now; None where it could not tell, or was not asked.

    ``held`` is the open trade in the order's pair that this agent opened through this
    gateway; ``pair_is_held`` says that somebody holds the pair. ``market`` is what is known of
    the pair's market, ``taken_stake`` the smallest stake of an earlier entry that the bot did
    not raise.
    """

    declared_mode: Mode
    bot: BotState
    open_trades: tuple[Trade, ...]
    pair_is_held: bool
    bot_started_at: datetime | None
    pairs: tuple[str, ...] = ()
    price: Price | None = None
    balance: Balance | None = None
    held: Trade | None = None
    fee_rate: Decimal | None = None
    market: MarketRules = NOTHING_KNOWN
    taken_stake: Decimal | None = None


class Holding(NamedTuple):
    """What one other order of the same bot holds."""

    state: State
    pair: str
    agent: str
    issuer: str
    reserved_quote: Decimal | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger holds against an entry: what others have set aside and the bot may not know.

    ``quote`` is their money, ``entries`` their slots, ``pair_reserved`` says that one of them
    is in the same pair; ``under_review`` that an order of the same agent in this pair waits
    for a person.
    """

    quote: Decimal = Decimal(0)
    entries: int = 0
    pair_reserved: bool = False
    under_review: bool = False

    @classmethod
    def of(cls, order: OrderRecord, others: Sequence[Holding]) -> "Standing":
        """Add up what other orders of the same bot hold."""
        reserving = [one for one in others if one.state is not State.NEEDS_REVIEW]
        return cls(
            quote=sum((one.reserved_quote or Decimal(0) for one in reserving), Decimal(0)),
            entries=len(reserving),
            pair_reserved=any(one.pair == order.pair for one in reserving),
            under_review=any(
                (one.pair, one.agent, one.issuer) == (order.pair, order.agent, order.issuer)
                for one in others
                if one.state is State.NEEDS_REVIEW
            ),
        )


NOTHING_STANDS: Final = Standing()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every check, and the estimates they were made with (quote units).

    ``stake`` is what an entry would be sent with, ``reserved`` that and the fee on it; None for
    an exit or without a price.
    """

    checks: tuple[Check, ...]
    cost: Decimal | None
    fee: Decimal | None
    stake: Decimal | None

    reserved: Decimal | None

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that deny the order."""
        return tuple(check for check in self.checks if not check.passed)


def judge(order: OrderRequest, facts: Facts, standing: Standing) -> Verdict:
    """Evaluate every rule that binds this order."""
    price = order.price or (facts.price.value if facts.price else None)
    cost = None if price is None else order.amount * price
    rate = facts.fee_rate or ASSUMED_FEE_RATE
    stake = None
    if order.side == "buy" and price is not None:
        # What is sent, and may all be spent: a little more than the amount costs.
        stake = quote_for(order.amount, price, facts.market.lot_step)
    spent = _Spent(stake, None if stake is None else stake * (1 + rate))
    rules = (
        _exit_rules(order, facts)
        if order.side == "sell"
        else _entry_rules(order, facts, standing, spent)
    )
    fee = None if cost is None else cost * rate
    return Verdict((*_bot_rules(order, facts), *rules), cost, fee, spent.stake, spent.total)


@dataclass(frozen=True, slots=True)
class _Spent:
    """What an entry may spend, in quote: its stake, and its stake and fee; None without a price."""

    stake: Decimal | None
    total: Decimal | None


def largest_notional(balance: Balance | None) -> Decimal:
    """Return the built-in maximum of one order, in quote units."""
    return (
        LARGEST_NOTIONAL
        if balance is None
        else min(LARGEST_NOTIONAL, balance.total * LARGEST_SHARE)
    )


def is_full_exit(amount: Decimal, held: Trade) -> bool:
    """Tell whether ``amount`` is all that is held, to within one lot step."""
    return abs(held.amount - amount) < (held.lot_step or Decimal(0)) or held.amount == amount


def _bot_rules(order: OrderRequest, facts: Facts) -> Iterator[Check]:
    yield _check(
        "mode_mismatch", facts.bot.mode == facts.declared_mode,
        "The bot must be in the mode that the operator declared.",
        limit=facts.declared_mode, value=facts.bot.mode,
    )  # fmt: skip
    yield _check("futures_not_served", facts.bot.spot, "Orders are served on spot bots only.")
    allowed = ("running",) if order.side == "buy" else ("running", "paused")
    yield _check(
        "bot_not_running", facts.bot.state in allowed,
        "The bot must be running.", limit=" or ".join(allowed), value=facts.bot.state,
    )  # fmt: skip


def _entry_rules(
    order: OrderRequest, facts: Facts, standing: Standing, spent: _Spent
) -> Iterator[Check]:
    yield _check(
        "entries_disabled", facts.bot.entries_enabled,
        "The bot must allow entries through its API (force_entry_enable).",
    )  # fmt: skip
    yield _check(
        "pair_not_whitelisted", order.pair in facts.pairs,
        "The pair must be on the bot's whitelist.", value=order.pair,
    )  # fmt: skip
    yield _check(
        "order_under_review", not standing.under_review,
        "No earlier order of the agent in this pair may wait for the operator.",
    )  # fmt: skip
    yield _price_rule(facts.price)
    yield from _size_rules(order, facts, spent.stake)
    yield from _money_rules(facts, standing, spent)
    taken, slots = len(facts.open_trades) + standing.entries, facts.bot.max_open_positions
    yield _check(
        "no_free_slot", slots is None or taken < slots,
        "The bot must have a free slot.",
        limit=None if slots is None else str(slots), value=str(taken),
    )  # fmt: skip
    yield _check(
        "position_exists", not (facts.pair_is_held or standing.pair_reserved),
        "The pair must not be held already.",
    )  # fmt: skip


def _size_rules(order: OrderRequest, facts: Facts, stake: Decimal | None) -> Iterator[Check]:
    """Refuse what the bot would buy more or less of than was asked for."""
    step, smallest = facts.market.lot_step, _smallest_stake(order, facts)
    yield _check(
        "market_unknown", step is not None and smallest is not None,
        "Lot step and minimum stake of the pair must be known.", value=order.pair,
    )  # fmt: skip
    yield _check(
        "amount_below_step", step is None or order.amount >= step,
        "The amount must be at least one lot step.",
        limit=None if step is None else canonical(step), value=canonical(order.amount),
    )  # fmt: skip
    yield _check(
        "stake_below_minimum",
        smallest is None or (stake is not None and stake >= smallest),
        "The stake must reach the smallest one that the bot buys as it is.",
        limit=_money(smallest), value=_money(stake),
    )  # fmt: skip


def _smallest_stake(order: OrderRequest, facts: Facts) -> Decimal | None:
    """Return a stake that the bot buys as it is sent; None where none is known."""
    last = None if facts.price is None else facts.price.value * (1 + PRICE_MARGIN)
    price = order.price or last
    told = None if price is None else facts.market.smallest_safe_stake(price)
    return min((s for s in (told, facts.taken_stake) if s is not None), default=None)


def _money_rules(facts: Facts, standing: Standing, spent: _Spent) -> Iterator[Check]:
    ceiling = largest_notional(facts.balance)
    yield _check(
        "notional_too_large", spent.stake is not None and spent.stake <= ceiling,
        "The stake must not exceed the largest notional of one order.",
        limit=_money(ceiling), value=_money(spent.stake),
    )  # fmt: skip
    free = None if facts.balance is None else facts.balance.free - standing.quote
    yield _check(
        "balance_too_small", spent.total is not None and free is not None and spent.total <= free,
        "The free balance must cover cost and fee.", limit=_money(free), value=_money(spent.total),
    )  # fmt: skip


def _price_rule(price: Price | None) -> Check:
    longest = None if price is None else price.timeframe_s * PRICE_AGE_TIMEFRAMES
    return _check(
        "price_unavailable",
        price is not None and longest is not None and price.age_s <= longest,
        "The bot must have told a price lately.",
        limit=None if longest is None else f"{longest} s",
        value=None if price is None else f"{price.age_s:.0f} s",
    )


def _exit_rules(order: OrderRequest, facts: Facts) -> Iterator[Check]:
    held = facts.held
    yield _check(
        "position_not_yours", held is not None or not facts.pair_is_held,
        "A sell closes what the same agent bought through this gateway.", value=order.pair,
    )  # fmt: skip
    yield _check(
        "nothing_to_sell", (held is None and facts.pair_is_held) or _is_held(held),
        "There must be something to sell.", value=order.pair,
    )  # fmt: skip
    if held is not None:
        whole, step = is_full_exit(order.amount, held), held.lot_step
        # Below a step the bot says yes and sells nothing.
        yield _check(
            "amount_below_step", whole or step is None or order.amount >= step,
            "The amount must be at least one lot step.",
            limit=None if step is None else canonical(step), value=canonical(order.amount),
        )  # fmt: skip
        yield _check(
            "more_than_held",
            order.amount <= held.amount or whole,
            "The amount must not exceed what is held.",
            limit=canonical(held.amount), value=canonical(order.amount),
        )  # fmt: skip


def _is_held(trade: Trade | None) -> bool:
    return trade is not None and trade.amount > 0


def _check(
    rule: str, passed: bool, message: str, *, limit: str | None = None, value: str | None = None
) -> Check:
    return Check(rule, passed, message, limit, value)


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else canonical(amount.quantize(Decimal("1e-8"), context=WIDE))
