"""The first tables."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Float, ForeignKey, Integer, String, Text

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "epochs",
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("rule_id", String, nullable=False),
        Column("rule", Text, nullable=False),
        Column("kind", String, nullable=False),
        Column("started_at_ms", BigInteger, nullable=False),
        Column("ended_at_ms", BigInteger),
    )
    op.create_index("epochs_started_at_ms", "epochs", ["started_at_ms"])
    op.create_table(
        "adoptions",
        Column("writer", String, primary_key=True),
        Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
        Column("rule_id", String, primary_key=True),
    )
    op.create_table(
        "exposures",
        Column("writer", String, primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("epoch", Integer, ForeignKey("epochs.number")),
        Column("request_id", String, nullable=False),
        Column("rule_id", String, nullable=False),
        Column("rule", String, nullable=False),
        Column("reason", String, nullable=False),
        Column("assigned", String),
        Column("served", String),
        Column("user", String),
        Column("session", String),
        Column("region", String),
        Column("label", String),
        Column("confidence", Float),
        Column("latency_ms", Float, nullable=False),
        Column("model_ms", Float),
        Column("error", String),
    )
    op.create_index("exposures_at_ms", "exposures", ["at_ms"])
    op.create_index("exposures_rule_id_at_ms", "exposures", ["rule_id", "at_ms"])
    op.create_table(
        "writers",
        Column("writer", String, primary_key=True),
        Column("first_seen_ms", BigInteger, nullable=False),
        Column("last_seen_ms", BigInteger, nullable=False),
        Column("last_sequence", BigInteger, nullable=False),
        Column("stored", BigInteger, nullable=False),
        Column("dropped", BigInteger, nullable=False),
        Column("without_epoch", BigInteger, nullable=False),
    )
    op.create_table(
        "revisions",
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("actor", String, nullable=False),
        Column("reason", String, nullable=False),
        Column("document", Text, nullable=False),
        Column("digest", String, nullable=False),
    )
    op.create_table(
        "audit",
        Column("id", Integer, primary_key=True),
        Column("at_ms", BigInteger, nullable=False),
        Column("actor", String, nullable=False),
        Column("action", String, nullable=False),
        Column("reason", String, nullable=False),
        Column("details", Text, nullable=False),
    )
