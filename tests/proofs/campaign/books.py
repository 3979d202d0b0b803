"""The two sets of books, read from their databases' own tables and never through the gateway."""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from tests.support.servers import plain

UNSETTLED = ("received", "reserved", "sent", "unknown")
PLACED = ("placed", "partially_filled", "filled", "cancelled", "vanished")
EXIT_TAG = "force_exit"
TAG_START = "gw:"
TAG = re.compile("gw:[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One order in the gateway's books; amounts in base, price in quote."""

    order_id: str
    request_id: str
    agent: str
    tag: str
    pair: str
    kind: str
    state: str
    code: str | None
    sent_at: datetime | None
    trade_id: int | None
    bot_order_id: str | None
    actual_amount: Decimal | None
    filled_amount: Decimal
    average_price: Decimal | None

    @property
    def outcome(self) -> str:
        """The one word that an agent is told."""
        if self.state in PLACED:
            return "placed"
        return self.state if self.state in {"denied", "rejected"} else "unknown"


@dataclass(frozen=True, slots=True)
class Step:
    """One change of an order's state."""

    state: str
    at: datetime
    code: str | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """The gateway's books; ``steps`` and ``audited`` by order_id, oldest first."""

    rows: tuple[LedgerRow, ...]
    steps: Mapping[str, list[Step]]
    audited: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class BotOrder:
    """One order in the bot's books; numbers as its database's floats print."""

    order_id: str
    trade_id: int
    pair: str
    side: str
    tag: str | None
    trade_tag: str | None
    is_open: bool
    status: str
    amount: Decimal
    filled: Decimal
    average: Decimal | None
    at: datetime


def read_ledger(where: str) -> Ledger:
    """Read the gateway's database: a PostgreSQL URL, or the path of an SQLite file."""
    rows = _ask(
        where,
        "select order_id, request_id, agent, tag, pair, kind, state, code, sent_at, trade_id,"
        " bot_order_id, actual_amount, filled_amount, average_price from orders"
        " order by created_at, order_id",
    )
    steps: dict[str, list[Step]] = defaultdict(list)
    for order_id, state, at, code in _ask(
        where, "select order_id, state, at, code from order_history order by id"
    ):
        steps[order_id].append(Step(state, _moment(at), code))
    audited: dict[str, list[str]] = defaultdict(list)
    for order_id, event in _ask(
        where, "select order_id, event from audit_log where order_id is not null order by id"
    ):
        audited[order_id].append(event)
    return Ledger(tuple(map(_ledger_row, rows)), steps, audited)


def read_bot(database: Path) -> tuple[BotOrder, ...]:
    """Read every order in Freqtrade's database, oldest first, with its trade's tag."""
    rows = _ask(
        str(database),
        "select o.order_id, o.ft_trade_id, o.ft_pair, o.ft_order_side, o.ft_order_tag,"
        " t.enter_tag, o.ft_is_open, o.status, coalesce(o.amount, o.ft_amount), o.filled,"
        " o.average, o.order_date from orders o left join trades t on t.id = o.ft_trade_id"
        " order by o.id",
    )
    return tuple(map(_bot_order, rows))


def read_tags(logs: Iterable[Path]) -> frozenset[str]:
    """Return every tag of ours that the bot ever told of: of entries it has deleted, too."""
    texts = (log.read_text("utf-8", "replace") for log in logs if log.exists())
    return frozenset(tag for text in texts for tag in TAG.findall(text))


def unsettled(where: str) -> int:
    """Count the orders whose outcome is open."""
    words = ", ".join(f"'{state}'" for state in UNSETTLED)
    return int(_ask(where, f"select count(*) from orders where state in ({words})")[0][0])


def _ask(where: str, query: str) -> list[tuple[Any, ...]]:
    if "://" in where:
        with psycopg.connect(plain(where), row_factory=tuple_row) as connection:
            return connection.execute(query.encode()).fetchall()
    with closing(sqlite3.connect(f"file:{where}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def _ledger_row(row: tuple[Any, ...]) -> LedgerRow:
    *words, sent_at, trade_id, bot_order_id, actual, filled, average = row
    order_id, request_id, agent, tag, pair, kind, state, code = words
    return LedgerRow(
        order_id, request_id, agent, tag, pair, kind, state, code,
        sent_at=None if sent_at is None else _moment(sent_at),
        trade_id=trade_id,
        bot_order_id=bot_order_id,
        actual_amount=None if actual is None else Decimal(actual),
        filled_amount=Decimal(filled),
        average_price=None if average is None else Decimal(average),
    )  # fmt: skip


def _bot_order(row: tuple[Any, ...]) -> BotOrder:
    order_id, trade_id, pair, side, tag, trade_tag, is_open, status, *numbers, at = row
    amount, filled, average = numbers
    return BotOrder(
        order_id, trade_id, pair, side, tag, trade_tag, bool(is_open), status or "",
        amount=_decimal(amount),
        filled=_decimal(filled),
        average=_decimal(average) if average else None,
        at=datetime.fromisoformat(at).replace(tzinfo=UTC),
    )  # fmt: skip


def _decimal(number: float | None) -> Decimal:
    return Decimal(repr(float(number or 0)))


def _moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
