"""The kinds of rules; the only list of them."""

from __future__ import annotations

from serve_app.rules.ab_test import ABTest
from serve_app.rules.canary import CanaryParallel, CanaryRolling
from serve_app.rules.rule import Rule
from serve_app.rules.shadow import Shadow
from serve_app.rules.single import Single

KINDS: dict[str, type[Rule]] = {
    "single": Single,
    "canary_rolling": CanaryRolling,
    "canary_parallel": CanaryParallel,
    "ab_test": ABTest,
    "shadow": Shadow,
}


def kinds_with_report(report: str) -> tuple[str, ...]:
    """The kinds that a report assesses."""
    return tuple(kind for kind, rule in KINDS.items() if rule.report == report)
