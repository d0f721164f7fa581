"""The rule `single`: one version for all users."""

from __future__ import annotations

from typing import Literal

from serve_app.domain import Context, Plan, Reason
from serve_app.rules.rule import Rule, VersionName


class Single(Rule):
    """Each replica of the stable pool answers with the version that it is assigned.

    Attributes:
        stable: The version of the stable pool, for readers of the rule. Requests do not carry it:
            a rolling update changes the replicas one by one, while the rule changes at once.
    """

    kind: Literal["single"]
    stable: VersionName

    @property
    def versions(self) -> dict[str, str]:
        return {"stable": self.stable}

    def _assign(self, context: Context, *, ready: bool) -> Plan:
        return Plan(Reason.STATIC)
