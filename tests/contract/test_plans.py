"""A ledger of years must not slow the next order down: statements go by their indexes."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from mcp_gateway.orders.book.rows import HOLDINGS
from mcp_gateway.storage.sql import Store

pytestmark = [pytest.mark.integration, pytest.mark.anyio]


def plan(connection: Connection, asked: dict[str, Any]) -> list[str]:
    """Return what SQLite says it does for the statement that weighs an entry."""
    run: list[tuple[str, Any]] = []
    event.listen(
        connection.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, given, *_: run.append((statement, given)),
    )
    connection.execute(HOLDINGS, asked).all()
    statement, given = run[-1]
    steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
    return [row[3] for row in steps]


async def test_an_entry_is_weighed_without_reading_every_order(tmp_path: Path) -> None:
    """Each part of the question narrows by more than the bot, which every order shares."""
    store = Store(f"sqlite:///{tmp_path}/gateway.sqlite", data_dir=tmp_path)
    await store.open()
    told = await store.read(lambda c: plan(c, {"bot": "b", "order_id": "x", "seen": 0}))
    await store.close()
    searches = [line for line in told if "orders" in line or "order_history" in line]
    assert any("order_history USING INTEGER PRIMARY KEY (rowid>?)" in line for line in searches)
    assert not [line for line in searches if line.startswith("SCAN") or "(bot=?)" in line]
