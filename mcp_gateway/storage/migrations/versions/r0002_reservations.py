"""What an entry sets aside, who carries an order, one request for each order at the bot."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns and the index; both engines let NULLs repeat in a unique index."""
    op.add_column("orders", sa.Column("reserved_quote", sa.Text))
    op.add_column("orders", sa.Column("carrier", sa.Text, nullable=False, server_default=""))
    only = sa.text("kind = 'exit'")
    op.create_index(
        "orders_one_bot_sell",
        "orders",
        ["bot", "pair", "bot_order_id"],
        unique=True,
        sqlite_where=only,
        postgresql_where=only,
    )
