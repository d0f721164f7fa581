"""Idempotency keys of changes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, String

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create their table."""
    op.create_table(
        "idempotency",
        Column("key", String, primary_key=True),
        Column("request", String, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("revision", Integer),
    )
