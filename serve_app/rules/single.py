"""One version for everybody."""

from __future__ import annotations

from typing import Literal

from serve_app.domain import Context, Plan, Reason
from serve_app.rules.rule import Rule, VersionName


class Single(Rule):
    """Every replica of the stable pool answers with whatever it is assigned.

    Attributes:
        stable: What the pool is assigned, for readers: during a rolling update the replicas
            change one by one, and the rule need not change with them at the same instant.
    """

    kind: Literal["single"]
    stable: VersionName

    @property
    def versions(self) -> dict[str, str]:
        """See `Rule.versions`."""
        return {"stable": self.stable}

    def _assign(self, context: Context, *, ready: bool) -> Plan:
        return Plan(Reason.STATIC)
