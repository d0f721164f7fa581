"""Calls of the candidate have the same consequences under a split and under a shadow."""

from __future__ import annotations

from typing import Any

import pytest

from models.preprocess import Pixels
from serve_app.data_plane.images import EncodedImage
from serve_app.errors import NotReady, TooSlow
from serve_app.rules.plan import Context
from serve_app.trace import Trace
from tests.unit.recording.fakes import wait_until
from tests.unit.service import (
    AB,
    CANDIDATE_FAILURES,
    PARALLEL,
    ROLLING,
    SHADOW,
    SINGLE,
    Service,
    image,
)

RULES = [PARALLEL, ROLLING, AB | {"weight": 1.0}, SHADOW]
TAGGED = Context("r-1", region="AU", tag=True)  # the rules of RULES call the candidate

all_rules = pytest.mark.parametrize("rule", RULES, ids=[rule["kind"] for rule in RULES])


def classify(service: Service, picture: EncodedImage | None = None) -> None:
    """Send one request and wait for the outcome of its copy, if there is one."""

    async def send() -> None:
        trace = Trace("r-1", "POST", "/v1/classify")
        await service.plane.classify(
            [picture or EncodedImage(image("koala"))], TAGGED, trace, started=0
        )
        await wait_until(lambda: service.plane.mirror.in_flight == 0)

    service.run(send())


def candidate_errors(service: Service) -> list[str | None]:
    """The recorded error of the candidate for each request. Closes the recorder."""
    batches = service.batches()
    pairs = [pair.error for batch in batches for pair in batch.pairs]
    return pairs or [exposure.error for batch in batches for exposure in batch.exposures]


def let_fail(service: Service, failure: Any) -> None:
    """Let each call fail. No probe finds a replica, so that an open breaker stays open."""
    service.pools.overrides["v2"] = failure
    service.pools.unreported_versions = {"v2"}


@all_rules
@pytest.mark.parametrize(
    ("failure", "code"),
    CANDIDATE_FAILURES,
    ids=[type(failure).__name__ for failure, _ in CANDIDATE_FAILURES],
)
def test_a_candidate_without_its_version_opens_the_breaker_at_once(
    service: Service, rule: dict[str, Any], failure: Any, code: str
) -> None:
    service.apply_rule_with_candidate(**rule)
    let_fail(service, failure)
    classify(service)
    assert service.plane.breaker.is_closed == (code != NotReady.code)
    service.pools.overrides.clear()
    classify(service)
    is_called_again = service.plane.breaker.is_closed
    assert candidate_errors(service) == [code, None if is_called_again else NotReady.code]


@all_rules
def test_three_timeouts_in_a_row_open_the_breaker(service: Service, rule: dict[str, Any]) -> None:
    service.apply_rule_with_candidate(**rule)
    let_fail(service, TooSlow("15 s"))
    for _ in range(5):
        classify(service)
    assert candidate_errors(service) == ["too_slow"] * 3 + ["not_ready"] * 2


@all_rules
def test_timeouts_with_successes_between_do_not_open_the_breaker(
    service: Service, rule: dict[str, Any]
) -> None:
    service.apply_rule_with_candidate(**rule)
    for _ in range(4):
        let_fail(service, TooSlow("15 s"))
        classify(service)
        classify(service)
        service.pools.overrides.clear()
        classify(service)
    assert candidate_errors(service) == ["too_slow", "too_slow", None] * 4


@all_rules
def test_a_request_of_the_previous_rule_may_call_its_candidate(
    service: Service, rule: dict[str, Any]
) -> None:
    """The rule changes while the image is decoded; the breaker knows only the new rule."""
    service.apply_rule_with_candidate(**rule)

    class RuleChangingImage(EncodedImage):
        def pixels(self, side: int) -> Pixels:
            service.apply_rule(**SINGLE)
            return super().pixels(side)

    classify(service, RuleChangingImage(image("koala")))
    assert not service.plane.breaker.is_closed
    assert candidate_errors(service) == [None]
