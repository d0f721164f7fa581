"""Waiting until what was sent is in force, and saying how far it is."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import typer

from serve_app.cli.options import held, tally
from serve_app.client import Client
from serve_app.deployment.config import user_configs
from serve_app.domain import DATA_PLANE, INGRESS, Pool
from serve_app.errors import DeployFailed, NotRunning, Rejected
from serve_app.health import troubles
from serve_app.rules.parse import KINDS, PoolConfig
from serve_app.rules.rule import Rule

WAIT_S = 180.0
RECREATED_S = 1200.0  # the Controller gives up before
POLL_S = 0.5
REJECTED_S = 10.0  # a rule that was rejected before may show as long
SETTLE_S = 1.0  # Serve reports the old state for as long
BEGUN_S = 10.0  # by then a recreation has begun
RECENT = 20  # revisions, of which the one that was just made is one


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to come into force: a rule, and what the pools that it needs are assigned."""

    rule: Rule
    pools: dict[Pool, PoolConfig]


def goal(document: dict[str, Any]) -> Goal:
    """What a checked deployment file asks for."""
    configs = user_configs(document)
    content = configs[INGRESS]["rule"]
    rule = KINDS[content["kind"]].model_validate(content)
    candidate = rule.candidate_replicas
    needed = {Pool.STABLE, candidate.pool if candidate else Pool.STABLE}
    pools = {pool: PoolConfig.model_validate(configs[pool]) for pool in Pool if pool in needed}
    return Goal(rule, pools)


def until_in_force(client: Client, revision: int) -> None:
    """Wait for a revision that was just made.

    Raises:
        DeployFailed: Its rule is rejected, or another one was made since, or it is not in force in
            time.
    """
    wanted: Goal | None = None
    deadline = time.monotonic() + WAIT_S
    rejected_for_good = time.monotonic() + REJECTED_S
    missing = ["Serve has not begun"]
    progress = _Progress()
    time.sleep(SETTLE_S)
    while time.monotonic() < deadline:
        try:
            wanted = wanted or goal(_document(client, revision))
            rule, status = client.rule(), client.status()
            if (status["revision"] or 0) > revision:
                raise DeployFailed(f"revision {status['revision']} was made meanwhile")
        except (NotRunning, Rejected) as exc:  # being replaced
            missing = [str(exc)]
        else:
            found, lacks = troubles(status, rule), lacking(wanted, rule, status)
            if rule["rejected"] and time.monotonic() > rejected_for_good:
                raise DeployFailed("; ".join(found))
            if not (found or lacks):
                typer.echo(f"rule {wanted.rule.rule_id} is in force")
                return
            progress.tell("; ".join(lacks))
            missing = found + lacks
        time.sleep(POLL_S)
    raise DeployFailed(
        f"not in force after {WAIT_S:g} s: {'; '.join(missing)}; see serve-app status"
    )


def until_recreated(client: Client, revision: int) -> float | None:
    """Wait until the data plane of a revision was torn down and built.

    Returns:
        For how many seconds nobody was answered; None if that is not known, for another
        Controller took over meanwhile.

    Raises:
        DeployFailed: It could not be built, or not in time.
    """
    deadline = time.monotonic() + RECREATED_S
    begun = time.monotonic() + BEGUN_S
    progress = _Progress()
    time.sleep(SETTLE_S)
    while time.monotonic() < deadline:
        try:
            recreation = client.status()["recreation"]
        except (NotRunning, Rejected):  # the proxy is busy with what comes and goes
            pass
        else:
            if recreation is None or recreation["revision"] != revision:
                if time.monotonic() > begun:
                    return None
            elif recreation["state"] == "done":
                return float(recreation["downtime_s"])
            elif recreation["state"] == "failed":
                raise DeployFailed(
                    f"the data plane could not be recreated: {recreation['message']}"
                )
            else:
                progress.tell(f"{recreation['state']} the data plane")
        time.sleep(POLL_S)
    raise DeployFailed(f"not recreated after {RECREATED_S:g} s; see serve-app status")


def lacking(wanted: Goal, rule: dict[str, Any], status: dict[str, Any]) -> list[str]:
    """What is not yet as it is wanted, a sentence each.

    Args:
        rule: What `GET /v1/rule` answers.
        status: What `GET /control/status` answers.
    """
    found = []
    if rule["rule_id"] != wanted.rule.rule_id:
        found.append(f"rule {rule['rule_id']} is still in force")
    for pool in rule["pools"]:
        if config := wanted.pools.get(pool["pool"]):
            running = _running(status, pool["pool"])
            found += _lacking_in(pool["pool"], config, held(pool), running)
    candidate = wanted.rule.candidate_replicas
    if candidate and not (rule["candidate"] or {}).get("ready"):
        found.append(f"the candidate {candidate.version} is not ready")
    return found


def _lacking_in(pool: str, config: PoolConfig, has: Counter[str], running: int) -> list[str]:
    if not has:
        return [f"no replica of {pool} tells what it holds"]
    # A replica that runs and does not tell in time may hold anything.
    size = config.patch.of if config.patch else max(has.total(), running)
    expected = Counter(config.assigned(rank) for rank in range(size))
    if has == expected:
        return []
    if config.patch:
        return [f"{pool} holds {tally(has)}: expected {tally(expected)}"]
    return [f"{pool}: {has[config.version]} of {size} replicas hold {config.version}"]


def _document(client: Client, revision: int) -> dict[str, Any]:
    documents = {entry["number"]: entry["document"] for entry in client.revisions(RECENT)}
    if revision not in documents:
        raise DeployFailed(f"{RECENT} other revisions or more were made meanwhile")
    document: dict[str, Any] = documents[revision]
    return document


def _running(status: dict[str, Any], pool: str) -> int:
    deployments = status["applications"].get(DATA_PLANE, {}).get("deployments", {})
    replicas = deployments.get(pool, {}).get("replicas", [])
    return sum(replica["state"] == "RUNNING" for replica in replicas)


class _Progress:
    """Says on stderr what changes."""

    def __init__(self) -> None:
        self._told = ""

    def tell(self, text: str) -> None:
        if text and text != self._told:
            typer.echo(text, err=True)
        self._told = text
