"""Shadow pairs, their counts, and feedback."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Integer, String

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create their tables; the writers known so far sent none."""
    op.create_table(
        "shadow_pairs",
        Column("writer", String, primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("epoch", Integer, ForeignKey("epochs.number")),
        Column("rule_id", String, nullable=False),
        Column("candidate", String, nullable=False),
        Column("outcome", String, nullable=False),
        Column("probability", Float, nullable=False),
        Column("label", String),
        Column("confidence", Float),
        Column("latency_ms", Float),
        Column("model_ms", Float),
        Column("error", String),
    )
    op.create_index("shadow_pairs_at_ms", "shadow_pairs", ["at_ms"])
    op.create_index("shadow_pairs_rule_id_at_ms", "shadow_pairs", ["rule_id", "at_ms"])
    op.create_table(
        "feedback",
        Column("writer", String, primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
        Column("answered_at_ms", BigInteger, nullable=False),
        Column("rule_id", String, nullable=False),
        Column("assigned", String),
        Column("answered", String, nullable=False),
        Column("label", String),
        Column("correct", Boolean),
        Column("rating", Integer),
        Column("complaint", Boolean),
    )
    op.create_index("feedback_at_ms", "feedback", ["at_ms"])
    for name in ("pairs", "dropped_pairs"):
        op.add_column("writers", Column(name, BigInteger, nullable=False, server_default="0"))
