from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models import registry
from models.card import Faults
from models.faults import publish_test_version
from serve_app.rules.plan import Pool
from tests.unit.service import Service


class TestModels:
    def test_every_version_of_the_registry_is_listed(self, service: Service) -> None:
        listed = service.request("GET", "/v1/models").json()["models"]
        cards = [registry.load(name).card for name in registry.names()]
        assert [(m["version"], tuple(m["labels"]), m["digest"]) for m in listed] == [
            (card.version, card.labels, card.digest) for card in cards
        ]
        assert listed[1]["parent"]["version"] == "v1"

    def test_a_version_has_replica_counts_backend_and_libraries(self, service: Service) -> None:
        service.pools.assigned[Pool.CANDIDATE] = "v1"
        body = service.request("GET", "/v1/models/v1").json()
        assert (body["assigned_replicas"], body["warm_replicas"]) == (2, 2)
        assert (body["backend"], body["libraries"]) == ("onnx", {"onnxruntime": "1.22.0"})
        idle = service.request("GET", "/v1/models/v2").json()
        assert (idle["assigned_replicas"], idle["warm_replicas"]) == (0, 0)

    def test_a_version_is_body_without_replicas(self, service: Service) -> None:
        service.pools.assigned.clear()
        body = service.request("GET", "/v1/models/v1").json()
        assert (body["backend"], body["libraries"]) == (None, {})

    @pytest.mark.parametrize("name", ["v9", "V1", "..", "%2e%2e%2fv1", "v1%00", "ä"])
    def test_an_unknown_version_is_not_found(self, service: Service, name: str) -> None:
        response = service.request("GET", f"/v1/models/{name}")
        assert response.status_code == 404

    def test_a_damaged_version_is_listed_as_rejected(self, tmp_path: Path) -> None:
        copied = Path(shutil.copytree(registry.SHIPPED, tmp_path / "registry"))
        (copied / "v2" / registry.ONNX_FILE).write_bytes(b"damaged")
        with Service(tmp_path, copied) as service:
            response = service.request("GET", "/v1/models/v2")
            assert (response.status_code, response.json()["code"]) == (503, "not_ready")
            assert "version v2 is rejected" in response.json()["detail"]
            assert service.request("GET", "/v1/models/v1").status_code == 200
            listed = service.request("GET", "/v1/models").json()
            assert [model["version"] for model in listed["models"]] == ["v1"]
            assert listed["rejected"] == {"v2": response.json()["detail"]}

    def test_a_test_version_has_its_faults(self, tmp_path: Path) -> None:
        copied = Path(shutil.copytree(registry.SHIPPED, tmp_path / "registry"))
        publish_test_version(registry.load("v2"), "v102", Faults(fail=0.5), copied)
        with Service(tmp_path, copied) as service:
            faults = [m["faults"] for m in service.request("GET", "/v1/models").json()["models"]]
        assert faults == [
            None,
            None,
            {"slow_ms": 0.0, "fail": 0.5, "wrong": 0.0, "load_fails": False},
        ]
