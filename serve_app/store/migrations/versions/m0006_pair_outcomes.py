"""What became of each writer's shadow pairs, beside how many there are."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, func, select, update
from sqlalchemy.sql import column, table

revision = "0006"
down_revision = "0005"

WRITERS = table("writers", column("writer"), column("copied_pairs"), column("failed_pairs"))
PAIRS = table("shadow_pairs", column("writer"), column("outcome"))


def upgrade() -> None:
    """Add the counts; those of pairs that were removed already count as shed."""
    for outcome in ("copied", "failed"):
        name = f"{outcome}_pairs"
        op.add_column("writers", Column(name, BigInteger, nullable=False, server_default="0"))
        counted = (
            select(func.count())
            .where(PAIRS.c.writer == WRITERS.c.writer, PAIRS.c.outcome == outcome)
            .scalar_subquery()
        )
        op.execute(update(WRITERS).values({name: counted}))
