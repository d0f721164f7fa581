"""The measured rules and their deployment files.

Each rule is that of its file in `deploy_configs`, with another weight. The generated files fix the
number of replicas, so that blocks differ only in the rule and the versions of the pools, and not in
autoscaling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.environments import ROOT
from models import registry
from serve_app.deployment import config
from serve_app.deployment.apply_rule import deployment, with_rule
from serve_app.deployment.names import INGRESS
from serve_app.deployment.scaling import ingress_scaling
from serve_app.rules.parse import parse_rule
from serve_app.rules.plan import Pool

FILES = ROOT / "deploy_configs"
SIZE_KEYS = ("min_replicas", "initial_replicas", "max_replicas")


@dataclass(frozen=True)
class Strategy:
    """A measured rule.

    Attributes:
        kind: Kind of the rule.
        weight: Replaces the weight in the file; None keeps the rule.
    """

    kind: str
    weight: float | None = None

    @property
    def name(self) -> str:
        return self.kind if self.weight is None else f"{self.kind}, weight {self.weight:g}"

    def content(self) -> dict[str, Any]:
        """The content of the rule, as in YAML."""
        document = config.read(FILES / f"{'base' if self.kind == 'single' else self.kind}.yaml")
        rule: dict[str, Any] = config.user_configs(document)[INGRESS]["rule"]
        return rule if self.weight is None else {**rule, "weight": self.weight}


SINGLE: Final = Strategy("single")
SHADOW: Final = Strategy("shadow")
PARALLEL, AB_TEST, ROLLING = "canary_parallel", "ab_test", "canary_rolling"
SPLITS: Final = (PARALLEL, AB_TEST, ROLLING)
ZERO_WEIGHT: Final = 0.0  # stable serves all requests, as under `single`
TENTH_WEIGHT: Final = 0.10


def fixed_size_document(strategy: Strategy, stable_replicas: int) -> dict[str, Any]:
    """A deployment file with a strategy, one ingress, one candidate replica and fixed pool sizes.

    The candidate replica runs under every rule; it is idle if the rule does not use it.
    """
    content = strategy.content()
    rule = parse_rule(content, registry.names(registry.SHIPPED))
    document = with_rule(config.read(FILES / "base.yaml"), content, rule)
    for name, replicas in replica_counts(stable_replicas).items():
        entry = deployment(document, name)
        scaling = entry.get("autoscaling_config") or ingress_scaling()
        entry["autoscaling_config"] = scaling | dict.fromkeys(SIZE_KEYS, replicas)
    return document


def replica_counts(stable_replicas: int) -> dict[str, int]:
    """Number of replicas by deployment."""
    return {INGRESS: 1, Pool.STABLE.value: stable_replicas, Pool.CANDIDATE.value: 1}
