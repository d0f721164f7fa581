from __future__ import annotations

from typing import Any

import pytest

from serve_app.reports import canary
from serve_app.reports.period import Period
from tests.unit.reports.conftest import CANARY, DAY, START_MS, Diary, as_json, hours, labels

ERRORS, LATENCY, MODEL = range(3)


def report(diary: Diary, period: Period = DAY, name: str | None = None) -> dict[str, Any]:
    return as_json(canary.report(diary.store(), period, labels, name))


def everybody(diary: Diary, control: range, treatment: range, **changes: Any) -> None:
    """An image of each user, in both arms."""
    for user in control:
        diary.answers("v1", user, **changes)
    for user in treatment:
        diary.answers("v2", user, **changes)


def test_both_versions_are_measured_by_unit(diary: Diary) -> None:
    """v1 takes 10 and 14 ms, and 20 for one who asks twice as much: (10 + 14 + 2 * 20) / 4."""
    diary.obeys(CANARY)
    for user, latency_ms in ((1, 10.0), (2, 14.0), (3, 20.0), (3, 20.0)):
        diary.answers("v1", user, latency_ms=latency_ms, model_ms=latency_ms / 2)
    for user, latency_ms in ((4, 20.0), (5, 26.0)):
        diary.answers("v2", user, latency_ms=latency_ms, model_ms=latency_ms / 2)
    found = report(diary)
    latency, model = found["measures"][LATENCY], found["measures"][MODEL]
    assert (latency["control"], latency["treatment"], latency["difference"]) == (16, 23, 7)
    assert (model["control"], model["treatment"], model["unit"]) == (8, 11.5, "ms")
    assert latency["units"] == {"control": 3, "treatment": 2}
    assert latency["min_effect"] == pytest.approx(1.6)  # a tenth of stable's
    low, high = latency["interval"]
    assert low < 7 < high
    assert found["finding"] == "keep going"


def test_a_fallback_counts_against_the_assigned_version(diary: Diary) -> None:
    """All that were assigned v2 were answered by v1: to them it looked perfect, and it failed."""
    diary.obeys(CANARY)
    for user in range(300):
        diary.answers("v1", user)
        diary.falls_back(1000 + user)
    found = report(diary)
    errors = found["measures"][ERRORS]
    assert (errors["control"], errors["treatment"], errors["finding"]) == (0, 1, "worse")
    assert found["finding"] == "worse"
    assert "answers that failed" in found["sentence"]


def test_what_v1_answered_in_its_place_is_no_answer_of_v2(diary: Diary) -> None:
    diary.obeys(CANARY)
    diary.answers("v1", user=1, label="dog", confidence=0.5)
    diary.answers("v2", user=2, label="koala", confidence=0.875)
    diary.falls_back(user=3, label="dog", confidence=0.5)
    found = report(diary)
    assert found["classes"]["counts"] == {"v1": {"dog": 1}, "v2": {"koala": 1}}
    assert found["classes"]["shared"] == ["cat", "dog"]
    assert found["confidence"] == {"v1": 0.5, "v2": 0.875}


def test_only_the_split_is_compared(diary: Diary) -> None:
    diary.obeys(CANARY, allow_pin=True)
    everybody(diary, range(3), range(10, 13))
    failed: dict[str, Any] = {"served": None, "label": None, "error": "internal"}
    diary.answers("v2", user=20, reason="tagged", label="koala", latency_ms=999.0)
    diary.answers("v2", user=21, reason="pinned", **failed)
    diary.answers("v1", user=None, reason="no_unit", **failed)
    diary.answers("v1", user=22, reason="not_ready", **failed)
    diary.answers("v1", user=23, reason="not_targeted", **failed)
    found = report(diary)
    assert found["measures"][ERRORS]["units"] == {"control": 3, "treatment": 3}
    assert [measure["difference"] for measure in found["measures"]] == [0, 0, 0]
    assert (found["srm"]["control"], found["srm"]["treatment"]) == (3, 3)
    assert found["classes"]["counts"] == {"v1": {"cat": 3}, "v2": {"cat": 3}}
    assert found["latency_ms"]["v2"]["p99"] == pytest.approx(10, rel=0.026)
    assert [(r["version"], r["reason"], r["exposures"], r["errors"]) for r in found["reasons"]] == [
        ("v1", "no_unit", 1, 1),
        ("v1", "not_ready", 1, 1),
        ("v1", "not_targeted", 1, 1),
        ("v1", "split", 3, 0),
        ("v2", "pinned", 1, 1),
        ("v2", "split", 3, 0),
        ("v2", "tagged", 1, 0),
    ]
    assert sum(point["exposures"] for point in found["series"]["points"]) == 6


