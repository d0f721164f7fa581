from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import BadConfig
from serve_app.rules.parse import ingress_config, pool_config, read_rule
from serve_app.rules.shadow import Shadow

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
        (True, "rule.review is rejected"),
        ([], "rule.review is rejected"),
        ({"keep": 0}, "rule.review.keep is rejected: Input should be greater than or equal to 1"),
        (
            {"keep": 1001},
            "rule.review.keep is rejected: Input should be less than or equal to 1000",
        ),
        ({"keep": 1.5}, "rule.review.keep is rejected"),
        ({"agreements": 1.01}, "rule.review.agreements is rejected"),
        ({"disagreements": -0.1}, "rule.review.disagreements is rejected"),
        ({"for": "7"}, "rule.review.for is '7': expected a number and s, m, h or d, such as 7d"),
        ({"for": "0d"}, "rule.review.for is '0d': expected a number"),
        ({"for": "7d\n"}, "rule.review.for is '7d\n': expected a number"),
        ({"for": "31d"}, "rule.review.for is 31d: expected at most 30d"),
        ({"for": 7}, "rule.review.for is rejected"),
        ({"for_": "7d"}, "rule.review.for_ is rejected"),
        ({"kep": 7}, "rule.review.kep is rejected"),
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
