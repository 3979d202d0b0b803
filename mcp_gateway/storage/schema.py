"""The tables: one description from which every statement on both engines is made.

Money is text, because SQLite keeps a NUMERIC as a binary float; the text is the plain
decimal with every digit it came with. Times are microseconds since 1970 UTC as integers:
exact, and ordered alike by both engines. The migrations make what this module describes;
a test compares the two.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

# Every revision that this program knows, oldest first; the last is the one it needs.
REVISIONS: Final = ("0001", "0002", "0003", "0004")
REVISION: Final = REVISIONS[-1]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Money(TypeDecorator[Decimal]):
    """A decimal as plain text: no exponent, no rounding, no trailing zeros."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the library's signature
        """Write ``Decimal("1.50")`` as ``1.5``; ``normalize`` would round at 28 digits."""
        if value is None:
            return None
        plain = format(value, "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - the library's signature
        """Read the decimal back."""
        return None if value is None else Decimal(value)


class Moment(TypeDecorator[datetime]):
    """An aware moment as whole microseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - the library's signature
        """Count exactly; a naive time raises TypeError, for nobody knows what it means."""
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the library's signature
        """Return the moment, aware, in UTC."""
        return None if value is None else EPOCH + value * MICROSECOND


class Document(TypeDecorator[Any]):
    """JSON as text, its keys in the order they came: an answer is repeated word for word."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - the library's signature
        """Write compact ASCII, which no engine refuses (PostgreSQL's text takes no NUL)."""
        return None if value is None else json.dumps(value, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - the library's signature
        """Read the document back."""
        return None if value is None else json.loads(value)


metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_key",
        "fk": "%(table_name)s_%(column_0_name)s_exists",
    }
)
_Id = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself there
_IN_FLIGHT = "state IN ('sent', 'unknown')"


def _one_in_flight(name: str, *columns: str, kind: str) -> Index:
    only = text(f"kind = '{kind}' AND {_IN_FLIGHT}")
    return Index(name, *columns, unique=True, sqlite_where=only, postgresql_where=only)


orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("bot", Text, nullable=False),
    Column("pair", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount", Money, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("price", Money),
    Column("mode", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("quote_sent", Money),
    Column("trade_id", BigInteger),
    Column("bot_order_id", Text),
    Column("actual_amount", Money),
    Column("filled_amount", Money, nullable=False),
    Column("average_price", Money),
    Column("fee", Money),
    Column("code", Text),
    Column("message", Text),
    Column("answer", Document),
    Column("reserved_quote", Money),
    Column("carrier", Text, nullable=False, server_default=""),
    Column("preview_id", Text),
    Column("approved_quote", Money),
    Column("expires_at", Moment),
    UniqueConstraint("issuer", "subject", "request_id", name="orders_request"),
    UniqueConstraint("tag", name="orders_tag"),
    CheckConstraint("kind IN ('entry', 'exit')", name="orders_kind"),
    # NULL equals nothing: without its trade an exit in flight would hold no place.
    CheckConstraint(
        f"NOT (kind = 'exit' AND {_IN_FLIGHT} AND trade_id IS NULL)", name="orders_exit_names_trade"
    ),
    _one_in_flight("orders_one_entry_in_flight", "bot", kind="entry"),
    _one_in_flight("orders_one_exit_in_flight", "bot", "trade_id", kind="exit"),
    # One sell at the bot stands for one request; exchanges count their ids anew for each pair.
    # Entries carry a mark of their own.
    Index(
        "orders_one_bot_sell",
        "bot",
        "pair",
        "bot_order_id",
        unique=True,
        sqlite_where=text("kind = 'exit'"),
        postgresql_where=text("kind = 'exit'"),
    ),
    # A preview lets one order through; NULLs repeat.
    Index("orders_one_preview", "preview_id", unique=True),
    Index("orders_by_sending", "bot", "kind", "sent_at"),
    Index("orders_by_state", "bot", "state"),
    Index("orders_by_agent", "agent", "pair"),
    Index("orders_by_age", "created_at"),
)

order_history = Table(
    "order_history",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("order_id", Text, ForeignKey("orders.order_id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("code", Text),
    Column("detail", Document, nullable=False),
    Index("order_history_by_order", "order_id"),
    sqlite_autoincrement=True,
)

# What stops entries; a row is never deleted, only released.
halts = Table(
    "halts",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("bot_paused", Integer, nullable=False, server_default="0"),
    Column("released_at", Moment),
    Column("released_by", Text),
    Column("release_reason", Text),
    CheckConstraint("scope IN ('all', 'agent', 'pair')", name="halts_scope"),
    Index("halts_in_force", "released_at"),
    sqlite_autoincrement=True,
)

# Tokens that are believed no longer: one, or all that a subject was given before a moment.
revocations = Table(
    "revocations",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text),
    Column("token_id", Text),
    Column("issued_before", Moment),
    Column("at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint("(subject IS NULL) <> (token_id IS NULL)", name="revocations_name_one"),
    CheckConstraint(
        "(subject IS NULL) = (issued_before IS NULL)", name="revocations_of_a_subject_up_to"
    ),
    Index("revocations_by_end", "expires_at"),
    sqlite_autoincrement=True,
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("event", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("issuer", Text),
    Column("subject", Text),
    Column("agent", Text),
    Column("channel", Text),
    Column("operation", Text),
    Column("call_id", Text),
    Column("request_id", Text),
    Column("order_id", Text),
    Column("code", Text),
    Column("detail", Document, nullable=False),
    Index("audit_log_by_request", "request_id"),
    Index("audit_log_by_order", "order_id"),
    sqlite_autoincrement=True,
)
