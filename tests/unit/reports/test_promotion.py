"""What speaks against serving all users with a version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.evidence.verdict import Finding
from serve_app.reports.summaries import ArmSummary, ExperimentSummary, promotion_warnings
from serve_app.store.store import Store, open_store
from tests.factories import adoption, batch, exposure, pair


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield store
    store.close()


def experiment(finding: Finding | None) -> ExperimentSummary:
    arms = (ArmSummary("stable", "v1", 9), ArmSummary("candidate", "v2", 9))
    return ExperimentSummary(
        "koala-canary",
        "canary_parallel",
        "canary",
        "user",
        arms,
        shares=(0.1,),
        from_ms=0,
        to_ms=None,
        finding=finding,
        sentence="more errors",
    )


@pytest.mark.parametrize(
    ("rows", "warnings"),
    [
        ([], ["v2 has never served a user"]),
        ([pair(1)], ["v2 has never served a user, only copies"]),
        ([exposure(1, served="v1")], ["v2 has never served a user"]),  # a fallback
        ([exposure(1, assigned="v1", served="v1")], ["v2 has never served a user"]),
        ([exposure(1, served="v2")], []),
    ],
    ids=["nothing", "copies", "fallback", "another version", "served"],
)
def test_a_version_that_never_served_a_user(
    store: Store, rows: list[object], warnings: list[str]
) -> None:
    store.record(batch(adoption("a", 0), *rows))  # type: ignore[arg-type]
    assert list(promotion_warnings(store, [], "v2")) == warnings


@pytest.mark.parametrize(
    ("experiments", "says"),
    [
        ([experiment(Finding.WORSE)], "worse"),
        ([experiment(Finding.INVALID)], "invalid: SRM"),
        ([experiment(None), experiment(Finding.KEEP_GOING), experiment(Finding.WORSE)], "worse"),
        ([experiment(Finding.BETTER), experiment(Finding.WORSE)], None),
        ([], None),
    ],
    ids=["worse", "invalid", "undecided since", "better since", "none"],
)
def test_the_last_report_on_the_version_is_adverse(
    store: Store, experiments: list[ExperimentSummary], says: str | None
) -> None:
    store.record(batch(adoption("a", 0), exposure(1, served="v2")))
    expected = f"the last report on v2 (experiment koala-canary) says {says}: more errors"
    assert list(promotion_warnings(store, experiments, "v2")) == ([expected] if says else [])
