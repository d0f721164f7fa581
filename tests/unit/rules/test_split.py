"""Properties of every split: sticky and monotone assignment, and the order of the reasons."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from serve_app.errors import BadConfig, PinRejected
from serve_app.regions import members
from serve_app.rules.parse import parse_rule
from serve_app.rules.plan import Context, Plan, Pool, Reason
from serve_app.rules.rule import Rule

KNOWN = ("v1", "v2", "v3")
PARALLEL = {
    "kind": "canary_parallel",
    "stable": "v1",
    "candidate": "v2",
    "weight": 0.25,
    "experiment": "koala-canary",
}
ROLLING = {
    "kind": "canary_rolling",
    "stable": "v1",
    "candidate": "v2",
    "replicas": 1,
    "of": 4,
    "experiment": "koala-rolling",
}
AB = {
    "kind": "ab_test",
    "control": "v1",
    "treatment": "v2",
    "regions": ["australia-pacific"],
    "experiment": "koala-preference",
}
SHADOW = {"kind": "shadow", "stable": "v1", "candidate": "v2"}
SPLITS: list[dict[str, Any]] = [
    PARALLEL,
    ROLLING,
    AB,
    AB | {"unit": "user"},
    AB | {"unit": "session"},
]

contexts = st.builds(
    Context,
    request_id=st.just("r-1"),
    user=st.one_of(st.none(), st.text(min_size=1, max_size=8)),
    session=st.one_of(st.none(), st.text(min_size=1, max_size=8)),
    region=st.sampled_from([None, "AU", "NZ", "FJ", "DE", "JP"]),
    tag=st.sampled_from([None, None, True, False]),
    draw=st.floats(0, 1, exclude_max=True),
)


def make_rule(content: dict[str, Any], **changes: Any) -> Rule:
    return parse_rule(content | changes, KNOWN)


def assigned_version(content: dict[str, Any], context: Context, **changes: Any) -> str | None:
    return make_rule(content, **changes).plan(context).assigned


@given(st.text(min_size=1, max_size=20), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_larger_weight_moves_no_user_back_to_stable(user: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    context = Context("r-1", user=user)
    if assigned_version(PARALLEL, context, weight=small) == "v2":
        assert assigned_version(PARALLEL, context, weight=large) == "v2"


@given(st.text(min_size=1, max_size=20), contexts)
def test_the_version_of_a_user_does_not_depend_on_other_headers(
    user: str, context: Context
) -> None:
    again = Context("r-2", user=user, session=context.session, region=context.region)
    for content in (PARALLEL, ROLLING):
        assert assigned_version(content, Context("r-1", user=user)) == assigned_version(
            content, again
        )


@pytest.mark.parametrize("content", [PARALLEL, AB | {"unit": "user", "weight": 0.3}])
def test_the_candidates_share_of_users_is_the_weight(content: dict[str, Any]) -> None:
    """20,000 users; the 99.99 % interval of the binomial distribution."""
    split = make_rule(content)
    users = [Context("r", user=f"user-{number}", region="AU") for number in range(20_000)]
    candidates = sum(split.plan(user).assigned == "v2" for user in users)
    low, high = stats.binom.interval(0.9999, len(users), split.share)
    assert low <= candidates <= high


@pytest.mark.parametrize("content", SPLITS)
@given(context=contexts)
def test_the_reasons_have_a_fixed_order(content: dict[str, Any], context: Context) -> None:
    """Tag, region, no unit, not ready, share."""
    split = make_rule(content)
    is_targeted = content["kind"] != "ab_test" or context.region in ("AU", "NZ", "FJ")
    unit = {"request": "any", "session": context.session, "user": context.user}[
        split.content()["unit"]
    ]
    for ready in (True, False):
        plan = split.plan(context, ready=ready)
        if context.tag is not None and content["kind"] != "ab_test":
            assert plan.reason is Reason.TAGGED
            assert plan.assigned == ("v2" if context.tag else "v1")
        elif not is_targeted:
            assert (plan.reason, plan.assigned) == (Reason.NOT_TARGETED, "v1")
        elif not unit:
            assert (plan.reason, plan.assigned) == (Reason.NO_UNIT, "v1")
        elif not ready:
            assert (plan.reason, plan.assigned) == (Reason.NOT_READY, "v1")
        else:
            assert plan.reason is Reason.SPLIT
            assert plan.assigned in ("v1", "v2")


@pytest.mark.parametrize("content", SPLITS)
@given(context=contexts)
def test_the_bucket_agrees_with_the_plan(content: dict[str, Any], context: Context) -> None:
    split = make_rule(content)
    bucket, plan = split.bucket(context), split.plan(context)
    if plan.reason is Reason.SPLIT and bucket is not None:
        assert plan.assigned == ("v2" if bucket < split.share else "v1")


def test_only_a_rolling_canary_sends_the_version() -> None:
    tagged = Context("r-1", tag=True)
    fallback = Plan(Reason.FALLBACK, Pool.STABLE, "v1")
    assert make_rule(PARALLEL).plan(tagged) == Plan(
        Reason.TAGGED, Pool.CANDIDATE, "v2", sends_version=False, fallback=fallback, timeout_s=2.0
    )
    fallback = Plan(Reason.FALLBACK, Pool.STABLE, "v1", sends_version=True)
    rolling = make_rule(ROLLING).plan(tagged)
    assert rolling == Plan(Reason.TAGGED, Pool.STABLE, "v2", True, fallback, 2.0)
    assert rolling.version == "v2"


def test_plans_for_stable_have_no_fallback() -> None:
    for content in SPLITS:
        assert make_rule(content).plan(Context("r-1", region="DE")).fallback is None


def test_an_ab_test_draws_requests_and_hashes_users() -> None:
    for draw, expected in ((0.49, "v2"), (0.5, "v1")):
        assert assigned_version(AB, Context("r", user="anna", region="AU", draw=draw)) == expected
    sticky = {
        assigned_version(AB, Context("r", user="anna", region="AU", draw=draw / 10), unit="user")
        for draw in range(10)
    }
    assert len(sticky) == 1
    assert make_rule(AB).bucket(Context("r", user="anna")) is None


def test_only_users_in_the_regions_get_the_treatment() -> None:
    pacific = members("australia-pacific") or frozenset()
    for region in ("AU", "NZ", "FJ", "WS", "DE", "JP", "ID", None):
        plan = make_rule(AB, weight=1.0).plan(Context("r", region=region))
        assert plan.assigned == ("v2" if region in pacific else "v1")


def test_a_canary_can_target_regions() -> None:
    plan = make_rule(PARALLEL, regions=["NZ", "europe"], weight=0.5).plan
    reasons = {
        region: plan(Context("r", user="anna", region=region)).reason
        for region in ("NZ", "DE", "AU", None)
    }
    assert reasons == {
        "NZ": Reason.SPLIT,
        "DE": Reason.SPLIT,
        "AU": Reason.NOT_TARGETED,
        None: Reason.NOT_TARGETED,
    }


def test_a_pin_overrides_a_tag() -> None:
    context = Context("r", user="anna", tag=True, pin="v3")
    with pytest.raises(PinRejected):
        make_rule(PARALLEL).plan(context)
    plan = make_rule(PARALLEL, allow_pin=True).plan(context)
    assert plan == Plan(Reason.PINNED, Pool.STABLE, "v3", sends_version=True)


def test_the_patched_share_bounds_the_weight_of_a_rolling_canary() -> None:
    assert make_rule(ROLLING).share == 0.25
    assert make_rule(ROLLING, weight=0.1).share == 0.1
    assert make_rule(ROLLING, weight=0.5).share == 0.25


def test_a_large_canary_gives_a_warning() -> None:
    assert make_rule(PARALLEL, weight=0.35).warnings() == []
    assert make_rule(PARALLEL, weight=0.4).warnings() == [
        "the canary gets 0.4 of the units: at most 0.35 is recommended"
    ]
    assert make_rule(ROLLING, replicas=2).warnings()
    assert make_rule(AB, weight=0.9).warnings() == []


def test_a_weight_above_the_patched_share_gives_a_warning() -> None:
    assert make_rule(ROLLING, weight=0.5).warnings() == [
        "rule.weight is 0.5, but 1 of 4 replicas hold the candidate: its share is 0.25"
    ]


def test_header_notes_of_an_ab_test_mention_an_ignored_tag() -> None:
    tagged = Context("r", tag=True)
    assert make_rule(AB).header_notes(tagged) == ["X-Canary has no effect under the rule ab_test"]
    assert make_rule(PARALLEL).header_notes(tagged) == make_rule(ROLLING).header_notes(tagged) == []


def test_experiment_terms_are_kind_versions_unit_and_age() -> None:
    terms = make_rule(PARALLEL).experiment_terms
    assert terms is not None
    assert terms.name == "koala-canary"
    assert terms.terms == {
        "kind": "canary_parallel",
        "versions": ["v1", "v2"],
        "unit": "user",
        "settle": "24h",
    }
    assert make_rule(PARALLEL, weight=0.5).experiment_terms == terms
    for other in ({"candidate": "v3"}, {"settle": "1h"}, {"experiment": "other"}):
        changed = make_rule(PARALLEL, **other).experiment_terms
        assert changed
        assert changed != terms
        assert changed.digest != terms.digest
    assert make_rule(PARALLEL, tolerances={"failures": 0.02}).experiment_terms == terms
    assert terms.digest == "73c5afbd64d95d9e"


def test_the_age_of_requests_is_no_term() -> None:
    """Each request is a unit, which has no later requests."""
    assert make_rule(AB, settle="1h").experiment_terms == make_rule(AB).experiment_terms
    by_user = make_rule(AB, unit="user")
    assert make_rule(AB, unit="user", settle="1h").experiment_terms != by_user.experiment_terms


@given(contexts)
def test_a_shadow_plans_like_single(context: Context) -> None:
    shadow = make_rule(SHADOW)
    single = make_rule({"kind": "single", "stable": "v1"})
    assert shadow.plan(context) == single.plan(context)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (PARALLEL | {"weight": 0.6}, "rule.weight is 0.6: expected 0 to 0.5 for a canary"),
        (PARALLEL | {"settle": "31d"}, "rule.settle is 31d: expected at most 30d"),
        (
            PARALLEL | {"settle": "0s"},
            "rule.settle is '0s': expected a whole number and s, m, h or d",
        ),
        (PARALLEL | {"tolerances": {"failures": 0}}, "rule.tolerances.failures"),
        (PARALLEL | {"tolerances": {"failures": 1.0}}, "rule.tolerances.failures"),
        (PARALLEL | {"tolerances": {"latency": -0.1}}, "rule.tolerances.latency"),
        (
            PARALLEL | {"tolerances": {"errors": 0.1}},
            "rule.tolerances.errors is not a key here: the keys are failures, latency",
        ),
        (SHADOW | {"tolerances": {"disagreement": 1.5}}, "rule.tolerances.disagreement"),
        (PARALLEL | {"weight": -0.1}, "rule.weight is -0.1"),
        (PARALLEL | {"weight": float("nan")}, "rule.weight is nan"),
        (PARALLEL | {"weight": "0.1"}, "rule.weight is '0.1': expected a number; write 0.1 w"),
        (PARALLEL | {"experiment": ""}, "rule.experiment is '': expected a name of small letters"),
        (PARALLEL | {"experiment": "a" * 65}, f"rule.experiment is '{'a' * 50}…': expected at mo"),
        (PARALLEL | {"experiment": "Ko ala"}, "rule.experiment is 'Ko ala': expected a name of"),
        (PARALLEL | {"candidate": "v1"}, "rule.candidate is v1: the rule has that version"),
        (PARALLEL | {"candidate": "v9"}, "rule.candidate is v9: the registry has v1, v2, v3"),
        (PARALLEL | {"regions": ["AU", "atlantis"]}, "rule.regions.1 is 'atlantis': expected"),
        (PARALLEL | {"regions": []}, "rule.regions is an empty list: expected at least 1 entry"),
        (PARALLEL | {"unit": "request"}, "rule.unit is 'request': expected 'user' or 'session'"),
        (PARALLEL | {"replicas": 1}, "rule.replicas is not a key here: the keys are kind, "),
        (PARALLEL | {"timeout_s": 0}, "rule.timeout_s is 0: expected more than 0"),
        (PARALLEL | {"settle": 60}, "rule.settle is 60: expected a whole number and s, m, h or d"),
        (ROLLING | {"replicas": 3}, "rule.replicas is 3 of 4: expected at most half for a canary"),
        (ROLLING | {"replicas": 0}, "rule.replicas is 0: expected at least 1"),
        (ROLLING | {"weight": 0.6}, "rule.weight is 0.6"),
        (ROLLING | {"candidate": "v1"}, "rule.candidate is v1: the rule has that version"),
        (AB | {"weight": 1.1}, "rule.weight is 1.1: expected at most 1; for 1.1 % write 0.011"),
        (AB | {"outcome": {"metric": "smiles"}}, "rule.outcome.metric is 'smiles': expected"),
        (AB | {"outcome": {"windw": "7d"}}, "rule.outcome.windw is not a key here: did you mean w"),
        (AB | {"treatment": "v1"}, "rule.treatment is v1: the rule has that version"),
        (SHADOW | {"sample": 0}, "rule.sample is 0: expected more than 0"),
        (SHADOW | {"max_in_flight": 0}, "rule.max_in_flight is 0: expected at least 1"),
        (SHADOW | {"weight": 0.1}, "rule.weight is not a key here: the keys are kind"),
    ],
)
def test_an_invalid_rule_is_rejected_with_the_path_of_the_key(
    content: dict[str, Any], text: str
) -> None:
    with pytest.raises(BadConfig) as caught:
        parse_rule(content, KNOWN)
    assert str(caught.value).startswith(text)
