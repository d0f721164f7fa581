"""The rule `single`: one version for all users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from serve_app.rules.plan import Context, Plan, Pool, Reason
from serve_app.rules.pools import PoolNeed
from serve_app.rules.rule import Rule
from serve_app.rules.validation import VersionName


class Single(Rule):
    """Each replica of the stable pool answers with the version that it is assigned.

    Attributes:
        stable: The version of the stable pool, for readers of the rule. Requests do not carry it:
            a rolling update changes the replicas one by one, while the rule changes at once.
    """

    report: ClassVar[str] = "traffic"
    arm_names: ClassVar[tuple[str, ...]] = ("stable",)

    kind: Literal["single"]
    stable: VersionName

    @property
    def candidate(self) -> None:
        return None

    @property
    def pools(self) -> Mapping[Pool, PoolNeed]:
        return {Pool.STABLE: PoolNeed(self.stable, is_assigned=False)}

    def _assign(self, context: Context, *, ready: bool) -> Plan:
        return Plan(Reason.STATIC)
