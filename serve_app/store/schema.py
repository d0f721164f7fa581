"""The tables, as the newest migration leaves them. Times are milliseconds since 1970 UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

epochs = Table(
    "epochs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("rule_id", String, nullable=False),
    Column("rule", Text, nullable=False),
    Column("kind", String, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Index("epochs_started_at_ms", "started_at_ms"),
)

# What the epochs were made from; it tells an adoption that comes again from a new one.
adoptions = Table(
    "adoptions",
    metadata,
    Column("writer", String, primary_key=True),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("rule_id", String, primary_key=True),
)

# The fields of `serve_app.domain.Exposure`, and the epoch.
exposures = Table(
    "exposures",
    metadata,
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
    Index("exposures_at_ms", "at_ms"),
    Index("exposures_rule_id_at_ms", "rule_id", "at_ms"),
)

# The fields of `serve_app.domain.ShadowPair`, and the epoch.
shadow_pairs = Table(
    "shadow_pairs",
    metadata,
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
    Index("shadow_pairs_at_ms", "at_ms"),
    Index("shadow_pairs_rule_id_at_ms", "rule_id", "at_ms"),
)

# The fields of `serve_app.domain.Feedback`.
feedback = Table(
    "feedback",
    metadata,
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
    Index("feedback_at_ms", "at_ms"),
)

writers = Table(
    "writers",
    metadata,
    Column("writer", String, primary_key=True),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("without_epoch", BigInteger, nullable=False),
    Column("pairs", BigInteger, nullable=False, server_default="0"),
    Column("dropped_pairs", BigInteger, nullable=False, server_default="0"),
)

revisions = Table(
    "revisions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("document", Text, nullable=False),
    Column("digest", String, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("details", Text, nullable=False),
)
