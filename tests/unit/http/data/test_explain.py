"""`GET /v1/explain` agrees with what happens to the request."""

from __future__ import annotations

import json
import random
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from starlette.types import Message

from serve_app.rules.bucket import bucket
from serve_app.rules.plan import Pool
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE, Service

RULES: dict[str, dict[str, Any]] = {
    "single": SINGLE,
    "shadow": SHADOW,
    "canary_parallel": PARALLEL,
    "canary_parallel in regions": PARALLEL | {"regions": ["NZ", "western-europe"]},
    "canary_parallel of sessions": PARALLEL | {"unit": "session", "weight": 0.5},
    "canary_parallel of no one": PARALLEL | {"weight": 0.0},
    "canary_rolling": ROLLING | {"replicas": 2},
    "ab_test": AB | {"regions": ["australia-pacific"]},
    "ab_test of users": AB | {"unit": "user", "regions": ["australia-pacific"]},
    "ab_test of sessions": AB | {"unit": "session", "weight": 0.8},
    "ab_test of all users": AB | {"weight": 1.0},
    "canary_parallel without trust": PARALLEL | {"trust_headers": False, "allow_pin": True},
    "canary_parallel with pins": PARALLEL | {"allow_pin": True},
}
SPLITS = [name for name, rule in RULES.items() if rule["kind"] not in ("single", "shadow")]
UNITS = [None, *(f"unit-{number}" for number in range(30))]
CONTEXTS = 60  # per rule


def small_image() -> bytes:
    content = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(content, "PNG")
    return content.getvalue()


IMAGE = small_image()


def context_headers(name: str) -> list[dict[str, str]]:
    """Random request headers; the same ones in every run."""
    rng = random.Random(name)  # noqa: S311 not a secret
    requests = []
    for _ in range(CONTEXTS):
        headers = {
            "x-user-id": rng.choice(UNITS),
            "x-session-id": rng.choice(UNITS),
            "x-region": rng.choice([None, "AU", "nz", "DE", "CH", "JP", "XX"]),
            "x-canary": rng.choice([None, None, None, "always", "never"]),
            "x-model-version": rng.choice([None, "v1", "v2"]) if "pins" in name else None,
        }
        requests.append({key: value for key, value in headers.items() if value is not None})
    return requests


