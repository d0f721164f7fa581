"""Counts of what the store recorded, for comparison with what was sent."""

from __future__ import annotations

from typing import Any


class StoreCounts:
    """What the store recorded since the creation of this object."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self._start = self._read_counts()
        self._start_feedback = self._count_feedback_rows()

    def exposures(self) -> int:
        """Exposures that are stored or known to be missing."""
        return self._increase("stored") + self._increase("missing")

    def missing(self) -> int:
        """Exposures whose rows are missing."""
        return self._increase("missing")

    def dropped(self) -> int:
        """Exposures that the ingress dropped."""
        return self._increase("dropped")

    def pairs(self) -> int:
        """Shadow pairs that are stored (copied, failed or shed) or dropped."""
        return self._increase("shadow_pairs") + self._increase("dropped_shadow_pairs")

    def feedback(self) -> int:
        """Rows of feedback."""
        return self._count_feedback_rows() - self._start_feedback

    def _increase(self, count: str) -> int:
        return int(self._read_counts()[count] - self._start[count])

    def _read_counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = self._service.get_control("status")["recording"]
        return counts

    def _count_feedback_rows(self) -> int:
        path = self._service.home / "feedback.csv"
        self._service.command("export", "--force", "feedback", str(path))
        return len(path.read_text().splitlines()) - 1
