from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_app.errors import PinRejected
from serve_app.rules.plan import Context, Plan, Pool, Reason
from serve_app.rules.single import Single

RULE = Single(kind="single", stable="v1")

names = st.one_of(st.none(), st.text(min_size=1, max_size=8))
contexts = st.builds(
    Context,
    request_id=st.just("r-1"),
    user=names,
    session=names,
    region=st.one_of(st.none(), st.sampled_from(["AU", "DE"])),
    tag=st.one_of(st.none(), st.booleans()),
    pin=st.none(),
)


@given(contexts)
def test_every_request_goes_to_the_stable_pool(context: Context) -> None:
    """The call carries no version: a rolling update changes the replicas one by one."""
    assert RULE.plan(context) == Plan(Reason.STATIC, Pool.STABLE, None)


def test_a_pin_is_rejected_by_default() -> None:
    with pytest.raises(PinRejected, match="pinned to v2, and the rule in force allows no pins"):
        RULE.plan(Context("r-1", pin="v2"))


def test_an_allowed_pin_overrides_the_rule() -> None:
    rule = Single(kind="single", stable="v1", allow_pin=True)
    context = Context("r-1", user="anna", region="AU", tag=True, pin="v2")
    assert rule.plan(context) == Plan(Reason.PINNED, Pool.STABLE, "v2", sends_version=True)


def test_header_notes_mention_only_an_ignored_tag() -> None:
    assert RULE.header_notes(Context("r-1", user="anna", region="AU")) == []
    for tag in (True, False):
        assert RULE.header_notes(Context("r-1", tag=tag)) == [
            "X-Canary has no effect under the rule single"
        ]


def test_rule_id_is_the_hash_of_the_rule_with_defaults() -> None:
    explicit = Single(
        kind="single", stable="v1", allow_pin=False, trust_headers=True, reveal_version=True
    )
    assert RULE.rule_id == explicit.rule_id
    assert RULE.rule_id == hashlib.sha256(RULE.canonical().encode()).hexdigest()[:8]


@pytest.mark.parametrize(
    "change",
    [
        {"stable": "v2"},
        {"allow_pin": True},
        {"trust_headers": False},
        {"reveal_version": False},
    ],
)
def test_every_key_changes_the_rule_id(change: dict[str, object]) -> None:
    assert Single.model_validate(RULE.content() | change).rule_id != RULE.rule_id


def test_canonical_is_compact_json_with_sorted_keys() -> None:
    text = RULE.canonical()
    assert json.loads(text) == RULE.content()
    assert list(json.loads(text)) == sorted(RULE.content())
    assert " " not in text


def test_a_rule_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RULE.stable = "v2"
