"""Units count at a fixed age, under the terms of their experiment; errors are summed by code.

The units of earlier experiments cannot be kept: their buckets are not known. Earlier errors have no
code, earlier kept images no unit, and earlier failed copies are in no sum by unit.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String

revision = "0003_units"
down_revision = "0002_control_plane"


def upgrade() -> None:
    """Create the tables of units again; add columns to others."""
    _create_units()
    _create_exposure_sums()
    _create_unit_pair_sums()
    _create_labelled_feedback()
    op.add_column("kept_images", Column("unit", BigInteger, nullable=False, server_default="0"))
    with op.batch_alter_table("kept_images") as table:
        table.alter_column("unit", server_default=None)


def _create_units() -> None:
    op.drop_table("unit_sums")
    op.create_table(
        "unit_sums",
        Column("experiment", String, primary_key=True),
        Column("unit", BigInteger, primary_key=True, autoincrement=False),
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("from_ms", BigInteger, primary_key=True, autoincrement=False),
        Column("exposures", BigInteger, nullable=False),
        Column("errors", BigInteger, nullable=False),
        Column("latency_ms_sum", Float, nullable=False),
        Column("model_ms_count", BigInteger, nullable=False),
        Column("model_ms_sum", Float, nullable=False),
        Column("max_latency_ms", Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.drop_index("first_assignments_at_ms", "first_assignments")
    op.drop_table("first_assignments")
    op.create_table(
        "first_assignments",
        Column("experiment", String, primary_key=True),
        Column("unit", BigInteger, primary_key=True, autoincrement=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("bucket", Float, nullable=False),
        Column("latency_ms", Float, nullable=False),
        Column("version", String, nullable=False),
        Column("region", String, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("first_assignments_at_ms", "first_assignments", ["at_ms"])


def _create_exposure_sums() -> None:
    op.rename_table("exposure_sums", "earlier_exposure_sums")
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
    keys = "epoch, minute, rule_id, assigned, served_as_assigned, region, reason, label"
    values = (
        "exposures, errors, fallbacks, latency_ms_sum, model_ms_count, model_ms_sum, confidence_sum"
    )
    op.execute(
        f"INSERT INTO exposure_sums ({keys}, error, {values})"  # noqa: S608 constants
        f" SELECT {keys}, '', {values} FROM earlier_exposure_sums"
    )
    op.drop_table("earlier_exposure_sums")


def _create_unit_pair_sums() -> None:
    op.rename_table("unit_pair_sums", "earlier_unit_pair_sums")
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
        Column("failed", BigInteger, nullable=False),
        Column("model_ms_count", BigInteger, nullable=False),
        Column("model_ms_sum", Float, nullable=False),
        Column("live_model_ms_sum", Float, nullable=False),
        Column("squared_difference_sum", Float, nullable=False),
        sqlite_with_rowid=False,
    )
    before = "epoch, day, unit, region, label, pairs, compared, agreed"
    after = "model_ms_count, model_ms_sum, live_model_ms_sum, squared_difference_sum"
    op.execute(
        f"INSERT INTO unit_pair_sums ({before}, failed, {after})"  # noqa: S608 constants
        f" SELECT {before}, 0, {after} FROM earlier_unit_pair_sums"
    )
    op.drop_table("earlier_unit_pair_sums")


def _create_labelled_feedback() -> None:
    op.rename_table("labelled_feedback", "earlier_labelled_feedback")
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
        Column("served", String, nullable=False),
        Column("predicted_label", String, nullable=False),
        Column("reported_at_ms", BigInteger, nullable=False),
        Column("reported_label", String, nullable=False),
        Column("correct", Boolean),
        Column("rating", Integer),
        Column("complaint", Boolean),
        sqlite_with_rowid=False,
    )
    before = "epoch, at_ms, writer, sequence, rule_id, unit, assigned, reason, region"
    after = "predicted_label, reported_at_ms, reported_label, correct, rating, complaint"
    op.execute(
        f"INSERT INTO labelled_feedback ({before}, served, {after})"  # noqa: S608 constants
        f" SELECT {before}, COALESCE((SELECT served FROM exposures"
        " WHERE exposures.writer = earlier.writer AND exposures.sequence = earlier.sequence), ''),"
        f" {after} FROM earlier_labelled_feedback AS earlier"
    )
    op.drop_table("earlier_labelled_feedback")
