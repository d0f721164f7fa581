"""The interface between the control plane and the cluster that runs the applications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from serve_app.data_plane.pools import Replica

RUNNING = "RUNNING"
DEPLOYING = "DEPLOYING"
DEPLOY_FAILED = "DEPLOY_FAILED"
DELETING = "DELETING"


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """A replica as Serve sees it; `pid` is None while it starts."""

    replica: str
    state: str
    pid: int | None


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A deployment as Serve sees it.

    Attributes:
        target: The number of replicas that it should have.
    """

    status: str
    message: str
    target: int
    replicas: tuple[ReplicaState, ...]

    @property
    def running(self) -> int:
        """The number of running replicas."""
        return sum(replica.state == RUNNING for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """An application as Serve sees it, with its deployments by name."""

    status: str
    message: str
    deployments: dict[str, DeploymentState]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The applications by name, and the configuration that Serve has.

    Attributes:
        config: A deployment file of the applications whose configuration Serve reports, in its
            normal form; see `Cluster.normalize`.
    """

    applications: dict[str, ApplicationState]
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class IngressReplica:
    """The state of one replica of the ingress.

    Attributes:
        config_digest: Of the last `user_config`, accepted or rejected; see `serve_app.digest`.
        rejected: The path and the message of the last `user_config`, if it was rejected.
        candidate_ready: Whether the candidate was ready once under the rule; true without one.
    """

    replica: str
    config_digest: str
    rejected: dict[str, str] | None
    candidate_ready: bool


@dataclass(frozen=True, slots=True)
class DataPlaneReplicas:
    """The replicas of the data plane that answered in time."""

    ingress: tuple[IngressReplica, ...]
    pools: tuple[Replica, ...]


class Cluster(Protocol):
    """Ray Serve, as the control plane sees it.

    The methods that are coroutines raise `NotReady` while Serve cannot be reached.
    """

    async def state(self) -> ClusterState:
        """The state of all applications."""

    async def replicas(self) -> DataPlaneReplicas:
        """The replicas of the data plane."""

    def normalize(self, document: dict[str, Any]) -> dict[str, Any]:
        """A deployment file as `ClusterState.config` has it once it is deployed.

        Raises:
            BadConfig: Serve would reject the file, or ignore a key of it.
        """

    async def deploy(self, document: dict[str, Any]) -> None:
        """Set the target configuration; returns without waiting for it.

        Raises:
            BadConfig: Serve rejects the file.
        """
