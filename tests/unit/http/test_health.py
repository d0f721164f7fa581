from __future__ import annotations

from serve_app.domain import Pool
from tests.unit.service import Service


class TestHealth:
    def test_it_is_alive_even_when_nothing_can_answer(self, service: Service) -> None:
        service.pools.assigned.clear()
        assert service.ask("GET", "/healthz").json() == {"status": "alive"}

    def test_it_is_ready_while_the_pools_of_the_rule_have_replicas(self, service: Service) -> None:
        assert service.ask("GET", "/readyz").json() == {"status": "ready"}
        service.pools.assigned[Pool.STABLE] = None
        response = service.ask("GET", "/readyz")
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert response.json()["detail"] == (
            "no replica of StablePool can answer yet, as the rule single needs"
        )
