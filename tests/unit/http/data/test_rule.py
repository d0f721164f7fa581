from __future__ import annotations

from typing import Any

import pytest

from serve_app.errors import BadConfig
from serve_app.rules.plan import Pool
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, Service


class TestRule:
    def test_the_rule_in_force_is_body_with_its_defaults(self, service: Service) -> None:
        body = service.request("GET", "/v1/rule").json()
        assert body["rule"] == {
            "kind": "single",
            "stable": "v1",
            "allow_pin": False,
            "trust_headers": True,
            "reveal_version": True,
        }
        assert body["rule_id"] == service.plane.rule.rule_id
        assert body["effective_weight"] == 0
        assert body["rejected"] is None

    def test_replicas_are_listed_with_version_and_rejection(self, service: Service) -> None:
        service.pools.rejected = {"path": "version", "message": "is v9"}
        pools = service.request("GET", "/v1/rule").json()["pools"]
        assert pools == [
            {
                "pool": "StablePool",
                "replicas": [
                    {
                        "replica": "StablePool-1",
                        "version": "v1",
                        "warm": ["v1"],
                        "answered": {},
                        "rejected": {"path": "version", "message": "is v9"},
                    }
                ],
            },
            {"pool": "CandidatePool", "replicas": []},
        ]

    def test_a_rejected_rule_is_body_next_to_the_last_good_one(self, service: Service) -> None:
        service.plane.reject(BadConfig("rule.stable", "is v9: the registry has v1, v2"))
        body = service.request("GET", "/v1/rule").json()
        assert body["rule"]["stable"] == "v1"
        assert body["rejected"] == {
            "path": "rule.stable",
            "message": "is v9: the registry has v1, v2",
        }
        assert service.classify().status_code == 200

    def test_without_a_rule_routes_that_need_one_are_not_ready(self, service: Service) -> None:
        service.plane._rule = None
        for path in ("/v1/rule", "/v1/explain", "/readyz", "/v2/models/animals"):
            response = service.request("GET", path)
            assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert service.classify().status_code == 503


class TestCandidate:
    """The candidate of the rule in force, and its effective weight."""

    @pytest.mark.parametrize(
        ("rule", "pool", "share"),
        [
            (PARALLEL, "CandidatePool", 0.3),
            (ROLLING, "StablePool", 0.25),
            (ROLLING | {"weight": 0.1}, "StablePool", 0.1),
            (AB, "CandidatePool", 0.5),
        ],
        ids=["parallel", "rolling", "rolling below", "ab_test"],
    )
    def test_the_effective_weight_is_0_until_the_candidate_is_ready(
        self, service: Service, rule: dict[str, Any], pool: str, share: float
    ) -> None:
        service.apply_rule(**rule)
        body = service.request("GET", "/v1/rule").json()
        assert body["effective_weight"] == 0
        candidate = {"version": "v2", "pool": pool, "ready": False, "up": False}
        assert body["candidate"] == candidate
        service.apply_rule_with_candidate(**rule)
        body = service.request("GET", "/v1/rule").json()
        assert body["effective_weight"] == share
        assert body["candidate"] == candidate | {"ready": True, "up": True}
        service.stop_candidate()
        body = service.request("GET", "/v1/rule").json()
        assert body["effective_weight"] == share  # the assignment of users does not change
        assert body["candidate"] == candidate | {"ready": True, "up": False}

    def test_a_higher_weight_is_in_force_at_once(self, service: Service) -> None:
        service.apply_rule_with_candidate(**PARALLEL)
        service.apply_rule(**PARALLEL | {"weight": 0.5})
        assert service.request("GET", "/v1/rule").json()["effective_weight"] == 0.5

    def test_the_effective_weight_of_a_shadow_is_0(self, service: Service) -> None:
        service.apply_rule_with_candidate(**SHADOW)
        body = service.request("GET", "/v1/rule").json()
        assert body["effective_weight"] == 0
        assert body["candidate"]["ready"]

    def test_single_has_no_candidate_and_no_warnings(self, service: Service) -> None:
        body = service.request("GET", "/v1/rule").json()
        assert (body["candidate"], body["warnings"]) == (None, [])

    def test_a_high_weight_gives_a_warning(self, service: Service) -> None:
        service.apply_rule(**PARALLEL | {"weight": 0.4})
        assert service.request("GET", "/v1/rule").json()["warnings"] == [
            "the canary gets 0.4 of the units: at most 0.35 is recommended"
        ]

    def test_both_versions_of_a_rolling_canary_are_in_the_stable_pool(
        self, service: Service
    ) -> None:
        service.apply_rule_with_candidate(**ROLLING)
        stable, _ = service.request("GET", "/v1/rule").json()["pools"]
        assert [replica["version"] for replica in stable["replicas"]] == ["v1", "v2"]

    def test_readiness_needs_only_stable_because_it_is_the_fallback(self, service: Service) -> None:
        service.apply_rule(**PARALLEL)
        assert service.request("GET", "/readyz").status_code == 200
        service.pools.assigned = {Pool.CANDIDATE: "v2"}
        service.forget_replicas()
        response = service.request("GET", "/readyz")
        assert response.json()["detail"] == (
            "no replica of StablePool is ready yet: the rule canary_parallel needs one"
        )


class TestReads:
    def test_reads_that_follow_each_other_ask_the_replicas_once(self, service: Service) -> None:
        for path in ("/v1/rule", "/readyz", "/v1/models", "/v1/models/v1") * 3:
            assert service.request("GET", path).status_code == 200
        assert service.pools.replica_queries == 1
        service.forget_replicas()
        service.request("GET", "/readyz")
        assert service.pools.replica_queries == 2


class TestExplain:
    def test_explain_names_the_version_and_calls_no_pool(self, service: Service) -> None:
        body = service.request("GET", "/v1/explain", headers={"x-user-id": "anna"}).json()
        assert (body["version"], body["reason"], body["rule"]) == ("v1", "static", "single")
        assert body["rule_id"] == service.plane.rule.rule_id
        assert service.pools.calls == []
        assert service.exposures() == []

    def test_a_tag_without_effect_is_noted(self, service: Service) -> None:
        body = service.request("GET", "/v1/explain", headers={"x-canary": "always"}).json()
        assert body["notes"] == ["X-Canary has no effect under the rule single"]

    def test_a_pin_is_explained_like_it_is_served(self, service: Service) -> None:
        pinned = {"headers": {"x-model-version": "v2"}}
        assert service.request("GET", "/v1/explain", **pinned).status_code == 403
        service.apply_rule(allow_pin=True)
        body = service.request("GET", "/v1/explain", **pinned).json()
        assert (body["version"], body["reason"]) == ("v2", "pinned")
        unknown = {"headers": {"x-model-version": "v9"}}
        assert service.request("GET", "/v1/explain", **unknown).status_code == 404

    def test_an_invalid_header_is_rejected(self, service: Service) -> None:
        response = service.request("GET", "/v1/explain", headers={"x-user-id": "u" * 201})
        assert (response.status_code, response.json()["code"]) == (400, "bad_header")
