"""A cluster without Ray that deploys at once, and fails on request."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from serve_app.control_plane.cluster import (
    DELETING,
    RUNNING,
    ApplicationState,
    ClusterState,
    DataPlaneReplicas,
    DeploymentState,
    IngressReplica,
    ReplicaState,
)
from serve_app.data_plane.pools import Replica
from serve_app.deployment.config import DEPLOYMENTS, user_configs
from serve_app.deployment.names import DATA_PLANE, INGRESS
from serve_app.digest import json_digest
from serve_app.errors import BadConfig
from serve_app.rules.parse import read_rule
from serve_app.rules.plan import Pool

OnDeploy = Callable[[dict[str, Any]], None]


class FakeCluster:
    """Implements `serve_app.control_plane.cluster.Cluster`.

    Attributes:
        document: The configuration that it has.
        deployed: The configurations that it got, oldest first.
        failures: Errors of the next deployments, before they have an effect.
        late_failures: Errors of the next deployments, after they took effect.
        state_failure: The error of every call of `state`.
        is_frozen: Configurations are stored, and change neither replicas nor statuses.
        messages: Message by the name of an application or a deployment that is not healthy.
        statuses: Its status by the name of an application or a deployment that is not healthy.
        versions: The versions of a pool's replicas, instead of those of the configuration.
        rejected: What replicas rejected of the present configuration, by deployment.
        candidate_ready: Whether the ingress has found the candidate.
        deletes_slowly: The data plane stays in the state DELETING.
        on_deploy: Called with each configuration that takes effect.
    """

    def __init__(self, document: dict[str, Any], on_deploy: OnDeploy = lambda _: None) -> None:
        self.document = self._effective = copy.deepcopy(document)
        self.deployed: list[dict[str, Any]] = []
        self.failures: list[Exception] = []
        self.late_failures: list[Exception] = []
        self.state_failure: Exception | None = None
        self.is_frozen = False
        self.statuses: dict[str, str] = {}
        self.messages: dict[str, str] = {}
        self.versions: dict[Pool, list[str | None]] = {}
        self.rejected: dict[str, dict[str, str]] = {}
        self.candidate_ready = True
        self.deletes_slowly = False
        self._is_deleting = False
        self._on_deploy = on_deploy

    async def state(self) -> ClusterState:
        if self.state_failure:
            raise self.state_failure
        names = [application["name"] for application in self.document["applications"]]
        states = {name: self._application(name) for name in names}
        if self._is_deleting:
            states[DATA_PLANE] = ApplicationState(DELETING, "", {})
        return ClusterState(states, self.normalize(self.document))

    async def replicas(self) -> DataPlaneReplicas:
        configs = user_configs(self._effective)
        if not configs:
            return DataPlaneReplicas((), ())
        ingress = IngressReplica(
            replica=f"{INGRESS}-1",
            config_digest=json_digest(configs[INGRESS]),
            rejected=self.rejected.get(INGRESS),
            candidate_ready=self.candidate_ready,
        )
        pools = [
            self._replica(pool, number, version, configs[pool])
            for pool in Pool
            for number, version in enumerate(self._versions(pool))
        ]
        return DataPlaneReplicas((ingress,), tuple(pools))

    def normalize(self, document: dict[str, Any]) -> dict[str, Any]:
        applications = sorted(document["applications"], key=lambda a: str(a["name"]))
        for application in applications:
            if application.get("import_path") == "rejected":
                raise BadConfig(f"{application['name']}.import_path", "is rejected")
        return {**document, "applications": applications}

    async def deploy(self, document: dict[str, Any]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        had_data_plane = bool(user_configs(self.document))
        self.document = copy.deepcopy(document)
        self.deployed.append(copy.deepcopy(document))
        if self.deletes_slowly and had_data_plane and not user_configs(document):
            self._is_deleting = True
        elif user_configs(document):
            self._is_deleting = False
        if not self.is_frozen:
            self._effective = self.document
            self._on_deploy(document)
        if self.late_failures:
            raise self.late_failures.pop(0)

    def deploy_outside(self, document: dict[str, Any]) -> None:
        """Deploy without the control plane."""
        self.document = self._effective = copy.deepcopy(document)

    def finish_deletion(self) -> None:
        """The data plane that is being deleted is gone."""
        self._is_deleting = False

    def _application(self, name: str) -> ApplicationState:
        deployments = {d: self._deployment(d) for d in DEPLOYMENTS.get(name, ())}
        status = self.statuses.get(name, RUNNING)
        return ApplicationState(status, self.messages.get(name, ""), deployments)

    def _deployment(self, name: str) -> DeploymentState:
        count = len(self._versions(Pool(name))) if name in list(Pool) else 1
        return DeploymentState(
            self.statuses.get(name, "HEALTHY"),
            self.messages.get(name, ""),
            count,
            tuple(ReplicaState(f"{name}-{n + 1}", RUNNING, 7) for n in range(count)),
        )

    def _versions(self, pool: Pool) -> list[str | None]:
        if pool in self.versions:
            return self.versions[pool]
        config = user_configs(self._effective).get(pool)
        if config is None:
            return []
        if patch := config.get("patch"):
            return [config["version"]] * (patch["of"] - patch["replicas"]) + [
                patch["version"]
            ] * patch["replicas"]
        rule = read_rule(user_configs(self._effective)[INGRESS]["rule"])
        return [config["version"]] if pool in rule.pools else []

    def _replica(self, pool: Pool, number: int, version: str | None, config: Any) -> Replica:
        return Replica(
            pool=pool,
            replica=f"{pool}-{number + 1}",
            version=version,
            warm=(version,) if version else (),
            config_digest=json_digest(config),
            rejected=self.rejected.get(pool),
            backend="onnx",
            libraries={},
            answered={},
        )
