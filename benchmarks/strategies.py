"""The rules that are measured, and the deployment files that put them in force.

Each rule is that of its file in `deploy_configs`, at another weight.  The files made from it fix
the size of every deployment, so that only the rule, and what it has the pools hold, differs
between two blocks: what autoscaling does in a block is no cost of a rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.environments import ROOT
from models import registry
from serve_app.deployment import config
from serve_app.deployment.apply_rule import deployment, with_rule
from serve_app.deployment.scaling import ingress_scaling
from serve_app.domain import INGRESS, Pool
from serve_app.rules.parse import parse_rule

FILES = ROOT / "deploy_configs"
SIZE_KEYS = ("min_replicas", "initial_replicas", "max_replicas")


@dataclass(frozen=True)
class Strategy:
    """A rule to be measured.

    Attributes:
        kind: As in the rule.
        weight: Instead of the file's; None leaves the rule as it is.
    """

    kind: str
    weight: float | None = None

    @property
    def name(self) -> str:
        return self.kind if self.weight is None else f"{self.kind}, weight {self.weight:g}"

    def content(self) -> dict[str, Any]:
        """The rule, as in the YAML."""
        document = config.read(FILES / f"{'base' if self.kind == 'single' else self.kind}.yaml")
        rule: dict[str, Any] = config.user_configs(document)[INGRESS]["rule"]
        return rule if self.weight is None else {**rule, "weight": self.weight}


SINGLE: Final = Strategy("single")
SHADOW: Final = Strategy("shadow")
PARALLEL, AB_TEST, ROLLING = "canary_parallel", "ab_test", "canary_rolling"
SPLITS: Final = (PARALLEL, AB_TEST, ROLLING)
MACHINERY: Final = 0.0  # of weight: stable answers everybody, as in `single`
TENTH: Final = 0.10


def fixed(strategy: Strategy, stable_replicas: int) -> dict[str, Any]:
    """A deployment file: a strategy over one ingress, one candidate and so many stable replicas.

    The candidate's replica is there under every rule, warm and idle where the rule asks it nothing.
    """
    content = strategy.content()
    rule = parse_rule(content, registry.names(registry.SHIPPED))
    document = with_rule(config.read(FILES / "base.yaml"), content, rule)
    for name, replicas in sizes(stable_replicas).items():
        entry = deployment(document, name)
        scaling = entry.get("autoscaling_config") or ingress_scaling()
        entry["autoscaling_config"] = scaling | dict.fromkeys(SIZE_KEYS, replicas)
    return document


def sizes(stable_replicas: int) -> dict[str, int]:
    """Replicas by deployment."""
    return {INGRESS: 1, Pool.STABLE.value: stable_replicas, Pool.CANDIDATE.value: 1}
