"""Bugs that a test of the contracts or of one part has to find, for no world meets them."""

from typing import Final

from tests.proofs.variants import Change, Variant

PYTEST: Final = ("-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider")
LEDGER: Final = "tests/contract/test_ledger.py"
ORDERS: Final = "tests/unit/orders"


def _bug(name: str, test: str, *changes: tuple[str, str, str]) -> Variant:
    made = (Change(f"mcp_gateway/{file}", old, new) for file, old, new in changes)
    return Variant(name, tuple(made), (*PYTEST, test))


CONTRACT_BUGS: Final = (
    _bug(
        "an order is moved on from wherever it is",
        f"{LEDGER}::test_an_order_that_was_moved_on_is_not_moved_again[sqlite]",
        (
            "orders/book/rows.py",
            ('        orders.c.state == bindparam("known_state"),\n'
            '        orders.c.updated_at == bindparam("known_updated_at"),\n'),
            ('        (orders.c.state == bindparam("known_state"))\n'
            '        | (orders.c.updated_at == bindparam("known_updated_at"))\n'
            "        | orders.c.state.is_not(None),\n"),
        ),
    ),
    _bug(
        "the database lets any number of orders be in flight",
        f"{LEDGER}::test_one_exit_of_a_trade_is_in_flight[sqlite]",
        ("storage/schema.py", "    return Index(name, *columns, unique=True, ", "    return Index(name, *columns, "),
        (
            "storage/migrations/versions/r0001_ledger_and_audit.py",
            '    op.create_index(name, "orders", columns, unique=True, ',
            '    op.create_index(name, "orders", columns, ',
        ),
    ),
    _bug(
        "a state changes without its audit row",
        f"{LEDGER}::test_a_move_changes_state_history_and_audit_together[sqlite]",
        ("orders/book/rows.py", "    insert_events(connection, audited)\n", ""),
    ),
    _bug(
        "entries are weighed beside each other",
        f"{LEDGER}::test_no_crowd_reserves_more_than_there_is[postgresql]",
        ("orders/book/ledger.py", '            take_turn(connection, f"orders:{record.bot}")\n', ""),
    ),
    _bug(
        "a sell that was there before is taken for ours",
        f"{ORDERS}/test_marks.py::test_an_exit_that_was_lost_is_not_told_as_an_earlier_sell",
        ("orders/book/marks.py", " and order.order_id not in before\n", "\n"),
    ),
    _bug(
        "an exit is sent whatever became of its trade",
        f"{ORDERS}/test_exits.py::test_an_exit_that_another_gateway_overtook_is_not_sent",
        ("orders/sending/submission.py", "            if (trouble := await self._moved_on(held)) is not None:\n",
         "            if (trouble := await self._moved_on(held)) is not None and not trouble:\n"),
    ),
    _bug(
        "an order is told the numbers of another trade",
        f"{ORDERS}/test_follow.py::test_an_order_id_of_another_pair_is_another_order",
        ("orders/book/marks.py", "    if trade.pair != record.pair:\n        return None\n", ""),
    ),
    _bug(
        "a cancel does not look whose order is open",
        f"{ORDERS}/test_cancellation.py::test_what_is_filled_between_two_looks_has_nothing_left",
        ("orders/settling/cancellation.py", "        if trade is None or ours is None or not ours.is_open:\n",
         "        if trade is None:\n"),
    ),
)  # fmt: skip
