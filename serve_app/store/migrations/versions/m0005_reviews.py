"""Images that a shadow keeps, and what people say of them."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, String, Text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create their tables."""
    op.create_table(
        "kept_images",
        Column("writer", String, primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("rule_id", String, nullable=False),
        Column("region", String),
        Column("expires_at_ms", BigInteger, nullable=False),
        Column("probability", Float, nullable=False),
        Column("digest", String, nullable=False),
        Column("stable", String, nullable=False),
        Column("live_label", String, nullable=False),
        Column("candidate", String, nullable=False),
        Column("label", String, nullable=False),
        Column("labels", Text, nullable=False),
        Column("encrypted", LargeBinary),
    )
    op.create_index(
        "kept_images_digest", "kept_images", ["digest", "stable", "candidate"], unique=True
    )
    op.create_table(
        "reviews",
        Column("digest", String, primary_key=True),
        Column("number", Integer, nullable=False),
        Column("answer", String, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("actor", String, nullable=False),
        Column("reason", String, nullable=False),
    )
