"""Revisions get a kind and a state, recreations a table; idempotency keys go.

Earlier revisions were recorded after they were deployed: they count as in force since then.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, String, Text

revision = "0002_control_plane"
down_revision = "0001_initial"


def upgrade() -> None:
    """Change the tables of the control plane."""
    with op.batch_alter_table("revisions") as table:
        table.add_column(Column("kind", String, nullable=False, server_default="deploy"))
        table.add_column(Column("state", String, nullable=False, server_default="deployed"))
        table.add_column(Column("in_force_at_ms", BigInteger))
    op.execute("UPDATE revisions SET in_force_at_ms = at_ms")
    with op.batch_alter_table("revisions") as table:
        table.alter_column("kind", server_default=None)
        table.alter_column("state", server_default=None)
    op.create_table(
        "recreations",
        Column(
            "revision",
            Integer,
            ForeignKey("revisions.number"),
            primary_key=True,
            autoincrement=False,
        ),
        Column("version", String, nullable=False),
        Column("phase", String, nullable=False),
        Column("started_at_ms", BigInteger, nullable=False),
        Column("down_from_ms", BigInteger),
        Column("down_to_ms", BigInteger),
        Column("is_upper_bound", Boolean, nullable=False),
        Column("message", Text, nullable=False),
    )
    op.drop_table("idempotency_keys")
