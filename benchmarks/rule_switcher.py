"""A running service whose rule is changed between two blocks of load."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.strategies import Strategy, fixed, sizes
from serve_app.cli.waiting import Goal, goal, lacking
from serve_app.client import Client
from serve_app.domain import DATA_PLANE
from serve_app.errors import NotRunning, Rejected
from serve_app.health import troubles

WAIT_S = 120.0
SETTLE_S = 1.0  # Serve reports the old state for as long
POLL_S = 0.2
STORED_S = 10.0  # until the store has what was copied; it comes every half second
ACTOR = "benchmarks"


class NotInForce(Exception):
    """A rule did not come into force in time; the text says what was missing."""


class RuleSwitcher:
    """Changes the rule of a service, and returns once every process obeys it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def turn(self, strategy: Strategy, stable_replicas: int) -> None:
        """Put a strategy in force, over pools of a fixed size.

        Raises:
            NotInForce: It took too long.
            NotRunning, Rejected: See `Client`.
        """
        document = fixed(strategy, stable_replicas)
        wanted = goal(document)
        self._client.deploy(document, ACTOR, strategy.name)
        deadline = time.monotonic() + WAIT_S
        time.sleep(SETTLE_S)
        while missing := self._missing(wanted, stable_replicas):
            if time.monotonic() > deadline:
                raise NotInForce(f"{strategy.name} after {WAIT_S:g} s: {'; '.join(missing)}")
            time.sleep(POLL_S)

    def copies(self) -> dict[str, int]:
        """How many copies of a shadow had each outcome so far, once the store has them all."""
        deadline = time.monotonic() + STORED_S
        found = self._copies()
        while time.monotonic() < deadline:
            time.sleep(SETTLE_S)
            before, found = found, self._copies()
            if found == before:
                break
        return found

    def _copies(self) -> dict[str, int]:
        tally: dict[str, int] = self._client.status()["recording"]["shadow"]
        return tally

    def _missing(self, wanted: Goal, stable_replicas: int) -> list[str]:
        try:
            rule, status = self._client.rule(), self._client.status()
        except (NotRunning, Rejected) as exc:  # what answers is being changed
            return [str(exc)]
        found = [*troubles(status, rule), *lacking(wanted, rule, status)]
        candidate = rule["candidate"]
        if candidate and not (candidate["ready"] and candidate["up"]):  # also at weight 0
            found.append(f"the candidate {candidate['version']} is not ready")
        return found + _other_sizes(status, sizes(stable_replicas))


def _other_sizes(status: dict[str, Any], wanted: Mapping[str, int]) -> list[str]:
    """Which deployments have more, fewer or other than running replicas, a sentence each."""
    deployments = status["applications"].get(DATA_PLANE, {}).get("deployments", {})
    found = []
    for name, replicas in wanted.items():
        states = [replica["state"] for replica in deployments.get(name, {}).get("replicas", [])]
        if states != ["RUNNING"] * replicas:
            found.append(f"{name} has {', '.join(states) or 'no replica'}")
    return found
