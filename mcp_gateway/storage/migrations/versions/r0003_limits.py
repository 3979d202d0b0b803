"""What limits, previews, approvals and halts keep."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns of grants, the index of what was sent lately, and the halts."""
    op.add_column("orders", sa.Column("preview_id", sa.Text))
    op.add_column("orders", sa.Column("approved_quote", sa.Text))
    op.add_column("orders", sa.Column("expires_at", sa.BigInteger))
    op.create_index("orders_one_preview", "orders", ["preview_id"], unique=True)
    op.create_index("orders_by_sending", "orders", ["bot", "kind", "sent_at"])
    op.create_table(
        "halts",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("bot_paused", sa.Integer, nullable=False, server_default="0"),
        sa.Column("released_at", sa.BigInteger),
        sa.Column("released_by", sa.Text),
        sa.Column("release_reason", sa.Text),
        sa.CheckConstraint("scope IN ('all', 'agent', 'pair')", name="halts_scope"),
        sqlite_autoincrement=True,
    )
    op.create_index("halts_in_force", "halts", ["released_at"])
