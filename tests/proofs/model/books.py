"""The gateway's tables, read with SQL of their own beside the gateway."""

import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final
from uuid import UUID

from tests.proofs.model.bot import Key

_ORDERS: Final = (
    "SELECT order_id, subject, request_id, pair, side, amount, order_type, price, state, code,"
    " tag, bot_order_id, reserved_quote, trade_id FROM orders ORDER BY created_at"
)
_HISTORY: Final = "SELECT order_id, state FROM order_history ORDER BY id"
_AUDIT: Final = "SELECT order_id, event FROM audit_log WHERE order_id IS NOT NULL ORDER BY id"
_WAS_SENT: Final = (
    "SELECT count(*) FROM orders JOIN order_history USING (order_id)"
    " WHERE subject = ? AND request_id = ? AND order_history.state = 'sent'"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One order as the ledger has it; decimals as their text."""

    order_id: str
    subject: str
    request_id: str
    pair: str
    side: str
    amount: str
    order_type: str
    price: str | None
    state: str
    code: str | None
    tag: str
    bot_order_id: str | None
    reserved_quote: str | None
    trade_id: int | None

    @property
    def key(self) -> Key:
        """Who asked for it, under which request_id."""
        return self.subject, UUID(self.request_id)

    @property
    def reserved(self) -> Decimal:
        """What is set aside for it."""
        return Decimal(self.reserved_quote or 0)


@dataclass(frozen=True, slots=True)
class Books:
    """All orders by their keys, each one's states and each one's audited words, oldest first."""

    rows: dict[Key, Row]
    histories: dict[str, list[str]]
    audited: dict[str, list[str]]
    count: int


class Reader:
    """A connection of its own to the gateway's file."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def read(self) -> Books:
        """Return everything that is written."""
        rows = [Row(*row) for row in self._connection.execute(_ORDERS)]
        histories, audited = self._words(_HISTORY), self._words(_AUDIT)
        return Books({row.key: row for row in rows}, histories, audited, len(rows))

    def was_sent(self, key: Key) -> bool:
        """Tell whether a ``sent`` is written down for a request."""
        [(count,)] = self._connection.execute(_WAS_SENT, (key[0], str(key[1])))
        return bool(count)

    def _words(self, query: str) -> dict[str, list[str]]:
        words = defaultdict(list)
        for order_id, word in self._connection.execute(query):
            words[order_id].append(word.removeprefix("order."))
        return words
