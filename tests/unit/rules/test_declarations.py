"""What every kind of rule declares: its arms, share, report and experiment."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import BadConfig
from serve_app.rules.parse import read_rule
from serve_app.rules.registry import KINDS, kinds_with_report
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE

ALL = {rule["kind"]: rule for rule in (SINGLE, PARALLEL, ROLLING, AB, SHADOW)}
SHARE_KEYS = {
    "canary_parallel": {"weight"},
    "canary_rolling": {"replicas", "weight"},
    "ab_test": {"weight"},
    "shadow": {"sample"},
}

all_kinds = pytest.mark.parametrize("kind", KINDS)
kinds_with_a_share = pytest.mark.parametrize("kind", SHARE_KEYS)


def test_a_kind_is_registered_under_the_name_that_its_yaml_has() -> None:
    for kind, rule in KINDS.items():
        assert get_args(rule.model_fields["kind"].annotation) == (kind,)


def test_each_kind_has_one_report() -> None:
    assert kinds_with_report("canary") == ("canary_rolling", "canary_parallel")
    assert kinds_with_report("ab") == ("ab_test",)
    assert kinds_with_report("shadow") == ("shadow",)
    assert kinds_with_report("traffic") == ("single",)
    assert kinds_with_report("nonsense") == ()


@all_kinds
def test_the_arms_are_the_versions_of_the_yaml(kind: str) -> None:
    rule = read_rule(ALL[kind])
    arms = (rule.stable, rule.candidate)[: len(rule.arm_names)]
    assert arms == tuple(ALL[kind][name] for name in rule.arm_names)
    assert rule.versions == dict(zip(rule.arm_names, arms, strict=True))
    assert (rule.candidate is None) == (len(rule.arm_names) == 1)


@kinds_with_a_share
@given(share=st.floats(0.001, 0.5), replicas=st.integers(1, 4))
def test_another_share_changes_nothing_else(kind: str, share: float, replicas: int) -> None:
    rule = read_rule(ALL[kind] | ({"of": 8} if kind == "canary_rolling" else {}))
    if kind == "canary_rolling":
        share = replicas / 8
    changed = rule.with_share(share)
    assert changed.share == share
    before, after = rule.content(), changed.content()
    assert {key for key in after if after[key] != before[key]} <= SHARE_KEYS[kind]
    assert changed.experiment_terms == rule.experiment_terms
    assert read_rule(after) == changed


@kinds_with_a_share
def test_a_share_is_bounded_as_in_the_yaml(kind: str) -> None:
    rule = read_rule(ALL[kind])
    most = 0.5 if "canary" in kind else 1.0
    assert rule.with_share(most).share == most
    for share in (-0.01, most + 0.01, float("nan")):
        with pytest.raises(BadConfig):
            rule.with_share(share)


def test_the_share_of_a_rolling_canary_is_a_whole_number_of_replicas() -> None:
    rule = read_rule(ROLLING | {"weight": 0.1})
    half = rule.with_share(0.5)
    assert (half.content()["replicas"], half.content()["weight"], half.share) == (2, None, 0.5)
    third = read_rule(ROLLING | {"of": 6}).with_share(0.333333)
    assert third.content()["replicas"] == 2
    for share in (0.0, 0.1, 0.75):
        with pytest.raises(BadConfig, match=f"^rule.weight is {share:g}: expected a whole number"):
            rule.with_share(share)


def test_a_single_rule_has_no_share() -> None:
    with pytest.raises(BadConfig, match=r"^rule.kind is single: it has no share$"):
        read_rule(SINGLE).with_share(0.1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (SINGLE, "all requests get v1"),
        (PARALLEL, "30 % of users get v2, all others v1"),
        (ROLLING | {"unit": "session"}, "25 % of sessions get v2, all others v1"),
        (ROLLING | {"replicas": 2, "of": 6}, "33.3 % of users get v2, all others v1"),
        (AB | {"regions": ["NZ", "FJ"]}, "50 % of requests in NZ, FJ get v2, all others v1"),
        (SHADOW | {"sample": 0.2}, "all requests get v1, and v2 gets copies of 20 % of them"),
    ],
)
def test_the_sentence_says_who_gets_which_version(content: dict[str, Any], sentence: str) -> None:
    assert read_rule(content).sentence() == sentence


def test_a_shadow_is_an_experiment_named_after_its_versions() -> None:
    """A rule that was stored without the key has the same name."""
    rule = read_rule(SHADOW)
    assert rule.content()["experiment"] == "shadow-v1-v2"
    terms = rule.experiment_terms
    assert terms is not None
    assert (terms.name, terms.terms) == (
        "shadow-v1-v2",
        {"kind": "shadow", "versions": ["v1", "v2"]},
    )
    assert read_rule(rule.content()) == rule
    named = read_rule(SHADOW | {"experiment": "koalas"}).experiment_terms
    assert named is not None
    assert named.name == "koalas"
    with pytest.raises(
        BadConfig, match=r"^rule.experiment is 'Koalas!': expected a name of small letters"
    ):
        read_rule(SHADOW | {"experiment": "Koalas!"})


@all_kinds
def test_only_a_split_assigns_units(kind: str) -> None:
    assert KINDS[kind].splits == ("unit" in KINDS[kind].model_fields)
