"""The tokens that are believed no longer."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the revocations: of one token, or of everything that a subject was given before."""
    op.create_table(
        "revocations",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("token_id", sa.Text),
        sa.Column("issued_before", sa.BigInteger),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.CheckConstraint("(subject IS NULL) <> (token_id IS NULL)", name="revocations_name_one"),
        sa.CheckConstraint(
            "(subject IS NULL) = (issued_before IS NULL)", name="revocations_of_a_subject_up_to"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("revocations_by_end", "revocations", ["expires_at"])
