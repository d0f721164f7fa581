"""What `GET /v1/explain` says of a request is what happens to it."""

from __future__ import annotations

import json
import random
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from starlette.types import Message

from serve_app.domain import Pool
from serve_app.rules.bucket import bucket
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE, Service

RULES: dict[str, dict[str, Any]] = {
    "single": SINGLE,
    "shadow": SHADOW,
    "canary_parallel": PARALLEL,
    "canary_parallel in regions": PARALLEL | {"regions": ["NZ", "western-europe"]},
    "canary_parallel of sessions": PARALLEL | {"unit": "session", "weight": 0.5},
    "canary_parallel of nobody": PARALLEL | {"weight": 0.0},
    "canary_rolling": ROLLING | {"replicas": 2},
    "ab_test": AB | {"regions": ["australia-pacific"]},
    "ab_test of users": AB | {"unit": "user", "regions": ["australia-pacific"]},
    "ab_test of sessions": AB | {"unit": "session", "weight": 0.8},
    "ab_test of everybody": AB | {"weight": 1.0},
    "that trusts no header": PARALLEL | {"trust_headers": False, "allow_pin": True},
    "that allows pins": PARALLEL | {"allow_pin": True},
}
SPLITS = [name for name, rule in RULES.items() if rule["kind"] not in ("single", "shadow")]
UNITS = [None, *(f"unit-{number}" for number in range(30))]
CONTEXTS = 60  # for each rule, twice


def dot() -> bytes:
    content = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(content, "PNG")
    return content.getvalue()


DOT = dot()


def contexts(name: str) -> list[dict[str, str]]:
    """Headers of requests of all kinds, the same each time."""
    draw = random.Random(name)  # noqa: S311 no secret
    found = []
    for _ in range(CONTEXTS):
        headers = {
            "x-user-id": draw.choice(UNITS),
            "x-session-id": draw.choice(UNITS),
            "x-region": draw.choice([None, "AU", "nz", "DE", "CH", "JP", "XX"]),
            "x-canary": draw.choice([None, None, None, "always", "never"]),
            "x-model-version": draw.choice([None, "v1", "v2"]) if "pins" in name else None,
        }
        found.append({key: value for key, value in headers.items() if value is not None})
    return found


