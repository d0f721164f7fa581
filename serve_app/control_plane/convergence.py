"""Convergence: whether the deployed configuration is in force, and what is lacking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from serve_app.control_plane.cluster import (
    DEPLOY_FAILED,
    DEPLOYING,
    RUNNING,
    ApplicationState,
    ClusterState,
    DataPlaneReplicas,
    DeploymentState,
    IngressReplica,
)
from serve_app.data_plane.pools import Replica
from serve_app.deployment.config import ROUTES, user_configs
from serve_app.deployment.names import DATA_PLANE, INGRESS
from serve_app.deployment.summary import summarize
from serve_app.digest import json_digest
from serve_app.errors import BadConfig
from serve_app.rules.plan import Pool
from serve_app.rules.pools import PoolConfig
from serve_app.rules.rule import Rule
from serve_app.rules.validation import validate

# Of deployments that are changing their size only.
_HEALTHY = ("HEALTHY", "UPSCALING", "DOWNSCALING")
_CHANGING = ("UPDATING", "DEPLOYING", "NOT_STARTED", "DELETING")


class Code(StrEnum):
    """What is lacking before a configuration is in force, the most important first.

    Attributes:
        DEPLOY_FAILED: Serve cannot deploy an application.
        REJECTED: A replica rejected its configuration.
        MISSING: An application is not deployed.
        UNHEALTHY: An application or a deployment is not healthy.
        RECREATING: The data plane is being recreated.
        STARTING: A pool or the ingress has no replica yet.
        UPDATING: A replica of a pool has another version.
        RULE: An ingress has another rule.
        CANDIDATE: An ingress has not found the candidate yet.
        DEPLOYING: An application or a deployment is changing.
        NOT_RECORDED: The deployed configuration has no revision yet.
    """

    DEPLOY_FAILED = "deploy_failed"
    REJECTED = "rejected"
    MISSING = "missing"
    UNHEALTHY = "unhealthy"
    RECREATING = "recreating"
    STARTING = "starting"
    UPDATING = "updating"
    RULE = "rule"
    CANDIDATE = "candidate"
    DEPLOYING = "deploying"
    NOT_RECORDED = "not_recorded"


TROUBLES = (Code.UNHEALTHY, Code.MISSING, Code.DEPLOY_FAILED, Code.REJECTED)
FATAL = (Code.DEPLOY_FAILED, Code.REJECTED)


@dataclass(frozen=True, slots=True)
class Lacking:
    """One thing that is lacking, as a sentence."""

    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class Convergence:
    """What is lacking before the deployed configuration is in force, the most important first."""

    lacking: tuple[Lacking, ...]

    @property
    def in_force(self) -> bool:
        return not self.lacking

    @property
    def has_failed(self) -> bool:
        """Whether waiting is of no use: somebody has to deploy another configuration."""
        return any(item.code in FATAL for item in self.lacking)

    @property
    def troubles(self) -> tuple[str, ...]:
        """The sentences that are not mere progress."""
        return tuple(item.message for item in self.lacking if item.code in TROUBLES)


def assess(state: ClusterState, replicas: DataPlaneReplicas) -> Convergence:
    """Compare the deployed configuration with the state of the cluster and of the replicas.

    Only our two applications count: the state of another one beside them is its owner's.
    """
    order = list(Code)
    found = sorted(_lacking(state, replicas), key=lambda item: order.index(item.code))
    return Convergence(tuple(found))


def _lacking(state: ClusterState, replicas: DataPlaneReplicas) -> Iterator[Lacking]:
    for name, application in state.applications.items():
        if name in ROUTES:
            yield from _lacking_of_application(name, application)
    if DATA_PLANE not in state.applications:
        yield Lacking(Code.MISSING, f"the application {DATA_PLANE} is not deployed")
        return
    deployments = state.applications[DATA_PLANE].deployments
    configs = user_configs(state.config)
    rule = summarize(state.config).rule
    yield from _lacking_of_ingress(configs, rule, deployments.get(INGRESS), replicas)
    for pool in rule.pools if rule else (Pool.STABLE,):
        described = [replica for replica in replicas.pools if replica.pool == pool]
        yield from _lacking_of_pool(pool, configs.get(pool), deployments.get(pool), described)
    if rule and rule.candidate and not all(r.candidate_ready for r in replicas.ingress):
        yield Lacking(Code.CANDIDATE, f"waiting for candidate {rule.candidate} to become ready")


def _lacking_of_application(name: str, application: ApplicationState) -> Iterator[Lacking]:
    if application.status != RUNNING:
        yield _describe(f"application {name}", application.status, application.message)
    for deployment, details in application.deployments.items():
        # Serve still shows the failure of a deployment for a moment after it was deployed again.
        is_stale = details.status == DEPLOY_FAILED and application.status == DEPLOYING
        if details.status not in _HEALTHY and not is_stale:
            yield _describe(f"deployment {deployment}", details.status, details.message)


def _describe(name: str, status: str, message: str) -> Lacking:
    if status in _CHANGING:
        return Lacking(Code.DEPLOYING, f"{name} is {status.replace('_', ' ').lower()}")
    code = Code.DEPLOY_FAILED if status == DEPLOY_FAILED else Code.UNHEALTHY
    last_line = message.strip().splitlines()[-1:]
    return Lacking(code, f"{name} is {status}" + (f": {last_line[0]}" if last_line else ""))


def _lacking_of_ingress(
    configs: dict[str, Any],
    rule: Rule | None,
    deployment: DeploymentState | None,
    replicas: DataPlaneReplicas,
) -> Iterator[Lacking]:
    digest = json_digest(configs.get(INGRESS))
    for rejection in _rejections(replicas.ingress, digest):
        yield Lacking(Code.REJECTED, f"a rule was rejected: {rejection}")
    running = max(len(replicas.ingress), deployment.running if deployment else 0)
    updated = sum(replica.config_digest == digest for replica in replicas.ingress)
    if not running:
        yield Lacking(Code.STARTING, f"starting {INGRESS}")
    elif updated < running:
        name = f"rule {rule.rule_id}" if rule else "the new rule"
        yield Lacking(Code.RULE, f"{updated} of {running} ingresses have {name}")


def _lacking_of_pool(
    pool: Pool, user_config: Any, deployment: DeploymentState | None, described: list[Replica]
) -> Iterator[Lacking]:
    if user_config is None:  # Serve is deleting it, or does not report it yet
        yield Lacking(Code.DEPLOYING, f"{pool} has no configuration")
        return
    try:
        config = validate(PoolConfig, user_config, "")
    except BadConfig as exc:
        yield Lacking(Code.REJECTED, f"{pool}: {exc}")
        return
    digest = json_digest(user_config)
    rejections = _rejections(described, digest)
    for rejection in rejections:
        yield Lacking(Code.REJECTED, f"{pool} rejected its configuration: {rejection}")
    if not described:
        target = (deployment.target if deployment else 0) or 1
        yield Lacking(
            Code.STARTING, f"starting {config.version} on {pool} (0 of {target} replicas ready)"
        )
        return
    # A running replica that does not report its version in time may have any version.
    running = max(len(described), deployment.running if deployment else 0)
    size = config.patch.of if config.patch else running
    versions = Counter(replica.version or "none" for replica in described)
    expected = Counter(config.version_of_rank(rank) for rank in range(size))
    if versions != expected:
        yield Lacking(Code.UPDATING, _describe_update(pool, config, versions, expected))
    elif not rejections and any(replica.config_digest != digest for replica in described):
        yield Lacking(Code.UPDATING, f"{pool} has not read its configuration yet")


def _rejections(replicas: Iterable[IngressReplica | Replica], digest: str) -> list[str]:
    """What replicas rejected of the configuration with a digest, each text once."""
    texts = {
        f"{replica.rejected['path']} {replica.rejected['message']}"
        for replica in replicas
        if replica.rejected and replica.config_digest == digest
    }
    return sorted(texts)


def _describe_update(
    pool: Pool, config: PoolConfig, versions: Counter[str], expected: Counter[str]
) -> str:
    if config.patch:
        return f"updating {pool} to {_counts(expected)} (now {_counts(versions)})"
    ready = versions[config.version]
    return f"updating {pool} to {config.version} ({ready} of {expected.total()} replicas ready)"


def _counts(versions: Counter[str]) -> str:
    """Counts as text, such as `1 v2, 3 v1`."""
    return ", ".join(f"{count} {version}" for version, count in sorted(versions.items()))
