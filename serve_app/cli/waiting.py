"""Waits until a deployed revision is in force, and reports the progress."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import typer

from serve_app.cli.options import count_versions, format_counts
from serve_app.client import Client
from serve_app.deployment.config import user_configs
from serve_app.domain import DATA_PLANE, INGRESS, Pool
from serve_app.errors import DeployFailed, NotRunning, Rejected
from serve_app.health import troubles
from serve_app.rules.parse import KINDS, PoolConfig
from serve_app.rules.rule import Rule

IN_FORCE_TIMEOUT_S = 180.0
RECREATION_TIMEOUT_S = 1200.0  # longer than the Controller's own timeout
POLL_S = 0.5
STALE_REJECTION_S = 10.0  # the rejection of an earlier rule may be reported for as long
SETTLE_S = 1.0  # Serve may report the old state for as long
RECREATION_START_TIMEOUT_S = 10.0
RECENT_REVISIONS = 20  # that are searched for the new revision


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The rule that should be in force, and the configuration of the pools that it needs."""

    rule: Rule
    pools: dict[Pool, PoolConfig]


def desired_state(document: dict[str, Any]) -> DesiredState:
    """The desired state of a checked deployment document."""
    configs = user_configs(document)
    content = configs[INGRESS]["rule"]
    rule = KINDS[content["kind"]].model_validate(content)
    candidate = rule.candidate_replicas
    needed = {Pool.STABLE, candidate.pool if candidate else Pool.STABLE}
    pools = {pool: PoolConfig.model_validate(configs[pool]) for pool in Pool if pool in needed}
    return DesiredState(rule, pools)


def wait_until_in_force(client: Client, revision: int) -> None:
    """Wait until a new revision is in force; print the progress to stderr.

    Raises:
        DeployFailed: The rule is rejected, a newer revision was deployed, or the timeout passed.
    """
    desired: DesiredState | None = None
    deadline = time.monotonic() + IN_FORCE_TIMEOUT_S
    rejected_until = time.monotonic() + STALE_REJECTION_S
    unmet = ["Serve has not started the deployment"]
    progress = _ProgressPrinter()
    time.sleep(SETTLE_S)
    while time.monotonic() < deadline:
        try:
            desired = desired or desired_state(_find_document(client, revision))
            rule, status = client.rule(), client.status()
            if (status["revision"] or 0) > revision:
                raise DeployFailed(f"revision {status['revision']} was deployed in the meantime")
        except (NotRunning, Rejected) as exc:  # the application is being replaced
            unmet = [str(exc)]
        else:
            found, conditions = troubles(status, rule), unmet_conditions(desired, rule, status)
            if rule["rejected"] and time.monotonic() > rejected_until:
                raise DeployFailed("; ".join(found))
            if not (found or conditions):
                typer.echo(f"rule {desired.rule.rule_id} is in force")
                return
            progress.print("; ".join(conditions))
            unmet = found + conditions
        time.sleep(POLL_S)
    raise DeployFailed(
        f"not in force after {IN_FORCE_TIMEOUT_S:g} s: {'; '.join(unmet)}; see serve-app status"
    )


def wait_until_recreated(client: Client, revision: int) -> float | None:
    """Wait until the data plane of a revision is recreated; print the progress to stderr.

    Returns:
        The downtime in seconds; None if it is unknown, because the Controller was restarted.

    Raises:
        DeployFailed: The recreation failed, or the timeout passed.
    """
    deadline = time.monotonic() + RECREATION_TIMEOUT_S
    start_deadline = time.monotonic() + RECREATION_START_TIMEOUT_S
    progress = _ProgressPrinter()
    time.sleep(SETTLE_S)
    while time.monotonic() < deadline:
        try:
            recreation = client.status()["recreation"]
        except (NotRunning, Rejected):  # the proxy is busy with the replaced applications
            pass
        else:
            if recreation is None or recreation["revision"] != revision:
                if time.monotonic() > start_deadline:
                    return None
            elif recreation["state"] == "done":
                return float(recreation["downtime_s"])
            elif recreation["state"] == "failed":
                raise DeployFailed(
                    f"the data plane could not be recreated: {recreation['message']}"
                )
            else:
                progress.print(f"{recreation['state']} the data plane")
        time.sleep(POLL_S)
    raise DeployFailed(f"not recreated after {RECREATION_TIMEOUT_S:g} s; see serve-app status")


def unmet_conditions(
    desired: DesiredState, rule: dict[str, Any], status: dict[str, Any]
) -> list[str]:
    """What the service still has to do to reach a desired state, one text per step.

    Args:
        rule: The response of `GET /v1/rule`.
        status: The response of `GET /control/status`.
    """
    found = []
    if rule["rule_id"] != desired.rule.rule_id:
        found.append(f"waiting for rule {desired.rule.rule_id} to replace rule {rule['rule_id']}")
    for pool in rule["pools"]:
        if config := desired.pools.get(pool["pool"]):
            found += _unmet_in_pool(pool["pool"], config, count_versions(pool), status)
    candidate = desired.rule.candidate_replicas
    if candidate and not (rule["candidate"] or {}).get("ready"):
        found.append(f"waiting for candidate {candidate.version} to become ready")
    return found


def _unmet_in_pool(
    pool: str, config: PoolConfig, versions: Counter[str], status: dict[str, Any]
) -> list[str]:
    deployments = status["applications"].get(DATA_PLANE, {}).get("deployments", {})
    deployment = deployments.get(pool, {})
    if not versions:
        target = deployment.get("target") or 1
        return [f"starting {config.version} on {pool} (0 of {target} replicas ready)"]
    # A running replica that does not report its version in time may have any version.
    running = sum(replica["state"] == "RUNNING" for replica in deployment.get("replicas", []))
    size = config.patch.of if config.patch else max(versions.total(), running)
    expected = Counter(config.version_of_rank(rank) for rank in range(size))
    if versions == expected:
        return []
    if config.patch:
        return [f"updating {pool} to {format_counts(expected)} (now {format_counts(versions)})"]
    ready = versions[config.version]
    return [f"updating {pool} to {config.version} ({ready} of {size} replicas ready)"]


def _find_document(client: Client, revision: int) -> dict[str, Any]:
    documents = {entry["number"]: entry["document"] for entry in client.revisions(RECENT_REVISIONS)}
    if revision not in documents:
        raise DeployFailed(
            f"{RECENT_REVISIONS} or more other revisions were deployed in the meantime"
        )
    document: dict[str, Any] = documents[revision]
    return document


class _ProgressPrinter:
    """Prints progress texts to stderr, each only when it changes."""

    def __init__(self) -> None:
        self._last = ""

    def print(self, text: str) -> None:
        if text and text != self._last:
            typer.echo(text, err=True)
        self._last = text
