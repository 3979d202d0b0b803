"""The small model: what an order must come to, told from the books alone."""

from decimal import Decimal
from typing import Any, Final

from mcp_gateway.domain.orders import OrderRequest
from tests.proofs.model.books import Books, Row
from tests.proofs.model.bot import WatchedBot
from tests.support.tradingbot import PRICE

LARGEST: Final = Decimal(1000)
LOT_STEP: Final = {"BTC/USDT": Decimal("0.00001"), "ETH/USDT": Decimal("0.0001")}
IN_FLIGHT: Final = frozenset({"sent", "unknown"})
UNKNOWN: Final = "outcome_unknown"
# What an order is told that passed every check, by what happens to it on its way.
TOLD: Final = {
    "": "placed",
    "refuse:Wrong pair selected. Only pairs with stake-currency allowed.": "quote_currency_wrong",
    "refuse:Maximum number of trades is reached.": "no_free_slot",
    "no_connection": "bot_unavailable",
} | dict.fromkeys(("fail", "fail_done", "lose", "lose_done", "late", "hang"), UNKNOWN)
FAULTS: Final = tuple(TOLD)


def forecasts(order: OrderRequest, agent: str, books: Books, bot: WatchedBot) -> set[str]:
    """Return the code, or ``placed``, of an order that nothing happens to on its way.

    There are two where an order in flight may be settled in the same moment.
    """
    live = [row for row in books.rows.values() if row.state in IN_FLIGHT]
    judge = _entry if order.side == "buy" else _exit
    return {judge(order, agent, books, bot, flying) for flying in (live, [])}


def _entry(
    order: OrderRequest, _agent: str, _books: Books, bot: WatchedBot, flying: list[Row]
) -> str:
    entries = [row for row in flying if row.side == "buy"]
    if order.amount * (order.price or Decimal(str(PRICE))) > LARGEST:
        return "notional_too_large"
    if len(bot.status) + len(entries) >= bot.max_open_trades:
        return "no_free_slot"
    if order.pair in {trade["pair"] for trade in bot.status} | {row.pair for row in entries}:
        return "position_exists"
    return "bot_busy" if entries else "placed"


def _exit(order: OrderRequest, agent: str, books: Books, bot: WatchedBot, flying: list[Row]) -> str:
    here = [trade for trade in bot.status if trade["pair"] == order.pair]
    held = next((trade for trade in here if _owner(trade, books) == agent), None)
    if held is None:
        return "position_not_yours" if here else "nothing_to_sell"
    amount = Decimal(str(held["amount"]))
    if amount <= 0:
        return "nothing_to_sell"
    if order.amount - amount >= LOT_STEP[order.pair]:
        return "more_than_held"
    leaving = {row.trade_id for row in flying if row.side == "sell"}
    return "bot_busy" if held["trade_id"] in leaving else "placed"


def _owner(trade: dict[str, Any], books: Books) -> str | None:
    tag = trade["enter_tag"]
    return next((row.subject for row in books.rows.values() if row.tag == tag), None)
