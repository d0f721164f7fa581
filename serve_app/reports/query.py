"""What a report is asked for. No statistics are imported, so that the HTTP layer starts fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """The period, the region and the experiment of a report.

    Attributes:
        since, until, region: See `serve_app.reports.period.parse_period`.
        experiment: The name of an experiment; None for the newest. The traffic report ignores it.
    """

    since: str | None = None
    until: str | None = None
    region: str | None = None
    experiment: str | None = None
