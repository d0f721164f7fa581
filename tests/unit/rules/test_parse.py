from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.validation import keys_at
from serve_app.errors import BadConfig
from serve_app.rules.parse import ingress_config, pool_config, read_rule
from serve_app.rules.registry import KINDS
from serve_app.rules.shadow import Shadow
from tests.unit.service import AB, PARALLEL, ROLLING

KNOWN = ("v1", "v2")
SINGLE = {"kind": "single", "stable": "v1"}
SHADOW: dict[str, Any] = {"kind": "shadow", "stable": "v1", "candidate": "v2"}

yaml_content: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.sampled_from(
                    ["rule", "kind", "stable", "version", "candidate", "weight", "review"]
                ),
                st.text(max_size=5),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


def test_ingress_config_returns_the_rule() -> None:
    rule = ingress_config({"rule": SINGLE}, KNOWN)
    assert (rule.kind, rule.versions) == ("single", {"stable": "v1"})


@pytest.mark.parametrize(
    ("user_config", "path"),
    [
        (None, "user_config"),
        ([], "user_config"),
        ("single", "user_config"),
        ({}, "rule"),
        ({"rule": None}, "rule"),
        ({"rule": SINGLE, "rules": SINGLE}, "rules"),
        ({"rule": SINGLE | {"stable": "v9"}}, "rule.stable"),
        ({"rule": SINGLE | {"stable": "1"}}, "rule.stable"),
        ({"rule": SINGLE | {"stable": "v1 "}}, "rule.stable"),
        ({"rule": SINGLE | {"stable": "v1\n"}}, "rule.stable"),
        ({"rule": SINGLE | {"stable": 1}}, "rule.stable"),
        ({"rule": {"kind": "single"}}, "rule.stable"),
        ({"rule": SINGLE | {"kind": "nonsense"}}, "rule.kind"),
        ({"rule": SINGLE | {"stabel": "v1"}}, "rule.stabel"),
        ({"rule": SINGLE | {"allow_pin": "yes"}}, "rule.allow_pin"),
        ({"rule": SINGLE | {"allow_pin": 1}}, "rule.allow_pin"),
        ({"rule": SINGLE | {"weight": 0.1}}, "rule.weight"),
    ],
)
def test_an_invalid_rule_is_rejected_with_the_path_of_the_key(user_config: Any, path: str) -> None:
    with pytest.raises(BadConfig) as caught:
        ingress_config(user_config, KNOWN)
    assert caught.value.path == path
    assert caught.value.message


def test_the_error_of_an_unknown_version_lists_the_registry() -> None:
    with pytest.raises(BadConfig) as caught:
        ingress_config({"rule": SINGLE | {"stable": "v3"}}, KNOWN)
    assert str(caught.value) == "rule.stable is v3: the registry has v1, v2"
    with pytest.raises(BadConfig, match="version is v1: the registry has none"):
        pool_config({"version": "v1"}, ())


def test_a_shadow_keeps_no_images_by_default() -> None:
    rule = ingress_config({"rule": SHADOW}, KNOWN)
    assert isinstance(rule, Shadow)
    assert rule.review is None
    assert rule.content()["review"] is None


def test_content_has_the_review_keys_of_the_yaml() -> None:
    rule = ingress_config({"rule": SHADOW | {"review": {"for": "90m", "keep": 5}}}, KNOWN)
    assert isinstance(rule, Shadow)
    assert rule.review
    assert rule.review.retention_ms == 90 * 60_000
    expected = {"keep": 5, "disagreements": 1.0, "agreements": 0.02, "for": "90m"}
    assert rule.content()["review"] == expected
    assert read_rule(rule.content()) == rule
    assert read_rule(SHADOW | {"review": {}}).content()["review"] == expected | {
        "keep": 200,
        "for": "7d",
    }


@pytest.mark.parametrize(
    ("review", "text"),
    [
        (True, "rule.review is true: expected a mapping"),
        ([], "rule.review is an empty list: expected a mapping"),
        ({"keep": 0}, "rule.review.keep is 0: expected at least 1"),
        ({"keep": 1001}, "rule.review.keep is 1001: expected at most 1000"),
        ({"keep": 1.5}, "rule.review.keep is 1.5: expected a whole number"),
        ({"agreements": 1.01}, "rule.review.agreements is 1.01: expected at most 1"),
        ({"disagreements": -0.1}, "rule.review.disagreements is -0.1: expected at least 0"),
        ({"for": "7"}, "rule.review.for is '7': expected a whole number and s, m, h or d, such as"),
        ({"for": "0d"}, "rule.review.for is '0d': expected a whole number"),
        ({"for": "7d\n"}, r"rule.review.for is '7d\n': expected a whole number"),
        ({"for": "31d"}, "rule.review.for is 31d: expected at most 30d"),
        ({"for": 7}, "rule.review.for is 7: expected a whole number and s, m, h or d"),
        ({"for_": "7d"}, "rule.review.for_ is not a key here: did you mean for?"),
        ({"kep": 7}, "rule.review.kep is not a key here: did you mean keep?"),
    ],
)
def test_an_invalid_review_is_rejected_with_the_path_of_the_key(review: Any, text: str) -> None:
    with pytest.raises(BadConfig) as caught:
        ingress_config({"rule": SHADOW | {"review": review}}, KNOWN)
    assert str(caught.value).startswith(text)


