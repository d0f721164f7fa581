"""Sums of what is recorded, feedback joined with its exposures, what a shadow's live answer was."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables; the sums begin with what is recorded from now on.

    The indices that go were never used.
    """
    for name, kind in (
        ("region", String),
        ("live_version", String),
        ("live_label", String),
        ("live_model_ms", Float),
        ("live_latency_ms", Float),
    ):
        op.add_column("shadow_pairs", Column(name, kind))
    op.drop_index("exposures_rule_id_at_ms", "exposures")
    op.drop_index("shadow_pairs_rule_id_at_ms", "shadow_pairs")
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
        Column("answered", String, nullable=False),
        Column("told_at_ms", BigInteger, nullable=False),
        Column("told", String, nullable=False),
        Column("correct", Boolean),
        Column("rating", Integer),
        Column("complaint", Boolean),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "exposure_sums",
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("minute", Integer, primary_key=True, autoincrement=False),
        Column("rule_id", String, primary_key=True),
        Column("assigned", String, primary_key=True),
        Column("as_assigned", Boolean, primary_key=True),
        Column("region", String, primary_key=True),
        Column("reason", String, primary_key=True),
        Column("label", String, primary_key=True),
        Column("exposures", BigInteger, nullable=False),
        Column("errors", BigInteger, nullable=False),
        Column("fallbacks", BigInteger, nullable=False),
        Column("latency_sum", Float, nullable=False),
        Column("latency_squares", Float, nullable=False),
        Column("modelled", BigInteger, nullable=False),
        Column("model_sum", Float, nullable=False),
        Column("model_squares", Float, nullable=False),
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
        Column("latency_sum", Float, nullable=False),
        Column("modelled", BigInteger, nullable=False),
        Column("model_sum", Float, nullable=False),
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
        Column("probability_sum", Float, nullable=False),
        Column("weight_sum", Float, nullable=False),
        Column("weight_squares", Float, nullable=False),
        Column("timed", BigInteger, nullable=False),
        Column("latency_sum", Float, nullable=False),
        Column("latency_squares", Float, nullable=False),
        Column("lived", BigInteger, nullable=False),
        Column("live_latency_sum", Float, nullable=False),
        Column("paired", BigInteger, nullable=False),
        Column("model_sum", Float, nullable=False),
        Column("live_model_sum", Float, nullable=False),
        Column("difference_sum", Float, nullable=False),
        Column("difference_squares", Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "horizon",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("rows_ms", BigInteger, nullable=False),
        Column("rejected", BigInteger, nullable=False),
    )
