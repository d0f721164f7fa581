"""The terms of an experiment name are fixed by its first rule."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serve_app.deployment.experiments import Experiments
from serve_app.errors import BadConfig
from serve_app.rules.parse import parse_rule
from serve_app.rules.rule import Rule
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE

NAMED = [PARALLEL, ROLLING, AB, SHADOW]


def make_rule(content: dict[str, Any], **changes: Any) -> Rule:
    return parse_rule(content | changes, ("v1", "v2", "v3"))


@pytest.fixture
def experiments(tmp_path: Path) -> Experiments:
    return Experiments(tmp_path)


@pytest.mark.parametrize("content", NAMED, ids=[c["kind"] for c in NAMED])
def test_a_new_name_passes_and_the_same_rule_passes_again(
    experiments: Experiments, content: dict[str, Any]
) -> None:
    for _ in range(2):
        experiments.check(make_rule(content))
        experiments.claim(make_rule(content))


@pytest.mark.parametrize(
    "changes",
    [
        {"weight": 0.5},
        {"weight": 0.0},
        {"regions": ["NZ"]},
        {"timeout_s": 1.0},
        {"allow_pin": True},
        {"tolerances": {"failures": 0.02}},
    ],
)
def test_a_running_experiment_may_change_keys_that_are_no_terms(
    experiments: Experiments, changes: dict[str, Any]
) -> None:
    experiments.claim(make_rule(PARALLEL))
    experiments.check(make_rule(PARALLEL, **changes))
    experiments.claim(make_rule(PARALLEL, **changes))


@pytest.mark.parametrize(
    "other",
    [
        PARALLEL | {"candidate": "v3"},
        PARALLEL | {"stable": "v3"},
        PARALLEL | {"stable": "v2", "candidate": "v1"},
        PARALLEL | {"unit": "session"},
        PARALLEL | {"settle": "1h"},
        ROLLING | {"experiment": "koala-canary"},
        AB | {"experiment": "koala-canary", "unit": "user"},
        SHADOW | {"experiment": "koala-canary"},
    ],
    ids=["candidate", "stable", "swapped", "unit", "settle", "rolling", "ab_test", "shadow"],
)
def test_other_terms_under_the_same_name_are_rejected(
    experiments: Experiments, other: dict[str, Any]
) -> None:
    experiments.claim(make_rule(PARALLEL))
    for method in (experiments.check, experiments.claim):
        with pytest.raises(BadConfig) as caught:
            method(make_rule(other))
        assert caught.value.path == "rule.experiment"
        assert caught.value.message == (
            "is koala-canary, which was used with kind canary_parallel, versions v1 and v2,"
            " unit user, settle 24h: choose a new name"
        )
    experiments.check(make_rule(other, experiment="koala-canary-2"))
    experiments.check(make_rule(PARALLEL))  # the first terms are unchanged


def test_the_outcome_of_an_ab_test_is_a_fixed_term(experiments: Experiments) -> None:
    experiments.claim(make_rule(AB))
    experiments.claim(make_rule(AB, weight=0.25))
    with pytest.raises(BadConfig) as caught:
        experiments.check(make_rule(AB, outcome={"min_effect": 0.05}))
    assert caught.value.message == (
        f"is {AB['experiment']}, which was used with kind ab_test, versions v1 and v2, unit"
        " request, outcome metric complaint and direction decrease and min_effect 0.01 and"
        " window 7d: choose a new name"
    )


def test_a_stored_file_without_an_outcome_fixes_only_its_own_terms(
    experiments: Experiments, tmp_path: Path
) -> None:
    """An older version of the program stored no outcome."""
    terms = {"kind": "ab_test", "versions": ["v1", "v2"], "unit": "request"}
    (tmp_path / f"{AB['experiment']}.json").write_text(json.dumps(terms))
    experiments.claim(make_rule(AB, outcome={"min_effect": 0.05}))
    with pytest.raises(BadConfig):
        experiments.check(make_rule(AB, treatment="v3"))


def test_a_rule_without_an_experiment_passes_and_writes_nothing(
    experiments: Experiments, tmp_path: Path
) -> None:
    experiments.check(make_rule(SINGLE))
    experiments.claim(make_rule(SINGLE))
    assert list(tmp_path.iterdir()) == []


def test_check_writes_nothing(experiments: Experiments, tmp_path: Path) -> None:
    """A file that is checked and not deployed claims no name."""
    experiments.check(make_rule(PARALLEL))
    experiments.check(make_rule(PARALLEL, candidate="v3"))
    assert list(tmp_path.iterdir()) == []


def test_terms_persist_in_the_folder(experiments: Experiments, tmp_path: Path) -> None:
    experiments.claim(make_rule(PARALLEL))
    with pytest.raises(BadConfig):
        Experiments(tmp_path).check(make_rule(PARALLEL, unit="session"))


def test_similar_names_are_independent(experiments: Experiments) -> None:
    for name in ("a", "a.json", "a-b", "a.b", "a..b", "0", "a" * 64):
        for other in ({}, {"candidate": "v3"}):
            experiments.check(make_rule(PARALLEL, experiment=name, **other))
        experiments.claim(make_rule(PARALLEL, experiment=name))


def test_concurrent_claims_of_a_name_agree_on_one_set_of_terms(tmp_path: Path) -> None:
    """Each ingress process claims the name when it applies the rule."""
    for round_ in range(20):
        name = f"race-{round_}"
        claims = [
            make_rule(PARALLEL, experiment=name, candidate=("v2", "v3")[number % 2])
            for number in range(8)
        ]

        def claim_candidate(claim: Rule) -> str | None:
            try:
                Experiments(tmp_path).claim(claim)
            except BadConfig:
                return None
            return claim.versions["candidate"]

        with ThreadPoolExecutor(8) as pool:
            winners = [winner for winner in pool.map(claim_candidate, claims) if winner]
        assert len(winners) == 4
        assert len(set(winners)) == 1
        terms = json.loads((tmp_path / f"{name}.json").read_text())
        assert terms["versions"] == ["v1", winners[0]]
    assert len(list(tmp_path.iterdir())) == 20, "no draft remains"
