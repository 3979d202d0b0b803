"""The real bot's own books: its database, read beside it, and a way to empty them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import httpx2

from mcp_gateway.sandbox.bot import Sandbox
from tests.support.bot import BOT_TIMEOUT_S, wipe


class BotOrder(NamedTuple):
    """One order as Freqtrade has booked it; amount in base, price in quote."""

    side: str
    order_id: str
    trade_id: int
    filled: float
    average: float


def bot_orders(database: Path) -> list[BotOrder]:
    """Return every order in the bot's database, oldest first."""
    rows = _read(
        database,
        "select ft_order_side, order_id, ft_trade_id, filled, average from orders order by id",
    )
    return [BotOrder(*row) for row in rows]


def bot_tags(database: Path) -> list[str]:
    """Return the entry tag of every trade in the bot's database, oldest first."""
    return [tag for (tag,) in _read(database, "select enter_tag from trades order by id")]


def _read(database: Path, query: str) -> list[tuple]:  # type: ignore[type-arg]  # any columns
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def emptied(bot: Sandbox) -> None:
    """Leave the bot without a trade, a lock or a fault."""
    auth = (bot.freqtrade_username, bot.freqtrade_password)
    with (
        httpx2.Client(
            base_url=f"{bot.freqtrade_url}/api/v1/", auth=auth, timeout=BOT_TIMEOUT_S,
            limits=httpx2.Limits(max_keepalive_connections=0), trust_env=False,
        ) as bot_api,
        httpx2.Client(base_url=f"{bot.exchange_url}/control/", trust_env=False) as control,
    ):  # fmt: skip
        wipe(bot_api, control)
