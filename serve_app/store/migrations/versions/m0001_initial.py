"""The initial schema."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
)

revision = "0001_initial"
down_revision = None


def upgrade() -> None:
    """Create all tables and indexes."""
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
        Column("region", String),
        Column("live_version", String),
        Column("live_label", String),
        Column("live_model_ms", Float),
        Column("live_latency_ms", Float),
        Column("unit", String),
    )
    op.create_index("shadow_pairs_at_ms", "shadow_pairs", ["at_ms"])
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
    op.create_index("feedback_answered_at_ms", "feedback", ["answered_at_ms"])
    op.create_table(
        "labelled_feedback",
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
        Column("writer", String, primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("rule_id", String, nullable=False),
        Column("unit", BigInteger, nullable=False),
        Column("assigned", String, nullable=False),
        Column("reason", String, nullable=False),
        Column("region", String, nullable=False),
        Column("predicted_label", String, nullable=False),
        Column("reported_at_ms", BigInteger, nullable=False),
        Column("reported_label", String, nullable=False),
        Column("correct", Boolean),
        Column("rating", Integer),
        Column("complaint", Boolean),
        sqlite_with_rowid=False,
    )
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
    op.create_table(
        "exposure_sums",
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("minute", Integer, primary_key=True, autoincrement=False),
        Column("rule_id", String, primary_key=True),
        Column("assigned", String, primary_key=True),
        Column("served_as_assigned", Boolean, primary_key=True),
        Column("region", String, primary_key=True),
        Column("reason", String, primary_key=True),
        Column("label", String, primary_key=True),
        Column("exposures", BigInteger, nullable=False),
        Column("errors", BigInteger, nullable=False),
        Column("fallbacks", BigInteger, nullable=False),
        Column("latency_ms_sum", Float, nullable=False),
        Column("model_ms_count", BigInteger, nullable=False),
        Column("model_ms_sum", Float, nullable=False),
        Column("confidence_sum", Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "latency_sums",
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("minute", Integer, primary_key=True, autoincrement=False),
        Column("rule_id", String, primary_key=True),
        Column("assigned", String, primary_key=True),
        Column("reason", String, primary_key=True),
        Column("kind", String, primary_key=True),
        Column("bucket", Integer, primary_key=True, autoincrement=False),
        Column("exposures", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unit_sums",
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("day", Integer, primary_key=True, autoincrement=False),
        Column("unit", BigInteger, primary_key=True, autoincrement=False),
        Column("assigned", String, primary_key=True),
        Column("exposures", BigInteger, nullable=False),
        Column("errors", BigInteger, nullable=False),
        Column("fallbacks", BigInteger, nullable=False),
        Column("latency_ms_sum", Float, nullable=False),
        Column("model_ms_count", BigInteger, nullable=False),
        Column("model_ms_sum", Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "first_assignments",
        Column("experiment", String, primary_key=True),
        Column("unit", BigInteger, primary_key=True, autoincrement=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("version", String, nullable=False),
        Column("region", String, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("first_assignments_at_ms", "first_assignments", ["at_ms"])
    op.create_table(
        "pair_sums",
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("minute", Integer, primary_key=True, autoincrement=False),
        Column("rule_id", String, primary_key=True),
        Column("candidate", String, primary_key=True),
        Column("live_version", String, primary_key=True),
        Column("region", String, primary_key=True),
        Column("live_label", String, primary_key=True),
        Column("label", String, primary_key=True),
        Column("outcome", String, primary_key=True),
        Column("error", String, primary_key=True),
        Column("pairs", BigInteger, nullable=False),
        Column("latency_ms_count", BigInteger, nullable=False),
        Column("latency_ms_sum", Float, nullable=False),
        Column("live_latency_ms_count", BigInteger, nullable=False),
        Column("live_latency_ms_sum", Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unit_pair_sums",
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("day", Integer, primary_key=True, autoincrement=False),
        Column("unit", BigInteger, primary_key=True, autoincrement=False),
        Column("region", String, primary_key=True),
        Column("label", String, primary_key=True),
        Column("pairs", BigInteger, nullable=False),
        Column("compared", BigInteger, nullable=False),
        Column("agreed", BigInteger, nullable=False),
        Column("model_ms_count", BigInteger, nullable=False),
        Column("model_ms_sum", Float, nullable=False),
        Column("live_model_ms_sum", Float, nullable=False),
        Column("squared_difference_sum", Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "retention_cutoff",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("cutoff_ms", BigInteger, nullable=False),
        Column("rejected", BigInteger, nullable=False),
    )
    op.create_table(
        "ingress_writers",
        Column("writer", String, primary_key=True),
        Column("first_seen_ms", BigInteger, nullable=False),
        Column("last_seen_ms", BigInteger, nullable=False),
        Column("last_sequence", BigInteger, nullable=False),
        Column("stored", BigInteger, nullable=False),
        Column("dropped", BigInteger, nullable=False),
        Column("without_epoch", BigInteger, nullable=False),
        Column("pairs", BigInteger, nullable=False),
        Column("dropped_pairs", BigInteger, nullable=False),
        Column("copied_pairs", BigInteger, nullable=False),
        Column("failed_pairs", BigInteger, nullable=False),
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
    op.create_table(
        "idempotency_keys",
        Column("key", String, primary_key=True),
        Column("request_digest", String, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("revision", Integer),
    )
