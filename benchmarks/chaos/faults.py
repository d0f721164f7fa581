"""The faults: what is done to a service, and what its clients may see of it at most."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks.chaos.service import CANARY, ROLLING, SHADOW, SINGLE, Service

DAMAGED_S = 8.0  # how long a file of the registry stays damaged
KEPT_BYTES = 300_000  # of a damaged file
FROZEN_S = 10.0
LOCKED_S = 20.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault.

    Attributes:
        configuration: What is in force, a file of deploy_configs.
        strike: Causes the fault, and may take its time.
        observed_s: For how long clients send requests after it.
        max_silence_s: The longest time in which no client may get a prediction.
        may_fail: Whether requests may fail meanwhile.
        has_photos: Whether clients send images that do not fit the buffer of HAProxy.
        may_lose_exposures: Whether records may be lost: an ingress that ends loses its last ones.
    """

    name: str
    configuration: str
    strike: Callable[[Service], None]
    observed_s: float
    max_silence_s: float
    may_fail: bool = False
    has_photos: bool = False
    may_lose_exposures: bool = False


def kill(title: str, service: Service) -> None:
    """Kill a process; arguments and errors as in `Service.process`."""
    service.process(title).kill()


def freeze(title: str, service: Service) -> None:
    """Suspend a process, which continues after the trial if it is still there."""
    service.suspend(service.process(title))


def freeze_for_a_while(title: str, service: Service) -> None:
    """Suspend a process for `FROZEN_S`."""
    freeze(title, service)
    service.wait(FROZEN_S)
    service.resume()


def lock_store(service: Service) -> None:
    """Let no process write to the store for `LOCKED_S`."""
    path = service.home.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")
        service.wait(LOCKED_S)
        store.execute("ROLLBACK")


def damage_version(service: Service) -> None:
    """Cut off the network of v1, kill the replicas that have it, and restore it later."""
    network = service.registry / "v1" / "model.onnx"
    content = network.read_bytes()
    try:
        network.write_bytes(content[:KEPT_BYTES])
        kill(_replica("StablePool"), service)
        service.wait(DAMAGED_S)
    finally:
        network.write_bytes(content)


def recreate(service: Service) -> None:
    """Recreate the data plane with the version that it has."""
    service.command("update", "v1", "--method", "recreate", "--reason", "chaos")


def _replica(deployment: str) -> str:
    return f"^ray::ServeReplica:[^:]+:{deployment}"


def _kill(
    what: str,
    title: str,
    max_silence_s: float,
    configuration: str = SINGLE,
    observed_s: float = 12.0,
    **options: Any,
) -> Fault:
    strike = partial(kill, title)
    return Fault(f"kill -9 {what}", configuration, strike, observed_s, max_silence_s, **options)


def _kill_replica(
    deployment: str, max_silence_s: float, configuration: str = SINGLE, **options: Any
) -> Fault:
    return _kill(deployment, _replica(deployment), max_silence_s, configuration, **options)


def _freeze(deployment: str, **options: Any) -> Fault:
    strike = partial(freeze, _replica(deployment))
    return Fault(f"SIGSTOP {deployment}, for good", SINGLE, strike, 28.0, 25.0, **options)


FAULTS = (
    _kill_replica("StablePool", 12.0),
    _kill_replica("Ingress", 12.0, may_lose_exposures=True),
    _kill(
        "Ingress, 1.4 MB photos",
        _replica("Ingress"),
        12.0,
        may_fail=True,
        has_photos=True,
        may_lose_exposures=True,
    ),
    _kill_replica("Controller", 5.0),
    _kill_replica("ControlApi", 5.0),
    _kill("ServeController", "^ray::ServeController", 5.0),
    _kill("ProxyActor", "^ray::ProxyActor", 5.0),
    _kill("HAProxy", "/haproxy -db ", 12.0, may_fail=True),
    _kill("HAProxyManager", "^ray::HAProxyManager", 12.0, may_fail=True),
    _freeze("Ingress", may_lose_exposures=True),
    _freeze("StablePool", may_fail=True),  # its calls have 15 s
    Fault(f"store locked for {LOCKED_S:.0f} s", SINGLE, lock_store, 5.0, 5.0),
    Fault(
        f"v1 damaged for {DAMAGED_S:.0f} s, its replica killed",
        SINGLE,
        damage_version,
        10.0,
        20.0,
        may_fail=True,
    ),
    Fault("recreate", SINGLE, recreate, 5.0, 20.0, may_fail=True),
    _kill_replica("StablePool", 12.0, CANARY),
    _kill_replica("CandidatePool", 5.0, CANARY, observed_s=20.0),
    Fault(
        f"SIGSTOP CandidatePool for {FROZEN_S:.0f} s",
        CANARY,
        partial(freeze_for_a_while, _replica("CandidatePool")),
        10.0,
        5.0,
    ),
    _kill_replica("StablePool", 12.0, SHADOW),
    _kill_replica("CandidatePool", 5.0, SHADOW),
    _kill("one of two StablePool", _replica("StablePool"), 5.0, ROLLING, observed_s=20.0),
)
# With slack for a busy machine.
QUICK = tuple(
    replace(fault, observed_s=24.0, max_silence_s=20.0)
    for fault in FAULTS
    if fault.name in {"kill -9 Ingress", "kill -9 HAProxy"}
)
