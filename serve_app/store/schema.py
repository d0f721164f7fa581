"""The tables after the last migration. Times are milliseconds since 1970 UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
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

# The adoptions that made the epochs; they show whether an adoption was recorded before.
adoptions = Table(
    "adoptions",
    metadata,
    Column("writer", String, primary_key=True),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("rule_id", String, primary_key=True),
)

# The fields of `serve_app.recording.records.Exposure` plus the epoch.
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
)

# The fields of `serve_app.recording.records.ShadowPair` plus the epoch.
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
    Column("region", String),
    Column("live_version", String),
    Column("live_label", String),
    Column("live_model_ms", Float),
    Column("live_latency_ms", Float),
    Column("unit", String),
    Index("shadow_pairs_at_ms", "at_ms"),
)

# The fields of `serve_app.recording.records.Feedback`.
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
    Column("unknown_label", String),
    Index("feedback_at_ms", "at_ms"),
    Index("feedback_answered_at_ms", "answered_at_ms"),
)

# One row for each prediction that has an exposure and feedback: columns of the exposure, and the
# feedback that counts. `epoch`, `unit` and absent texts are encoded as in the sums.
labelled_feedback = Table(
    "labelled_feedback",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("writer", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("rule_id", String, nullable=False),
    Column("unit", BigInteger, nullable=False),
    Column("assigned", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("region", String, nullable=False),
    Column("served", String, nullable=False),
    Column("predicted_label", String, nullable=False),
    Column("reported_at_ms", BigInteger, nullable=False),
    Column("reported_label", String, nullable=False),
    Column("correct", Boolean),
    Column("rating", Integer),
    Column("complaint", Boolean),
    Column("unknown_label", String),
    sqlite_with_rowid=False,
)

# The fields of `serve_app.recording.records.KeptImage` without `room`, plus the epoch (0: none).
# `labels` is a JSON list. When a reviewed image expires, `encrypted` becomes null; the row stays.
kept_images = Table(
    "kept_images",
    metadata,
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
    Column("unit", BigInteger, nullable=False),
    Column("encrypted", LargeBinary),
    Index("kept_images_digest", "digest", "stable", "candidate", unique=True),
)

# One review an image, whatever versions classified it. `number` counts from 1.
reviews = Table(
    "reviews",
    metadata,
    Column("digest", String, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("answer", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("reason", String, nullable=False),
)

# Sums over rows. The primary key of a table is the list of columns that it is summed by. These are
# never null: 0 is no epoch, an empty text is no value. `minute` and `day` count from 1970 UTC.
exposure_sums = Table(
    "exposure_sums",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("minute", Integer, primary_key=True, autoincrement=False),
    Column("rule_id", String, primary_key=True),
    Column("assigned", String, primary_key=True),
    Column("served_as_assigned", Boolean, primary_key=True),
    Column("region", String, primary_key=True),
    Column("reason", String, primary_key=True),
    Column("label", String, primary_key=True),
    Column("error", String, primary_key=True),
    Column("exposures", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("fallbacks", BigInteger, nullable=False),
    Column("latency_ms_sum", Float, nullable=False),
    Column("model_ms_count", BigInteger, nullable=False),
    Column("model_ms_sum", Float, nullable=False),
    Column("confidence_sum", Float, nullable=False),
    sqlite_with_rowid=False,
)

latency_sums = Table(
    "latency_sums",
    metadata,
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

# `experiment`: the digest of its terms. `unit`: see `serve_app.store.units.hash64`. `from_ms`: the
# start of a slot, see `serve_app.store.units.slot_ms`.
unit_sums = Table(
    "unit_sums",
    metadata,
    Column("experiment", String, primary_key=True),
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("from_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("exposures", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("latency_ms_sum", Float, nullable=False),
    Column("model_ms_count", BigInteger, nullable=False),
    Column("model_ms_sum", Float, nullable=False),
    Column("max_latency_ms", Float, nullable=False, info={"merge": "max"}),
    sqlite_with_rowid=False,
)

# `latency_ms`: of the first exposure. The order of the columns decides between two exposures with
# the same time; see `serve_app.store.bulk.merge`.
first_assignments = Table(
    "first_assignments",
    metadata,
    Column("experiment", String, primary_key=True),
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("bucket", Float, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("version", String, nullable=False),
    Column("region", String, nullable=False),
    Index("first_assignments_at_ms", "at_ms"),
    sqlite_with_rowid=False,
)

pair_sums = Table(
    "pair_sums",
    metadata,
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

# Shadow pairs that were copied, or failed. `label` is the candidate's; empty for failed ones.
unit_pair_sums = Table(
    "unit_pair_sums",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("region", String, primary_key=True),
    Column("label", String, primary_key=True),
    Column("pairs", BigInteger, nullable=False),
    Column("compared", BigInteger, nullable=False),  # pairs with a live label
    Column("agreed", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),  # not among the pairs
    Column("model_ms_count", BigInteger, nullable=False),  # pairs with both model times
    Column("model_ms_sum", Float, nullable=False),
    Column("live_model_ms_sum", Float, nullable=False),
    Column("squared_difference_sum", Float, nullable=False),
    sqlite_with_rowid=False,
)

# No row before the first removal, then one. Rows older than `cutoff_ms` are removed, and rejected
# when they arrive; `rejected` counts the latter.
retention_cutoff = Table(
    "retention_cutoff",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("cutoff_ms", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
)

ingress_writers = Table(
    "ingress_writers",
    metadata,
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

revisions = Table(
    "revisions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("document", Text, nullable=False),
    Column("digest", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("in_force_at_ms", BigInteger),
)

recreations = Table(
    "recreations",
    metadata,
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
