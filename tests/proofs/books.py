"""What a gateway wrote down, read with SQL of our own."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.support.servers import plain

Row = dict[str, Any]


@dataclass(frozen=True)
class Books:
    """The gateway's tables, read from outside."""

    orders: list[Row]
    history: dict[str, list[str]]
    audit: dict[str, list[str]]

    @classmethod
    def read(cls, url: str) -> "Books":
        """Read a store that no gateway holds any more."""
        run = _sqlite(url) if url.startswith("sqlite") else _postgres(url)
        orders = [
            dict(zip(("order_id", "request_id", "side", "state", "tag", "bot_order_id"), row,
                     strict=True))
            for row in run("SELECT order_id, request_id, side, state, tag, bot_order_id FROM orders")
        ]  # fmt: skip
        history = run("SELECT order_id, state FROM order_history ORDER BY id")
        audit = run("SELECT order_id, event FROM audit_log ORDER BY id")
        steps = [(order_id, event.removeprefix("order.")) for order_id, event in audit]
        return cls(orders, _grouped(history), _grouped(steps))


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for order_id, word in pairs:
        grouped.setdefault(order_id, []).append(word)
    return grouped


def _sqlite(url: str) -> Callable[[str], list[Any]]:
    def run(query: str) -> list[Any]:
        path = Path(url.removeprefix("sqlite:///"))
        connection = sqlite3.connect(path)  # not read-only: a journal may have to be rolled back
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    return run


def _postgres(url: str) -> Callable[[str], list[Any]]:
    def run(query: str) -> list[Any]:
        with psycopg.connect(plain(url)) as connection:
            return connection.execute(query.encode()).fetchall()

    return run
