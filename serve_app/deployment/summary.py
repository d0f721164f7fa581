"""The parts of a deployment file that people ask for first: the rule and the versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serve_app.deployment.config import user_configs
from serve_app.deployment.names import INGRESS
from serve_app.errors import BadConfig
from serve_app.rules.parse import read_rule
from serve_app.rules.plan import Pool
from serve_app.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Summary:
    """The rule and the stable version of a deployment file.

    Attributes:
        rule: None if the file has no valid rule, as one deployed with Ray's command may.
        stable: The version that the stable pool is assigned; None if the file names none.
    """

    rule: Rule | None
    stable: str | None

    @property
    def candidate(self) -> str | None:
        return self.rule.candidate if self.rule else None

    @property
    def experiment(self) -> str | None:
        """The name of the rule's experiment; None without one."""
        terms = self.rule.experiment_terms if self.rule else None
        return terms.name if terms else None

    @property
    def sentence(self) -> str:
        """Who gets which version."""
        return self.rule.sentence() if self.rule else "no valid rule"

    def content(self) -> dict[str, Any]:
        """The summary as JSON."""
        rule = self.rule
        return {
            "kind": rule.kind if rule else None,
            "stable": self.stable,
            "candidate": self.candidate,
            "share": rule.share if rule and self.candidate else None,
            "experiment": self.experiment,
            "sentence": self.sentence,
        }


def summarize(document: dict[str, Any]) -> Summary:
    """The summary of a deployment file, checked or not."""
    configs = user_configs(document)
    try:
        rule = read_rule(_get(configs.get(INGRESS), "rule"))
    except BadConfig:
        rule = None
    stable = _get(configs.get(Pool.STABLE), "version")
    return Summary(rule, stable if isinstance(stable, str) else None)


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, dict) else None
