"""What a change will do, in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.control_plane.preview import Preview, preview
from serve_app.deployment.apply_rule import with_rule
from serve_app.rules.parse import read_rule
from tests.unit.control_plane.conftest import shipped
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE

LABELS = {"v1": ["cat", "dog"], "v2": ["cat", "dog", "koala"]}
FAULTS = {"v102": "300 ms slower"}
SHADOW_SENTENCE = "all requests get v1, and v2 gets copies of 100 % of them"
SINGLE_V2 = SINGLE | {"stable": "v2"}


def document(rule: dict[str, Any]) -> dict[str, Any]:
    return with_rule(shipped("base"), rule, read_rule(rule))


def preview_of(
    before: dict[str, Any], after: dict[str, Any], *, recreates: bool = False
) -> Preview:
    """The preview of a change of the rule."""
    return preview(document(before), document(after), LABELS.get, FAULTS.get, recreates=recreates)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (
            SINGLE,
            PARALLEL,
            (
                "experiment: none → koala-canary",
                "rule: all requests get v1 → 30 % of users get v2, all others v1",
                "CandidatePool: starts v2",
            ),
        ),
        (
            PARALLEL,
            PARALLEL | {"weight": 0.5},
            ("rule: 30 % of users get v2, all others v1 → 50 % of users get v2, all others v1",),
        ),
        (
            PARALLEL,
            SINGLE_V2,
            (
                "all users: v1 → v2",
                "experiment: koala-canary → none",
                "rule: 30 % of users get v2, all others v1 → all requests get v2",
                "CandidatePool: no longer needed",
            ),
        ),
        (
            SINGLE,
            SHADOW,
            (
                "experiment: none → shadow-v1-v2",
                f"rule: all requests get v1 → {SHADOW_SENTENCE}",
                "CandidatePool: starts v2",
            ),
        ),
        (SINGLE, SINGLE, ()),
        (
            PARALLEL,
            PARALLEL | {"weight": 0.4, "reveal_version": False},
            (
                "rule: 30 % of users get v2, all others v1 → 40 % of users get v2, all others v1",
                "rule.reveal_version: true → false",
            ),
        ),
        (
            SINGLE,
            SINGLE | {"allow_pin": True},
            ("rule.allow_pin: false → true",),
        ),
    ],
)
def test_the_sentences(
    before: dict[str, Any], after: dict[str, Any], changes: tuple[str, ...]
) -> None:
    assert preview_of(before, after).changes == changes


def test_a_rolling_canary_says_how_many_replicas_are_patched() -> None:
    changes = preview_of(SINGLE, ROLLING).changes
    assert "StablePool: fixed at 4 replicas, 1 of them with v2" in changes


def test_other_keys_are_shown_with_their_effect() -> None:
    after = shipped("base")
    after["http_options"]["port"] = 9000
    after["applications"][0]["args"] = {"backend": "torch"}
    (pool,) = [d for d in after["applications"][0]["deployments"] if d["name"] == "StablePool"]
    pool["autoscaling_config"]["max_replicas"] = 7
    assert preview(shipped("base"), after, LABELS.get, FAULTS.get).changes == (
        "animals.StablePool.autoscaling_config.max_replicas: 2 → 7",
        'animals.args.backend: unset → "torch", with new replicas',
        "http_options.port: 8000 → 9000, after down and up",
    )


def test_a_change_for_all_users_is_confirmed() -> None:
    assert preview_of(SINGLE, SINGLE_V2).confirmations == ("all users change from v1 to v2",)
    assert preview_of(PARALLEL, SINGLE_V2).confirmations == ("all users change from v1 to v2",)


@pytest.mark.parametrize("after", [PARALLEL, AB, SHADOW, SINGLE])
def test_a_change_for_some_users_is_not_confirmed(after: dict[str, Any]) -> None:
    assert preview_of(SINGLE, after).confirmations == ()


def test_a_recreation_is_confirmed_and_described() -> None:
    found = preview_of(SINGLE, SINGLE, recreates=True)
    assert found.changes == (
        "the data plane is torn down and built again: requests fail meanwhile",
    )
    assert found.confirmations == ("requests fail while the data plane is recreated",)


def test_a_version_without_a_label_of_the_version_that_it_replaces_is_a_warning() -> None:
    backwards = PARALLEL | {"stable": "v2", "candidate": "v1"}
    for after in (SINGLE, backwards):
        found = preview_of(SINGLE_V2, after)
        assert found.warnings == ("v1 does not know koala, which v2 does",)
        assert found.confirmations[-1:] == found.warnings
    assert preview_of(SINGLE, PARALLEL).warnings == ()
    shadow = SHADOW | {"stable": "v2", "candidate": "v1"}
    assert preview_of(SINGLE_V2, shadow).warnings == ()  # no user gets its predictions


@pytest.mark.parametrize("rule", [PARALLEL | {"candidate": "v102"}, SINGLE | {"stable": "v102"}])
def test_a_test_version_is_a_warning(rule: dict[str, Any]) -> None:
    warning = "v102 is a test version with faults on purpose: 300 ms slower"
    assert preview_of(SINGLE, rule).warnings[-1] == warning


def test_a_version_that_left_the_registry_has_no_labels() -> None:
    gone = SINGLE | {"stable": "v9"}
    assert preview_of(gone, SINGLE).warnings == ()


def test_the_version_that_all_users_change_to_is_named() -> None:
    assert preview_of(PARALLEL, SINGLE_V2).promoted == "v2"
    assert preview_of(SINGLE, PARALLEL).promoted is None


def test_a_file_without_a_rule_is_compared() -> None:
    """As `serve deploy` may send."""
    broken = shipped("base")
    broken["applications"][0]["deployments"] = []
    changes = preview(broken, shipped("base"), LABELS.get, FAULTS.get).changes
    assert changes[:2] == (
        "all users: no version → v1",
        "rule: no valid rule → all requests get v1",
    )