def test_a_bad_hour_before_the_weight_grew_is_nobodys_fault(diary: Diary) -> None:
    """Simpson: both versions failed half of the units while v2 had a tenth of them, and none since
    it has half. Pooled, v1 failed 45 of 140 and v2 5 of 60."""
    failed = {"served": None, "label": None, "error": "internal", "model_ms": None}
    diary.obeys(CANARY, weight=0.1)
    everybody(diary, range(45), range(100, 105), **failed)
    everybody(diary, range(45, 90), range(105, 110))
    diary.obeys(CANARY, minute=60, weight=0.5)
    everybody(diary, range(200, 250), range(300, 350), minute=61)
    found = report(diary)
    errors = found["measures"][ERRORS]
    assert (errors["control"], errors["treatment"]) == (0.25, 0.25)
    assert errors["units"] == {"control": 140, "treatment": 60}
    assert errors["finding"] == "keep going"
    assert found["srm"]["expected_treatment"] == 10 + 50


def test_that_nobody_failed_is_known(diary: Diary) -> None:
    diary.obeys(CANARY)
    everybody(diary, range(2000), range(5000, 7000))
    errors = report(diary)["measures"][ERRORS]
    low, high = errors["interval"]
    assert -0.01 < low < 0 < high < 0.01
    assert errors["finding"] == "no difference"


def test_that_nobody_failed_is_known_as_the_weight_grows(diary: Diary) -> None:
    """Half of all units came before, and a sixth of those of v2: what is known of them may be three
    times as much for a mix like that of all."""
    diary.obeys(CANARY, weight=0.1)
    everybody(diary, range(900), range(1000, 1100))
    diary.obeys(CANARY, minute=60, weight=0.5)
    everybody(diary, range(2000, 2500), range(3000, 3500), minute=61)
    errors = report(diary)["measures"][ERRORS]
    low, high = errors["interval"]
    assert -0.02 < low < 0 < high < 0.06
    assert errors["finding"] == "keep going"


def test_a_day_that_has_begun_counts(diary: Diary) -> None:
    """Units are summed by the day; what a period touches of one is in it."""
    diary.obeys(CANARY)
    everybody(diary, range(3), range(10, 12), minute=5)
    found = report(diary, hours(0, 2))
    assert found["measures"][ERRORS]["units"] == {"control": 3, "treatment": 2}
    assert found["measured"] == {"since_ms": START_MS, "until_ms": DAY.until_ms}


def test_a_region_has_its_own_canary(diary: Diary) -> None:
    diary.obeys(CANARY)
    everybody(diary, range(12), range(20, 32), region="AU")
    everybody(diary, range(40, 52), range(60, 72), region="DE")
    for user in range(20, 26):
        diary.falls_back(user, minute=2, region="AU")  # 6 of their 18 failed
    everywhere = report(diary)
    assert [(r["region"], r["treatment"]) for r in everywhere["regions"]] == [
        ("AU", pytest.approx(1 / 3)),
        ("DE", 0),
    ]
    assert [(e["epoch"], e["weight"]) for e in everywhere["by_epoch"]] == [(1, 0.5)]
    here = report(diary, hours(0, 24, region="DE", countries=frozenset({"DE"})))
    assert here["latency_ms"] == {"v1": None, "v2": None}  # not known by region
    assert here["measures"][ERRORS]["units"] == {"control": 12, "treatment": 12}
    assert here["measures"][ERRORS]["treatment"] == 0
    assert [r["region"] for r in here["regions"]] == ["DE"]
    assert here["classes"]["counts"] == {"v1": {"cat": 12}, "v2": {"cat": 12}}


def test_sessions_are_units_too(diary: Diary) -> None:
    diary.obeys(CANARY, unit="session")
    for session in range(4):
        diary.answers("v1", user=1, session=f"{session:016x}" * 2)
    diary.answers("v2", user=1, session=f"{9:016x}" * 2)
    found = report(diary)
    assert found["unit"] == "session"
    assert found["measures"][ERRORS]["units"] == {"control": 4, "treatment": 1}


