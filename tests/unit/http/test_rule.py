from __future__ import annotations

from typing import Any

import pytest

from serve_app.domain import Pool
from serve_app.errors import BadConfig
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, Service


class TestRule:
    def test_it_shows_the_rule_in_force_with_its_defaults(self, service: Service) -> None:
        shown = service.ask("GET", "/v1/rule").json()
        assert shown["rule"] == {
            "kind": "single",
            "stable": "v1",
            "allow_pin": False,
            "trust_headers": True,
            "reveal_version": True,
        }
        assert shown["rule_id"] == service.plane.rule.rule_id
        assert shown["effective_weight"] == 0
        assert shown["rejected"] is None

    def test_it_shows_what_each_replica_is_assigned_and_rejected(self, service: Service) -> None:
        service.pools.rejected = {"path": "version", "message": "is v9"}
        pools = service.ask("GET", "/v1/rule").json()["pools"]
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

    def test_a_rejected_rule_shows_beside_the_last_good_one(self, service: Service) -> None:
        service.plane.reject(BadConfig("rule.stable", "is v9: the registry has v1, v2"))
        shown = service.ask("GET", "/v1/rule").json()
        assert shown["rule"]["stable"] == "v1"
        assert shown["rejected"] == {
            "path": "rule.stable",
            "message": "is v9: the registry has v1, v2",
        }
        assert service.classify().status_code == 200

    def test_without_a_rule_every_route_that_needs_one_says_so(self, service: Service) -> None:
        service.plane._rule = None
        for path in ("/v1/rule", "/v1/explain", "/readyz", "/v2/models/animals"):
            response = service.ask("GET", path)
            assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert service.classify().status_code == 503


class TestCandidate:
    """How the rule in force is seen: its candidate, and the share that it really gets."""

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
    def test_it_gets_nobody_until_it_is_ready_and_then_its_share(
        self, service: Service, rule: dict[str, Any], pool: str, share: float
    ) -> None:
        service.apply_rule(**rule)
        shown = service.ask("GET", "/v1/rule").json()
        assert shown["effective_weight"] == 0
        candidate = {"version": "v2", "pool": pool, "ready": False, "up": False}
        assert shown["candidate"] == candidate
        service.try_out(**rule)
        shown = service.ask("GET", "/v1/rule").json()
        assert shown["effective_weight"] == share
        assert shown["candidate"] == candidate | {"ready": True, "up": True}
        service.take_down()
        shown = service.ask("GET", "/v1/rule").json()
        assert shown["effective_weight"] == share  # its users stay its users
        assert shown["candidate"] == candidate | {"ready": True, "up": False}

    def test_a_growing_share_is_in_force_at_once(self, service: Service) -> None:
        service.try_out(**PARALLEL)
        service.apply_rule(**PARALLEL | {"weight": 0.5})
        assert service.ask("GET", "/v1/rule").json()["effective_weight"] == 0.5

    def test_a_shadow_gets_nobody_ever(self, service: Service) -> None:
        service.try_out(**SHADOW)
        shown = service.ask("GET", "/v1/rule").json()
        assert shown["effective_weight"] == 0
        assert shown["candidate"]["ready"]

    def test_a_rule_that_tries_nobody_has_none(self, service: Service) -> None:
        shown = service.ask("GET", "/v1/rule").json()
        assert (shown["candidate"], shown["warnings"]) == (None, [])

    def test_what_is_seldom_wise_is_warned_of(self, service: Service) -> None:
        service.apply_rule(**PARALLEL | {"weight": 0.4})
        assert service.ask("GET", "/v1/rule").json()["warnings"] == [
            "the canary gets 0.4 of the units: ideally below 0.35"
        ]

    def test_both_versions_of_a_rolling_canary_show_in_their_pool(self, service: Service) -> None:
        service.try_out(**ROLLING)
        stable, _ = service.ask("GET", "/v1/rule").json()["pools"]
        assert [replica["version"] for replica in stable["replicas"]] == ["v1", "v2"]

    def test_readiness_asks_for_stable_only_for_it_answers_in_the_candidates_place(
        self, service: Service
    ) -> None:
        service.apply_rule(**PARALLEL)
        assert service.ask("GET", "/readyz").status_code == 200
        service.pools.assigned = {Pool.CANDIDATE: "v2"}
        response = service.ask("GET", "/readyz")
        assert response.json()["detail"] == (
            "no replica of StablePool can answer yet, as the rule canary_parallel needs"
        )


class TestExplain:
    def test_it_tells_who_would_answer_and_asks_no_model(self, service: Service) -> None:
        shown = service.ask("GET", "/v1/explain", headers={"x-user-id": "anna"}).json()
        assert (shown["version"], shown["reason"], shown["rule"]) == ("v1", "static", "single")
        assert shown["rule_id"] == service.plane.rule.rule_id
        assert service.pools.calls == []
        assert service.exposures() == []

    def test_a_tag_that_has_no_effect_is_noted(self, service: Service) -> None:
        shown = service.ask("GET", "/v1/explain", headers={"x-canary": "always"}).json()
        assert shown["notes"] == ["X-Canary has no effect under the rule single"]

    def test_a_pin_is_explained_as_it_would_be_obeyed(self, service: Service) -> None:
        pinned = {"headers": {"x-model-version": "v2"}}
        assert service.ask("GET", "/v1/explain", **pinned).status_code == 403
        service.apply_rule(allow_pin=True)
        shown = service.ask("GET", "/v1/explain", **pinned).json()
        assert (shown["version"], shown["reason"]) == ("v2", "pinned")
        unknown = {"headers": {"x-model-version": "v9"}}
        assert service.ask("GET", "/v1/explain", **unknown).status_code == 404

    def test_an_impossible_header_is_rejected_as_it_would_be(self, service: Service) -> None:
        response = service.ask("GET", "/v1/explain", headers={"x-canary": "perhaps"})
        assert (response.status_code, response.json()["code"]) == (400, "bad_header")