def test_pool_config_returns_the_version() -> None:
    assert pool_config({"version": "v2"}, KNOWN).version == "v2"


@pytest.mark.parametrize(
    ("user_config", "path"),
    [
        (None, "user_config"),
        ({}, "version"),
        ({"version": "v9"}, "version"),
        ({"version": 2}, "version"),
        ({"version": "v1", "backend": "onnx"}, "backend"),
    ],
)
def test_an_invalid_pool_config_is_rejected_with_the_path_of_the_key(
    user_config: Any, path: str
) -> None:
    with pytest.raises(BadConfig) as caught:
        pool_config(user_config, KNOWN)
    assert caught.value.path == path


@given(yaml_content)
def test_arbitrary_content_raises_only_bad_config(user_config: Any) -> None:
    for parse in (ingress_config, pool_config):
        with suppress(BadConfig):
            parse(user_config, KNOWN)


RULES = {
    "single": SINGLE,
    "canary_parallel": PARALLEL,
    "canary_rolling": ROLLING,
    "ab_test": AB,
    "shadow": SHADOW,
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_misspelt_key_of_a_rule_gets_the_right_suggestion(kind: str, data: st.DataObject) -> None:
    """It is named before a missing key, and instead of the one that it is meant to be."""
    keys = [key for key in keys_at(KINDS[kind], ()) if len(key) > 2]
    key = data.draw(st.sampled_from(keys))
    at = data.draw(st.integers(0, len(key) - 2))
    misspelt = data.draw(
        st.sampled_from([key[:at] + key[at + 1] + key[at] + key[at + 2 :], f"{key}s", key.upper()])
    )
    assume(misspelt not in keys)
    content = dict(RULES[kind])
    content[misspelt] = content.pop(key, None)
    with pytest.raises(BadConfig) as caught:
        read_rule(content)
    assert str(caught.value) == f"rule.{misspelt} is not a key here: did you mean {key}?"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "rule.kind is missing: expected one of single, canary_rolling, "),
        ({"stable": "v1"}, "rule.kind is missing: expected one of single, canary_rolling, "),
        ({"knd": "single", "stable": "v1"}, "rule.knd is not a key here: did you mean kind?"),
        ({"kind": "canary"}, "rule.kind is 'canary': expected one of single, canary_rolling, "),
        ({"kind": "shadows"}, "rule.kind is 'shadows': expected one of single, canary_rolling, "),
        ({"kind": True}, "rule.kind is true: expected one of single, "),
    ],
)
def test_a_rule_without_a_known_kind_is_rejected(content: dict[str, Any], text: str) -> None:
    with pytest.raises(BadConfig) as caught:
        read_rule(content)
    assert str(caught.value).startswith(text)


def test_all_faults_of_a_rule_are_named() -> None:
    wrong = {"weight": 5, "experiment": 1001, "settle": 86400, "regions": ["UK", False]}
    with pytest.raises(BadConfig) as caught:
        read_rule(PARALLEL | wrong)
    starts = [
        'rule.experiment is 1001: expected text; write it in quotes, "1001"',
        "rule.regions.0 is 'UK': expected the code of a country (ISO 3166-1 alpha-2), such as AU",
        'rule.regions.1 is false, which YAML 1.1 makes of NO (Norway): write "NO" in quotes',
        "rule.settle is 86400: expected a whole number and s, m, h or d, such as 90s, 15m, 24h ",
        "rule.weight is 5: expected 0 to 0.5 for a canary; for 5 % write 0.05",
    ]
    findings = [str(finding) for finding in caught.value.findings]
    assert [text[: len(start)] for text, start in zip(findings, starts, strict=True)] == starts


def test_all_unknown_versions_are_named() -> None:
    with pytest.raises(BadConfig) as caught:
        ingress_config({"rule": PARALLEL}, ())
    assert [finding.path for finding in caught.value.findings] == ["rule.stable", "rule.candidate"]


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (ROLLING | {"of": 10**12}, "rule.of"),
        (ROLLING | {"of": 5000}, "rule.of"),
        (ROLLING | {"of": 5000, "replicas": 2500}, "rule.replicas"),
        (PARALLEL | {"tolerances": {"latency": 1e30}}, "rule.tolerances.latency"),
        (AB | {"outcome": {"min_effect": 1e30}}, "rule.outcome.min_effect"),
        (SHADOW | {"max_in_flight": 10**12}, "rule.max_in_flight"),
    ],
)
def test_a_number_that_no_service_can_reach_is_rejected(content: dict[str, Any], path: str) -> None:
    with pytest.raises(BadConfig) as caught:
        read_rule(content)
    assert caught.value.path == path


def test_a_patch_has_the_bounds_of_a_rule() -> None:
    with pytest.raises(BadConfig, match=r"^patch.of is 5000: expected at most 1000$"):
        pool_config({"version": "v1", "patch": {"version": "v2", "replicas": 1, "of": 5000}}, KNOWN)