async def ask(service: Service, method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    """One request, without a client: there are thousands."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": DOT if method == "POST" else b""}

    async def send(message: Message) -> None:
        sent.append(message)

    encoded = [(key.encode(), value.encode()) for key, value in headers.items()]
    encoded.append((b"content-type", b"image/png"))
    scope = {"type": "http", "method": method, "path": path, "query_string": b"",
             "headers": encoded}  # fmt: skip
    await service.app(scope, receive, send)
    assert sent[0]["status"] == 200, sent[1]["body"]
    answer: dict[str, Any] = json.loads(sent[1]["body"])
    return answer


async def explain_and_classify(
    service: Service, headers: list[dict[str, str]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (
            await ask(service, "GET", "/v1/explain", each),
            await ask(service, "POST", "/v1/classify", each),
        )
        for each in headers
    ]


@pytest.mark.parametrize(
    ("is_ready", "is_down"),
    [(True, False), (True, True), (False, True)],
    ids=["up", "down", "not ready"],
)
@pytest.mark.parametrize("name", RULES)
def test_what_is_explained_happens(
    service: Service, name: str, is_ready: bool, is_down: bool
) -> None:
    """The assigned version and the reason; a candidate that is down is answered for by stable, and
    that is no other plan."""
    content = RULES[name]
    rule = service.apply_rule(**content)
    if is_ready and rule.candidate_replicas:
        service.try_out(**content)
        if is_down:
            service.take_down()
    headers = contexts(name)
    both = service.run(explain_and_classify(service, headers))
    exposures = service.exposures()
    assert len(exposures) == len(headers)
    for (explained, answered), exposure in zip(both, exposures, strict=True):
        assert explained["reason"] == exposure.reason
        assert explained["rule_id"] == answered["rule_id"] == exposure.rule_id
        assert explained["rule"] == answered["rule"] == content["kind"]
        assert answered["reason"] in (exposure.reason, "fallback")
        if explained["shares"] is None:
            assert explained["version"] == exposure.assigned
        else:
            assert content.get("unit", "request") == "request"
            assert (explained["version"], explained["reason"]) == (None, "split")
            assert explained["shares"].keys() == {"v1", "v2"}
            assert explained["shares"][exposure.assigned] > 0
        if answered["reason"] != "fallback":
            assert answered["version"] == exposure.assigned == exposure.served
    reasons = {exposure.reason for exposure in exposures}
    assert ("not_ready" in reasons) == (name in SPLITS and not is_ready)
    assert ("split" in reasons) == (name in SPLITS and is_ready)


def explained(service: Service, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.ask("GET", "/v1/explain", headers=sent).json()


class TestUnits:
    def test_a_user_has_its_bucket_and_the_candidate_those_below_the_threshold(
        self, service: Service
    ) -> None:
        service.try_out(**PARALLEL)
        versions = set()
        for user in UNITS[1:]:
            assert user
            shown = explained(service, x_user_id=user)
            assert shown["bucket"] == bucket("koala-canary", service.pseudonymizer.pseudonym(user))
            assert (shown["threshold"], shown["experiment"]) == (0.3, "koala-canary")
            assert shown["version"] == ("v2" if shown["bucket"] < 0.3 else "v1")
            assert (shown["reason"], shown["shares"], shown["notes"]) == ("split", None, [])
            versions.add(shown["version"])
        assert versions == {"v1", "v2"}

    def test_who_is_not_known_has_no_bucket(self, service: Service) -> None:
        service.try_out(**PARALLEL)
        shown = explained(service, x_session_id="anna")
        assert (shown["version"], shown["reason"]) == ("v1", "no_unit")
        assert (shown["bucket"], shown["threshold"]) == (None, 0.3)

    def test_the_version_is_told_also_where_answers_do_not_reveal_it(
        self, service: Service
    ) -> None:
        service.try_out(**AB, reveal_version=False, unit="user")
        assert explained(service, x_user_id="anna")["version"] in ("v1", "v2")


class TestDrawnRequests:
    def test_each_request_is_drawn_so_the_shares_are_told_instead(self, service: Service) -> None:
        service.try_out(**AB, weight=0.3, regions=["AU"])
        shown = explained(service, x_region="AU", x_user_id="anna")
        assert (shown["version"], shown["reason"], shown["bucket"]) == (None, "split", None)
        assert shown["shares"] == {"v1": 0.7, "v2": 0.3}
        assert (shown["threshold"], shown["experiment"]) == (0.3, "koala-preference")

    def test_who_is_not_drawn_is_told_the_version(self, service: Service) -> None:
        service.try_out(**AB, regions=["AU"])
        shown = explained(service, x_region="DE")
        assert (shown["version"], shown["reason"], shown["shares"]) == ("v1", "not_targeted", None)

    def test_nobody_is_drawn_before_the_treatment_is_ready(self, service: Service) -> None:
        service.apply_rule(**AB)
        shown = explained(service)
        assert (shown["version"], shown["reason"], shown["shares"]) == ("v1", "not_ready", None)

    def test_a_tag_has_no_effect_and_that_is_noted(self, service: Service) -> None:
        service.try_out(**AB)
        shown = explained(service, x_canary="always")
        assert shown["shares"]
        assert shown["notes"] == ["X-Canary has no effect under the rule ab_test"]


class TestTags:
    @pytest.mark.parametrize("rule", [PARALLEL, ROLLING], ids=["parallel", "rolling"])
    def test_a_canary_obeys_them(self, service: Service, rule: dict[str, Any]) -> None:
        service.try_out(**rule)
        for tag, version in (("always", "v2"), ("never", "v1")):
            shown = explained(service, x_canary=tag, x_user_id="anna")
            assert (shown["version"], shown["reason"], shown["notes"]) == (version, "tagged", [])


@pytest.mark.parametrize("rule", [SINGLE, SHADOW], ids=["single", "shadow"])
class TestWhatTheReplicasHold:
    """Where no version travels, they decide, whatever the rule calls stable."""

    def test_while_they_hold_several_each_may_answer(
        self, service: Service, rule: dict[str, Any]
    ) -> None:
        service.apply_rule(**rule)
        service.pools.patched = "v2"
        shown = explained(service)
        assert (shown["version"], shown["reason"], shown["shares"]) == (None, "static", None)
        assert shown["held"] == {"v1": 1, "v2": 1}

    def test_where_all_hold_one_it_is_that(self, service: Service, rule: dict[str, Any]) -> None:
        """Also one that the rule does not know yet."""
        service.apply_rule(**rule)
        service.pools.assigned = {Pool.STABLE: "v2", Pool.CANDIDATE: "v1"}
        shown = explained(service)
        assert (shown["version"], shown["held"]) == ("v2", {"v2": 1})

    @pytest.mark.parametrize("assigned", [{}, {Pool.STABLE: None}], ids=["nobody", "nothing"])
    def test_where_none_can_answer_none_is_named(
        self, service: Service, rule: dict[str, Any], assigned: dict[Pool, str | None]
    ) -> None:
        service.apply_rule(**rule)
        service.pools.assigned = assigned
        shown = explained(service)
        assert (shown["version"], shown["held"]) == (None, {})

    def test_a_pin_does_not_depend_on_them(self, service: Service, rule: dict[str, Any]) -> None:
        service.apply_rule(**rule, allow_pin=True)
        service.pools.patched = "v2"
        shown = explained(service, x_model_version="v2")
        assert (shown["version"], shown["reason"], shown["held"]) == ("v2", "pinned", None)


def test_it_asks_no_model_and_records_nothing(service: Service) -> None:
    service.try_out(**PARALLEL)
    for tag in ("always", "never"):
        explained(service, x_canary=tag)
    assert service.pools.calls == []
    assert service.exposures() == []
