"""The ledger, its history and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_IN_FLIGHT = "state IN ('sent', 'unknown')"
_APPEND_ONLY = ("order_history", "audit_log")

# INSERT OR REPLACE deletes without asking the delete trigger, hence the third.
_SQLITE_GUARDS = """
CREATE TRIGGER {table}_keeps_rows BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;

CREATE TRIGGER {table}_keeps_words BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;

CREATE TRIGGER {table}_keeps_ids BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
""".strip().split("\n\n")
_POSTGRES_REFUSAL = """
CREATE FUNCTION mcp_gateway_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""
_POSTGRES_GUARDS = [
    """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION mcp_gateway_append_only()
"""
]


def upgrade() -> None:
    """Make the three tables and let the database itself keep two of them append-only."""
    _orders()
    _order_history()
    _audit_log()
    if op.get_bind().dialect.name == "sqlite":
        guards = _SQLITE_GUARDS
    else:
        op.execute(_POSTGRES_REFUSAL)
        guards = _POSTGRES_GUARDS
    for table in _APPEND_ONLY:
        for guard in guards:
            op.execute(guard.format(table=table))


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("tag", sa.Text, nullable=False),
        sa.Column("bot", sa.Text, nullable=False),
        sa.Column("pair", sa.Text, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("amount", sa.Text, nullable=False),
        sa.Column("order_type", sa.Text, nullable=False),
        sa.Column("price", sa.Text),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("sent_at", sa.BigInteger),
        sa.Column("quote_sent", sa.Text),
        sa.Column("trade_id", sa.BigInteger),
        sa.Column("bot_order_id", sa.Text),
        sa.Column("actual_amount", sa.Text),
        sa.Column("filled_amount", sa.Text, nullable=False),
        sa.Column("average_price", sa.Text),
        sa.Column("fee", sa.Text),
        sa.Column("code", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("answer", sa.Text),
        sa.PrimaryKeyConstraint("order_id", name="orders_key"),
        sa.UniqueConstraint("issuer", "subject", "request_id", name="orders_request"),
        sa.UniqueConstraint("tag", name="orders_tag"),
        sa.CheckConstraint("kind IN ('entry', 'exit')", name="orders_kind"),
        sa.CheckConstraint(
            f"NOT (kind = 'exit' AND {_IN_FLIGHT} AND trade_id IS NULL)",
            name="orders_exit_names_trade",
        ),
    )
    _one_in_flight("orders_one_entry_in_flight", ["bot"], "entry")
    _one_in_flight("orders_one_exit_in_flight", ["bot", "trade_id"], "exit")
    op.create_index("orders_by_state", "orders", ["bot", "state"])
    op.create_index("orders_by_agent", "orders", ["agent", "pair"])
    op.create_index("orders_by_age", "orders", ["created_at"])


def _one_in_flight(name: str, columns: list[str], kind: str) -> None:
    only = sa.text(f"kind = '{kind}' AND {_IN_FLIGHT}")
    op.create_index(name, "orders", columns, unique=True, sqlite_where=only, postgresql_where=only)


def _order_history() -> None:
    op.create_table(
        "order_history",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("code", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="order_history_key"),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.order_id"], name="order_history_order_id_exists"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("order_history_by_order", "order_history", ["order_id"])


def _audit_log() -> None:
    words = ("issuer", "subject", "agent", "channel", "operation", "call_id", "request_id")
    op.create_table(
        "audit_log",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        *[sa.Column(word, sa.Text) for word in (*words, "order_id", "code")],
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="audit_log_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_log_by_request", "audit_log", ["request_id"])
    op.create_index("audit_log_by_order", "audit_log", ["order_id"])
