from __future__ import annotations

import io
import re
from itertools import count as count_from
from typing import Any

import pytest
from rich.console import Console

from serve_app.cli.report import shadow as text
from serve_app.clock import HOUR_MS, MINUTE_MS
from serve_app.reports.period import Period
from tests.unit.reports.conftest import (
    DAY,
    SHADOW,
    START_MS,
    StoreBuilder,
    as_json,
    assess,
    hours,
    user_hash,
)

SESSIONS = count_from(1)


def make_report(
    builder: StoreBuilder, period: Period = DAY, name: str | None = None
) -> dict[str, Any]:
    return as_json(assess("shadow", builder.build(), period, name))


def add_pairs(
    builder: StoreBuilder,
    stable: str,
    candidate: str | None,
    count: int = 1,
    minute: int = 1,
    **live: Any,
) -> None:
    """Add `count` shadow pairs, each of a separate session."""
    for _ in range(count):
        exposure = {
            "session": 2 * f"{next(SESSIONS):016x}",
            "label": stable,
            "reason": "static",
        } | live
        builder.add_pair(builder.add_exposure("v1", None, minute, **exposure), candidate)


def add_shed(
    builder: StoreBuilder, count: int, minute: int = 1, error: str = "full", **live: Any
) -> None:
    """Add `count` images that were shed instead of copied."""
    for _ in range(count):
        exposure = builder.add_exposure("v1", 1, minute, reason="static", **live)
        builder.add_pair(exposure, None, outcome="shed", error=error, latency_ms=None)


def test_agreement_counts_candidate_predictions_of_shared_labels(builder: StoreBuilder) -> None:
    """v2 predicts koala for 3 of 8 images, and agrees with v1 on 4 of the other 5."""
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "cat", "cat", 3)
    add_pairs(builder, "dog", "dog", 1)
    add_pairs(builder, "dog", "cat", 1)
    add_pairs(builder, "dog", "koala", 3)
    report = make_report(builder)
    assert report["agreement"]["estimate"] == pytest.approx(0.8)
    assert report["agreement"]["images"] == 5
    assert report["new_labels"]["rate"]["estimate"] == pytest.approx(3 / 8)
    assert report["transitions"] == {
        "stable": ["cat", "dog"],
        "candidate": ["cat", "dog", "koala"],
        "shares": [[3 / 8, 0, 0], [1 / 8, 1 / 8, 3 / 8]],
    }
    assert report["labels"] == {"shared": ["cat", "dog"], "new": ["koala"]}


def test_pinned_requests_do_not_count_as_load(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "cat", "cat", 8)
    for _ in range(2):
        builder.add_exposure("v2", 1, reason="pinned")
    assert make_report(builder)["load"]["peak_copied_share"] == 1


def test_copies_are_weighted_by_the_copied_share_of_their_minute(builder: StoreBuilder) -> None:
    """All 10 cats of one minute are copied, and 5 of 10 koalas of the next, of which 3 fail: the
    candidate predicts 10 cats and, weighted by 2, 4 koalas."""
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "cat", "cat", 10, minute=1)
    add_pairs(builder, "dog", "koala", 2, minute=2)
    add_shed(builder, 5, minute=2)
    add_pairs(builder, "dog", None, 3, minute=2)
    report = make_report(builder)
    assert report["new_labels"]["rate"]["estimate"] == pytest.approx(4 / 14)
    assert report["new_labels"]["rate"]["images"] == 12
    assert (report["failures"]["estimate"], report["failures"]["images"]) == (
        pytest.approx(0.3),
        15,
    )
    assert report["failures"]["finding"] == "beyond"
    assert report["finding"] == "worse"
    assert report["covered_share"] == 1
    assert report["outcomes"] == {"copied": 12, "failed": 3, "shed": 5}
    assert report["images"] == {"stable": 20, "candidate": 12}
    assert report["errors"] == {"full": 5, "too_slow": 3}
    assert report["load"]["minutes"] == 2
    assert report["load"]["copies_per_minute"] == 6
    assert report["load"]["peak_at_ms"] == START_MS + MINUTE_MS
    assert (report["load"]["peak_copied_share"], report["load"]["established"]) == (1, True)


