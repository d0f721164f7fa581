"""Shadow pairs by unit; sums that nobody read go."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, String

revision = "0007"
down_revision = "0006"

UNREAD = {
    "exposure_sums": ("latency_squares", "model_squares"),
    "pair_sums": (
        "probability_sum",
        "weight_sum",
        "weight_squares",
        "latency_squares",
        "paired",
        "model_sum",
        "live_model_sum",
        "difference_sum",
        "difference_squares",
    ),
}


def upgrade() -> None:
    """Create the table; it begins with what is recorded from now on."""
    op.add_column("shadow_pairs", Column("unit", String))
    op.create_table(
        "unit_pair_sums",
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("day", Integer, primary_key=True, autoincrement=False),
        Column("unit", BigInteger, primary_key=True, autoincrement=False),
        Column("region", String, primary_key=True),
        Column("label", String, primary_key=True),
        Column("pairs", BigInteger, nullable=False),
        Column("asked", BigInteger, nullable=False),
        Column("same", BigInteger, nullable=False),
        Column("paired", BigInteger, nullable=False),
        Column("model_sum", Float, nullable=False),
        Column("live_model_sum", Float, nullable=False),
        Column("difference_squares", Float, nullable=False),
        sqlite_with_rowid=False,
    )
    for table, columns in UNREAD.items():
        for column in columns:
            op.drop_column(table, column)
