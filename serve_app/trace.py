"""What is known of a request once it is answered: a line of the log, a step of the metrics."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

CLIENT_GONE = "client_gone"  # the error of a request whose client hung up


@dataclass(slots=True)
class Trace:
    """One request's line in the log; filled in while it is answered.

    Attributes:
        route: The path's template, such as `/v1/models/{version}`; empty if there is none.
        error: The code of the problem that it was answered with.
        images: How many it held.
    """

    request_id: str
    method: str
    path: str
    route: str = ""
    status: int = 0
    latency_ms: float = 0.0
    error: str | None = None
    rule_id: str | None = None
    rule: str | None = None
    reason: str | None = None
    assigned: str | None = None
    served: str | None = None
    user: str | None = None
    region: str | None = None
    images: int = 0
    model_ms: float | None = None

    def fields(self) -> dict[str, Any]:
        """All attributes by name: `dataclasses.asdict` for a tenth of its cost, without copies."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(field.name for field in fields(Trace))
