"""The rule `shadow`: stable serves all requests, and the candidate gets copies of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from serve_app.rules.plan import Context, Plan, Pool, Reason
from serve_app.rules.pools import PoolNeed
from serve_app.rules.review import ReviewSampling
from serve_app.rules.rule import ExperimentTerms, MirrorSettings, Rule
from serve_app.rules.settings import ShadowTolerances
from serve_app.rules.split import ExperimentName, Timeout
from serve_app.rules.validation import VersionName


def default_experiment(rule: Mapping[str, Any]) -> str:
    """The name of a shadow whose rule gives none."""
    return f"shadow-{rule['stable']}-{rule['candidate']}"


class Shadow(Rule):
    """Stable serves all requests. The candidate gets copies; no response waits for it.

    Attributes:
        stable: The version of the stable pool, for readers of the rule, as in `Single`.
        candidate: The version that gets the copies.
        experiment: The name of the experiment; by default `shadow-{stable}-{candidate}`, such as
            `shadow-v1-v2`.
        sample: The share of requests that is copied, above 0 to 1.
        max_in_flight: The most copied images that one ingress may have outstanding. A request
            that would exceed it is shed, unless no copy is outstanding.
        timeout_s: The timeout of a copy, in seconds.
        review: Which images are kept for review; by default none.
        tolerances: What is tolerated of the candidate.
    """

    report: ClassVar[str] = "shadow"

    kind: Literal["shadow"]
    stable: VersionName
    candidate: VersionName
    experiment: ExperimentName = Field(default_factory=default_experiment, validate_default=True)
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 32
    timeout_s: Timeout = 5.0
    review: ReviewSampling | None = None
    tolerances: ShadowTolerances = ShadowTolerances()

    @property
    def pools(self) -> Mapping[Pool, PoolNeed]:
        return {
            Pool.STABLE: PoolNeed(self.stable, is_assigned=False),
            Pool.CANDIDATE: PoolNeed(self.candidate, background=True, min_replicas=1),
        }

    @cached_property
    def mirror(self) -> MirrorSettings:
        return MirrorSettings(self.sample, self.max_in_flight, self.timeout_s, self.review)

    @property
    def experiment_terms(self) -> ExperimentTerms:
        terms = {"kind": self.kind, "versions": list(self.versions.values())}
        return ExperimentTerms(self.experiment, terms)

    @property
    def share(self) -> float:
        return self.sample

    def sentence(self) -> str:
        copied = f"copies of {100 * self.sample:.3g} % of them"
        return f"{super().sentence()}, and {self.candidate} gets {copied}"

    def _share_keys(self, share: float) -> dict[str, Any]:
        return {"sample": share}

    def _assign(self, context: Context, *, ready: bool) -> Plan:
        return Plan(Reason.STATIC)