def test_exposures_outside_the_sample_count_as_load(builder: StoreBuilder) -> None:
    """An exposure outside the sample has no shadow pair."""
    builder.adopt_rule(SHADOW, sample=0.5)
    add_pairs(builder, "cat", "cat", 2)
    for _ in range(2):
        builder.add_exposure("v1", 1, reason="static")
    report = make_report(builder)
    assert (report["load"]["peak_images"], report["load"]["peak_copied_share"]) == (4, 0.5)
    assert report["load"]["established"] is False
    assert [(epoch["epoch"], epoch["sample"]) for epoch in report["epochs"]] == [(1, 0.5)]


def test_new_labels_by_region_and_hour(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "dog", "koala", 3, minute=61, region="AU")
    add_pairs(builder, "dog", "dog", 1, minute=61, region="AU")
    add_pairs(builder, "cat", "cat", 4, minute=121, region=None)
    new = make_report(builder)["new_labels"]
    assert [(r["region"], r["estimate"], r["images"]) for r in new["by_region"]] == [
        (None, 0, 4),
        ("AU", pytest.approx(0.75), 4),
    ]
    assert [(h["at_ms"], h["estimate"]) for h in new["by_hour"]] == [
        (START_MS + HOUR_MS, pytest.approx(0.75)),
        (START_MS + 2 * HOUR_MS, 0),
    ]


def test_model_times_are_paired_by_image(builder: StoreBuilder) -> None:
    """v1 takes 4 and 8 ms, v2 6 ms: the mean difference is 0. Failed copies do not count."""
    builder.adopt_rule(SHADOW)
    for _ in range(5):
        add_pairs(builder, "cat", "cat", model_ms=4.0)
        add_pairs(builder, "cat", "cat", model_ms=8.0)
    add_pairs(builder, "cat", None, model_ms=500.0)
    report = make_report(builder)
    model = report["model_ms"]
    assert (model["stable"], model["candidate"], model["difference"]) == (6, 6, 0)
    assert model["pairs"] == 10
    assert model["interval"][0] == -model["interval"][1] < 0
    assert report["latency_ms"] == {"candidate": 30, "stable": 10}


def test_correlated_images_of_one_unit_widen_the_interval(builder: StoreBuilder) -> None:
    """80 units with one image each in AU, one unit with 80 in NZ, 80 images without unit in FJ."""
    builder.adopt_rule(SHADOW)
    for region, unit in (("AU", {}), ("NZ", {"session": "a" * 32}), ("FJ", {"session": None})):
        for stable, candidate in (("dog", "koala"), ("cat", "cat")):
            add_pairs(builder, stable, candidate, 40, region=region, **unit)
    report = make_report(builder)
    rates = {r["region"]: r for r in report["new_labels"]["by_region"]}
    assert all(r["estimate"] == pytest.approx(0.5) for r in rates.values())
    width = {region: r["interval"][1] - r["interval"][0] for region, r in rates.items()}
    assert width["NZ"] > 1.5 * width["AU"]
    assert width["FJ"] == pytest.approx(width["AU"])
    assert report["images_per_unit"] == pytest.approx((80 * 80 + 160) / 240)


def test_failures_of_stable_do_not_count_for_agreement(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "cat", "cat", 3)
    failed = builder.add_exposure(
        "v1", 1, reason="static", served=None, label=None, error="internal", model_ms=None
    )
    builder.add_pair(failed, "cat")
    report = make_report(builder)
    assert report["agreement"]["estimate"] == pytest.approx(1)
    assert report["agreement"]["images"] == 3
    assert report["transitions"]["stable"] == ["", "cat"]


def test_a_report_can_be_limited_to_a_region(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "dog", "koala", 2, region="AU")
    add_pairs(builder, "dog", "dog", 2, region="DE")
    add_shed(builder, 2, region="DE")
    report = make_report(builder, hours(0, 24, region="AU", countries=frozenset({"AU"})))
    assert report["new_labels"]["rate"]["estimate"] == pytest.approx(1)
    assert report["outcomes"] == {"copied": 2, "failed": 0, "shed": 0}
    assert report["load"]["peak_images"] == 2


def test_a_shadow_pair_without_its_exposure_counts_as_load(builder: StoreBuilder) -> None:
    """The exposure may be lost."""
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "cat", "cat", 2)
    builder._exposures.pop()
    assert make_report(builder)["load"]["peak_images"] == 2


