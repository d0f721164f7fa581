"""Parameters that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

RevisionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=1000, description="The largest number of items.")]

_AGE = "an age such as 30m, 24h or 7d, or an ISO 8601 time"

Since = Annotated[str, Query(description=f"Start of the period: {_AGE}.", max_length=50)]
OptionalSince = Annotated[
    str | None,
    Query(description=f"Start of the period: {_AGE}; by default, all records.", max_length=50),
]
Until = Annotated[
    str | None, Query(description=f"End of the period: {_AGE}; by default, now.", max_length=50)
]
Region = Annotated[
    str | None,
    Query(
        description="A country code, or a group of countries such as australia-pacific.",
        max_length=50,
    ),
]
Experiment = Annotated[
    str | None,
    Query(description="The experiment's name; by default, the latest one.", max_length=100),
]
