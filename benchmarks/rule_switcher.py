"""Changes the rule of a running service between two blocks of load."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.strategies import Strategy, fixed_size_document, replica_counts
from serve_app.client import Client
from serve_app.control_plane.changes import Deploy
from serve_app.deployment.names import DATA_PLANE
from serve_app.errors import NotRunning, Rejected

WAIT_S = 120.0
POLL_S = 0.2
STORED_S = 10.0  # timeout for storing copies; recorders deliver every 0.5 s
STORED_POLL_S = 1.0
ACTOR = "benchmarks"


class NotInForce(Exception):
    """A rule was not in force in time; the text says what is missing."""


class RuleSwitcher:
    """Changes the rule of a service and waits until all processes apply it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def switch(self, strategy: Strategy, stable_replicas: int) -> None:
        """Put a strategy in force, with pools of a fixed size.

        Raises:
            NotInForce: The timeout `WAIT_S` expired.
            NotRunning, Rejected: See `Client`.
        """
        document = fixed_size_document(strategy, stable_replicas)
        change = Deploy(actor=ACTOR, reason=strategy.name, document=document, base_revision=None)
        revision = self._client.apply(change)["revision"]
        deadline = time.monotonic() + WAIT_S
        while missing := self._missing(revision, stable_replicas):
            if time.monotonic() > deadline:
                raise NotInForce(f"{strategy.name} after {WAIT_S:g} s: {'; '.join(missing)}")
            time.sleep(POLL_S)

    def copy_counts(self) -> dict[str, int]:
        """Copies of the shadow by outcome so far; waits until all are stored."""
        deadline = time.monotonic() + STORED_S
        found = self._read_copy_counts()
        while time.monotonic() < deadline:
            time.sleep(STORED_POLL_S)
            before, found = found, self._read_copy_counts()
            if found == before:
                break
        return found

    def _read_copy_counts(self) -> dict[str, int]:
        counts: dict[str, int] = self._client.status()["recording"]["shadow"]
        return counts

    def _missing(self, revision: int, stable_replicas: int) -> list[str]:
        try:
            rule, status = self._client.rule(), self._client.status()
        except (NotRunning, Rejected) as exc:  # the service is changing
            return [str(exc)]
        found = [item["message"] for item in status["lacking"]]
        if status["revision"] != revision:
            found.append(f"revision {status['revision']} is deployed")
        candidate = rule["candidate"]
        if candidate and not (candidate["ready"] and candidate["up"]):  # also at weight 0
            found.append(f"the candidate {candidate['version']} is not ready")
        return found + _size_mismatches(status, replica_counts(stable_replicas))


def _size_mismatches(status: dict[str, Any], wanted: Mapping[str, int]) -> list[str]:
    """One text for each deployment without exactly the wanted number of running replicas."""
    deployments = status["applications"].get(DATA_PLANE, {}).get("deployments", {})
    found = []
    for name, replicas in wanted.items():
        states = [replica["state"] for replica in deployments.get(name, {}).get("replicas", [])]
        if states != ["RUNNING"] * replicas:
            found.append(f"{name} has {', '.join(states) or 'no replica'}")
    return found