def test_different_labels_in_the_second_half_are_drift(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "cat", "cat", 50, minute=1)
    add_pairs(builder, "cat", "dog", 50, minute=2)
    drift = make_report(builder)["drift"]
    assert drift["stable"]["drift"] is False
    assert drift["candidate"]["drift"] is True
    assert drift["candidate"]["divergence_bits"] == pytest.approx(1)


def test_a_shadow_without_copies_has_no_estimates(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    report = make_report(builder)
    assert report["agreement"]["estimate"] is report["new_labels"]["rate"]["estimate"] is None
    assert report["new_labels"]["by_region"] == report["new_labels"]["by_hour"] == []
    assert report["model_ms"]["difference"] is report["latency_ms"]["candidate"] is None
    assert report["transitions"] == {"stable": [], "candidate": [], "shares": []}
    assert report["load"]["peak_at_ms"] is None
    assert report["load"]["sentence"] == "Not established: there was no image to copy."


def test_a_candidate_that_fails_does_not_agree(builder: StoreBuilder) -> None:
    """It agrees on every cat and fails on every dog, within a tolerance that allows it."""
    builder.adopt_rule(SHADOW, tolerances={"failures": 0.9, "disagreement": 0.2})
    add_pairs(builder, "cat", "cat", 300)
    add_pairs(builder, "dog", None, 300)
    report = make_report(builder)
    assert report["agreement"]["estimate"] == 1
    assert report["agreement_with_failures"]["estimate"] == pytest.approx(0.5)
    assert (report["failures"]["tolerance"], report["failures"]["finding"]) == (0.9, "within")
    assert report["disagreement"]["finding"] == "within"
    assert "within the tolerance of 20.0 %" in report["sentence"]


def test_a_part_of_a_shadow_has_no_verdict(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "dog", None, 300, minute=90)
    report = make_report(builder, hours(1, 24))
    assert (report["finding"], report["covers_experiment"]) == ("not known", False)
    assert report["failures"]["finding"] == "beyond"


def test_more_images_are_asked_for(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "cat", "cat", 40)
    report = make_report(builder)
    assert report["failures"]["finding"] == "keep going"
    assert report["failures"]["more_trials"] > 100
    assert "about" in report["sentence"]
    assert "has ended" not in report["sentence"]


def test_more_images_of_users_with_many_are_asked_for(builder: StoreBuilder) -> None:
    """Images of one user count little, so that more of them are needed."""
    builder.adopt_rule(SHADOW)
    for user in range(10):
        add_pairs(builder, "cat", "cat", 8, session=user_hash(user))
    report = make_report(builder)
    (asked,) = re.findall("about ([0-9,]+) more images", report["sentence"].split("Disagree")[0])
    assert int(asked.replace(",", "")) > 5 * report["failures"]["more_trials"]


def test_an_ended_shadow_asks_for_no_more_images(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "cat", "cat", 40)
    builder.adopt_rule({"kind": "single", "stable": "v1"}, minute=60)
    sentence = make_report(builder)["sentence"]
    assert sentence.count("the shadow has ended") == 2
    assert "more images" not in sentence


def print_report(builder: StoreBuilder) -> str:
    out = io.StringIO()
    text.show(Console(file=out, width=200, highlight=False), make_report(builder))
    return out.getvalue()


def test_regions_of_which_little_is_known_are_not_printed(builder: StoreBuilder) -> None:
    """NZ has as many images as AU, all of one user."""
    builder.adopt_rule(SHADOW)
    add_pairs(builder, "dog", "koala", 80, region="AU")
    add_pairs(builder, "dog", "koala", 80, region="NZ", session=user_hash(7))
    add_pairs(builder, "dog", "dog", 2, region="FJ")
    printed = print_report(builder)
    assert "koala by region (simultaneous intervals; 2 of 3 with too few images" in printed
    assert [line.split()[0] for line in printed.splitlines() if line[:2].isupper()] == ["AU"]
    assert len(make_report(builder)["new_labels"]["by_region"]) == 3


def test_nothing_is_printed_about_new_labels_that_do_not_exist(builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW | {"stable": "v2", "candidate": "v1"})
    add_pairs(builder, "dog", "dog", 4, served="v2")
    printed = print_report(builder)
    for absent in ("by region", "by hour", "candidate predicts koala", "hijack", "nan", "None"):
        assert absent not in printed
    assert "stable v2" in printed
    assert "candidate v1" in printed