def test_lost_units_make_it_invalid(diary: Diary) -> None:
    diary.obeys(CANARY)
    everybody(diary, range(60), range(100, 110))
    found = report(diary)
    assert found["finding"] == "invalid: SRM"
    assert {measure["finding"] for measure in found["measures"]} == {"invalid: SRM"}


def test_a_slow_hour_before_the_weight_grew_makes_stable_no_slower(diary: Diary) -> None:
    """Half of the hour's answers take 80 ms, of either version; later all take 10."""
    diary.obeys(CANARY, weight=0.1)
    for user in range(90):
        diary.answers("v1", user, latency_ms=80.0 if user % 2 else 10.0, model_ms=5.0)
    for user in range(10):
        diary.answers("v2", 1000 + user, latency_ms=80.0 if user % 2 else 10.0, model_ms=5.0)
    diary.obeys(CANARY, minute=120, weight=0.5)
    for user in range(90):
        diary.answers("v1", 2000 + user, 121, latency_ms=10.0)
        diary.answers("v2", 3000 + user, 121, latency_ms=10.0)
    diary.answers("v1", 4000, 600, latency_ms=999.0)  # nobody of v2 then
    found = report(diary)["latency_ms"]
    assert found["v1"] == found["v2"]
    assert found["v1"]["p95"] == pytest.approx(10, rel=0.03)
    assert found["v1"]["p99"] == pytest.approx(80, rel=0.03)


def test_what_they_answer_differs(diary: Diary) -> None:
    diary.obeys(CANARY)
    for user in range(100):
        diary.answers("v1", user, label="cat" if user % 2 else "dog")
        diary.answers("v2", 1000 + user, label="cat" if user % 10 else "dog")
    classes = report(diary)["classes"]
    assert classes["counts"] == {"v1": {"cat": 50, "dog": 50}, "v2": {"cat": 90, "dog": 10}}
    assert classes["drift"] is True


def test_other_hours_and_weights_are_no_difference_of_versions(diary: Diary) -> None:
    """By day, under 10 %, users send cats; by night, under 50 %, dogs. Both versions say so."""
    diary.obeys(CANARY, weight=0.1)
    for user in range(90):
        diary.answers("v1", user, label="cat" if user % 10 else "dog")
    for user in range(10):
        diary.answers("v2", 1000 + user, label="cat" if user % 10 else "dog")
    diary.obeys(CANARY, minute=120, weight=0.5)
    for user in range(90):
        diary.answers("v1", 2000 + user, 121, label="dog" if user % 10 else "cat")
        diary.answers("v2", 3000 + user, 121, label="dog" if user % 10 else "cat")
    classes = report(diary)["classes"]
    assert classes["counts"]["v1"] == {"cat": 90, "dog": 90}
    assert classes["shares"]["v1"] == pytest.approx(classes["shares"]["v2"])
    assert classes["shares"]["v2"] == pytest.approx({"cat": 0.18, "dog": 0.82})
    assert classes["drift"] is False


def test_images_of_one_user_are_no_drift(diary: Diary) -> None:
    """One user of each version sends a hundred of his only pet."""
    diary.obeys(CANARY)
    for _ in range(100):
        diary.answers("v1", 1, label="cat")
        diary.answers("v2", 2, label="dog")
    assert report(diary)["classes"]["drift"] is False


@pytest.mark.parametrize("exposures", [0, 1])
def test_what_nobody_met_is_not_known(diary: Diary, exposures: int) -> None:
    diary.obeys(CANARY)
    everybody(diary, range(exposures), range(10, 10 + exposures))
    found = report(diary)
    assert {measure["finding"] for measure in found["measures"][LATENCY:]} == {"not known"}
    assert found["finding"] in ("not known", "keep going")
    assert found["classes"]["drift"] is (None if not exposures else False)


def test_it_works(diary: Diary) -> None:
    """Faster, and nobody failed."""
    diary.obeys(CANARY)
    for user in range(2000):
        diary.answers("v1", user, latency_ms=20.0 + user % 2, model_ms=4.0 + user % 2 / 10)
        diary.answers("v2", 5000 + user, latency_ms=10.0 + user % 2, model_ms=4.0 + user % 2 / 10)
    found = report(diary)
    assert [measure["finding"] for measure in found["measures"]] == [
        "no difference",
        "better",
        "no difference",
    ]
    assert found["finding"] == "better"
    assert found["sentence"] == "The candidate works and is better in mean latency."
