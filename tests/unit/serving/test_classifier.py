"""A pool replica without a version; e2e tests have replicas with versions."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

with warnings.catch_warnings():  # deprecated pydantic features in Ray's classes
    warnings.simplefilter("ignore", DeprecationWarning)
    from ray import serve
    from ray.serve.schema import ReplicaRank

    from serve_app.serving.classifier import Classifier

from serve_app.data_plane.pools import Unavailable
from serve_app.rules.plan import Pool

CONTEXT = SimpleNamespace(
    app_name="animals",
    deployment=Pool.STABLE.value,
    replica_id=SimpleNamespace(unique_id="a1b2c3d4"),
)


def test_clients_do_not_see_where_the_versions_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator does."""
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv("SERVE_APP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(serve, "get_replica_context", lambda: CONTEXT)
    monkeypatch.setattr(serve, "get_multiplexed_model_id", lambda: "")
    registry = tmp_path / "registry"

    async def scenario() -> None:
        replica = Classifier("onnx", str(registry))
        await replica.reconfigure({"version": "v1"}, ReplicaRank(rank=0, node_rank=0, local_rank=0))
        await replica.check_health()
        response = await replica.classify(np.zeros((1, 8, 8, 3), np.uint8))
        assert isinstance(response, Unavailable)
        assert str(tmp_path) not in response.message
        rejected = (await replica.describe()).rejected
        assert rejected is not None
        assert str(registry) in rejected["message"]

    asyncio.run(scenario())