async def send(service: Service, method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    """Send one request without an HTTP client, which would be slow for thousands of them."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": IMAGE if method == "POST" else b""}

    async def record(message: Message) -> None:
        messages.append(message)

    encoded = [(key.encode(), value.encode()) for key, value in headers.items()]
    encoded.append((b"content-type", b"image/png"))
    scope = {"type": "http", "method": method, "path": path, "query_string": b"",
             "headers": encoded}  # fmt: skip
    await service.app(scope, receive, record)
    assert messages[0]["status"] == 200, messages[1]["body"]
    body: dict[str, Any] = json.loads(messages[1]["body"])
    return body


async def explain_and_classify(
    service: Service, headers: list[dict[str, str]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (
            await send(service, "GET", "/v1/explain", each),
            await send(service, "POST", "/v1/classify", each),
        )
        for each in headers
    ]


@pytest.mark.parametrize(
    ("is_ready", "is_down"),
    [(True, False), (True, True), (False, True)],
    ids=["up", "down", "not ready"],
)
@pytest.mark.parametrize("name", RULES)
def test_explain_agrees_with_classify(
    service: Service, name: str, is_ready: bool, is_down: bool
) -> None:
    """Assigned version and reason agree. A fallback to stable while the candidate is down does not
    change the plan."""
    content = RULES[name]
    rule = service.apply_rule(**content)
    if is_ready and rule.candidate_replicas:
        service.apply_rule_with_candidate(**content)
        if is_down:
            service.stop_candidate()
    headers = context_headers(name)
    bodies = service.run(explain_and_classify(service, headers))
    exposures = service.exposures()
    assert len(exposures) == len(headers)
    for (explanation, classification), exposure in zip(bodies, exposures, strict=True):
        assert explanation["reason"] == exposure.reason
        assert explanation["rule_id"] == classification["rule_id"] == exposure.rule_id
        assert explanation["rule"] == classification["rule"] == content["kind"]
        assert classification["reason"] in (exposure.reason, "fallback")
        if explanation["shares"] is None:
            assert explanation["version"] == exposure.assigned
        else:
            assert content.get("unit", "request") == "request"
            assert (explanation["version"], explanation["reason"]) == (None, "split")
            assert explanation["shares"].keys() == {"v1", "v2"}
            assert explanation["shares"][exposure.assigned] > 0
        if classification["reason"] != "fallback":
            assert classification["version"] == exposure.assigned == exposure.served
    reasons = {exposure.reason for exposure in exposures}
    assert ("not_ready" in reasons) == (name in SPLITS and not is_ready)
    assert ("split" in reasons) == (name in SPLITS and is_ready)


def explain(service: Service, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.request("GET", "/v1/explain", headers=sent).json()


class TestUnits:
    def test_buckets_below_the_threshold_get_the_candidate(self, service: Service) -> None:
        service.apply_rule_with_candidate(**PARALLEL)
        versions = set()
        for user in UNITS[1:]:
            assert user
            explanation = explain(service, x_user_id=user)
            assert explanation["bucket"] == bucket(
                "koala-canary", service.pseudonymizer.pseudonym(user)
            )
            assert (explanation["threshold"], explanation["experiment"]) == (0.3, "koala-canary")
            assert explanation["version"] == ("v2" if explanation["bucket"] < 0.3 else "v1")
            assert (explanation["reason"], explanation["shares"], explanation["notes"]) == (
                "split",
                None,
                [],
            )
            versions.add(explanation["version"])
        assert versions == {"v1", "v2"}

    def test_a_request_without_a_unit_has_no_bucket(self, service: Service) -> None:
        service.apply_rule_with_candidate(**PARALLEL)
        explanation = explain(service, x_session_id="anna")
        assert (explanation["version"], explanation["reason"]) == ("v1", "no_unit")
        assert (explanation["bucket"], explanation["threshold"]) == (None, 0.3)

    def test_the_version_is_shown_even_if_responses_hide_it(self, service: Service) -> None:
        service.apply_rule_with_candidate(**AB, reveal_version=False, unit="user")
        assert explain(service, x_user_id="anna")["version"] in ("v1", "v2")


class TestDrawnRequests:
    def test_shares_replace_the_version_if_requests_are_drawn(self, service: Service) -> None:
        service.apply_rule_with_candidate(**AB, weight=0.3, regions=["AU"])
        explanation = explain(service, x_region="AU", x_user_id="anna")
        assert (explanation["version"], explanation["reason"], explanation["bucket"]) == (
            None,
            "split",
            None,
        )
        assert explanation["shares"] == {"v1": 0.7, "v2": 0.3}
        assert (explanation["threshold"], explanation["experiment"]) == (0.3, "koala-preference")

    def test_an_untargeted_request_gets_stable(self, service: Service) -> None:
        service.apply_rule_with_candidate(**AB, regions=["AU"])
        explanation = explain(service, x_region="DE")
        assert (explanation["version"], explanation["reason"], explanation["shares"]) == (
            "v1",
            "not_targeted",
            None,
        )

    def test_no_request_is_drawn_until_the_treatment_is_ready(self, service: Service) -> None:
        service.apply_rule(**AB)
        explanation = explain(service)
        assert (explanation["version"], explanation["reason"], explanation["shares"]) == (
            "v1",
            "not_ready",
            None,
        )

    def test_a_tag_without_effect_is_noted(self, service: Service) -> None:
        service.apply_rule_with_candidate(**AB)
        explanation = explain(service, x_canary="always")
        assert explanation["shares"]
        assert explanation["notes"] == ["X-Canary has no effect under the rule ab_test"]


class TestTags:
    @pytest.mark.parametrize("rule", [PARALLEL, ROLLING], ids=["parallel", "rolling"])
    def test_a_canary_follows_the_tag(self, service: Service, rule: dict[str, Any]) -> None:
        service.apply_rule_with_candidate(**rule)
        for tag, version in (("always", "v2"), ("never", "v1")):
            explanation = explain(service, x_canary=tag, x_user_id="anna")
            assert (explanation["version"], explanation["reason"], explanation["notes"]) == (
                version,
                "tagged",
                [],
            )


@pytest.mark.parametrize("rule", [SINGLE, SHADOW], ids=["single", "shadow"])
class TestReplicaVersions:
    """Without an assigned version, the replicas decide, whatever version the rule calls stable."""

    def test_several_versions_in_the_pool_give_no_version(
        self, service: Service, rule: dict[str, Any]
    ) -> None:
        service.apply_rule(**rule)
        service.pools.patched_version = "v2"
        explanation = explain(service)
        assert (explanation["version"], explanation["reason"]) == (None, "static")
        assert (explanation["shares"], explanation["experiment"]) == (None, None)
        assert explanation["held"] == {"v1": 1, "v2": 1}

    def test_a_single_version_in_the_pool_is_the_version(
        self, service: Service, rule: dict[str, Any]
    ) -> None:
        """Even if the rule does not name it yet."""
        service.apply_rule(**rule)
        service.pools.assigned = {Pool.STABLE: "v2", Pool.CANDIDATE: "v1"}
        explanation = explain(service)
        assert (explanation["version"], explanation["held"]) == ("v2", {"v2": 1})

    @pytest.mark.parametrize("assigned", [{}, {Pool.STABLE: None}], ids=["no pool", "no version"])
    def test_an_empty_pool_gives_no_version(
        self, service: Service, rule: dict[str, Any], assigned: dict[Pool, str | None]
    ) -> None:
        service.apply_rule(**rule)
        service.pools.assigned = assigned
        explanation = explain(service)
        assert (explanation["version"], explanation["held"]) == (None, {})

    def test_a_pin_overrides_the_versions_in_the_pool(
        self, service: Service, rule: dict[str, Any]
    ) -> None:
        service.apply_rule(**rule, allow_pin=True)
        service.pools.patched_version = "v2"
        explanation = explain(service, x_model_version="v2")
        assert (explanation["version"], explanation["reason"], explanation["held"]) == (
            "v2",
            "pinned",
            None,
        )


def test_explain_calls_no_pool_and_records_nothing(service: Service) -> None:
    service.apply_rule_with_candidate(**PARALLEL)
    for tag in ("always", "never"):
        explain(service, x_canary=tag)
    assert service.pools.calls == []
    assert service.exposures() == []
