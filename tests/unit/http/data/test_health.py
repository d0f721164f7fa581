from __future__ import annotations

from serve_app.rules.plan import Pool
from tests.unit.service import Service


class TestHealth:
    def test_healthz_succeeds_without_replicas(self, service: Service) -> None:
        service.pools.assigned.clear()
        assert service.request("GET", "/healthz").json() == {"status": "alive"}

    def test_readyz_needs_a_replica_in_the_pools_of_the_rule(self, service: Service) -> None:
        assert service.request("GET", "/readyz").json() == {"status": "ready"}
        service.pools.assigned[Pool.STABLE] = None
        service.forget_replicas()
        response = service.request("GET", "/readyz")
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert response.json()["detail"] == (
            "no replica of StablePool is ready yet: the rule single needs one"
        )
