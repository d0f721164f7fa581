"""Labels of feedback that no version has are kept apart from those that count as the truth.

Earlier feedback stays as it is.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "0004_unknown_labels"
down_revision = "0003_units"


def upgrade() -> None:
    """Add a column for them to both tables of feedback."""
    op.add_column("feedback", Column("unknown_label", String))
    op.add_column("labelled_feedback", Column("unknown_label", String))
