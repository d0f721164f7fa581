"""Printed reports. The figures are tested in tests/unit/reports."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.unit.cli.conftest import Command, CommandResult, RunningService
from tests.unit.reports.conftest import CANARY, SHADOW, TEST, StoreBuilder

pytestmark = pytest.mark.slow

BEGIN = ("--since", "2023-11-15")


@pytest.fixture
def builder(running: RunningService) -> StoreBuilder:
    """Fills the store that the running service reads."""
    return StoreBuilder(running.control.store)


def find_row(done: CommandResult, *first_cells: str) -> list[str]:
    """The cells of the only table row with these first cells; two spaces separate cells."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in done.out.splitlines()]
    (row,) = [cells for cells in rows if tuple(cells[: len(first_cells)]) == first_cells]
    return row


def add_split(builder: StoreBuilder, rule: dict[str, Any], **changes: Any) -> None:
    """40 users of v1 and 40 of v2, 10 of them with a fallback."""
    builder.adopt_rule(rule, **changes)
    for user in range(40):
        builder.add_exposure("v1", user, region="AU", label="dog" if user % 2 else "cat")
        if user < 10:
            builder.add_fallback(100 + user, region="NZ", latency_ms=10.0)
        else:
            builder.add_exposure("v2", 100 + user, region="NZ", label="koala", latency_ms=20.0)


class TestTraffic:
    def test_the_report_shows_exposures_by_epoch_and_region(
        self, command: Command, builder: StoreBuilder
    ) -> None:
        add_split(builder, CANARY, weight=0.4)
        builder.add_exposure("v2", user=7, region=None, reason="tagged")
        builder.build()
        done = command("report", "traffic", *BEGIN)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("Traffic, 2023-11-15 00:00 to ")
        assert (
            "81 exposures, 10 errors (10 fallbacks); recording: 81 stored, 0 dropped, 0 missing"
            in done.out
        )
        assert find_row(done, "1", "canary_parallel koala-canary")[2:] == [
            "2023-11-15 00:00",
            "40.0 %",
            "50.0 %",
            "50.0 %",
        ]
        assert find_row(done, "1", "v1")[2:] == ["split", "40", "49.4 %", "0", "0", "10.0 ms"]
        assert find_row(done, "1", "v2", "split")[3:] == ["40", "49.4 %", "10", "10", "17.5 ms"]
        assert "SRM, units: 40 stable, 40 candidate (32 expected): no mismatch (p" in done.out
        assert "weight 40 % since 2023-11-15 00:00\n" in done.out
        assert find_row(done, "NZ") == ["NZ", "40", "10", "10"]
        assert find_row(done, "unknown") == ["unknown", "1", "0", "0"]

    def test_the_report_shows_an_srm(self, command: Command, builder: StoreBuilder) -> None:
        builder.adopt_rule(TEST)
        for user in range(50):
            builder.add_exposure("v1", user)
        builder.build()
        done = command("report", "traffic", *BEGIN)
        assert "50 control, 0 treatment (25 expected): MISMATCH (p = " in done.out

    def test_the_report_may_be_empty(self, command: Command, builder: StoreBuilder) -> None:
        builder.build()
        done = command("report", "traffic")
        assert (done.code, done.err) == (0, "")
        assert "0 exposures, 0 errors" in done.out


def test_the_canary_report(command: Command, builder: StoreBuilder) -> None:
    add_split(builder, CANARY)
    builder.build()
    done = command("report", "canary", *BEGIN)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Canary, 2023-11-15 00:00 to ")
    assert (
        "canary_parallel koala-canary: candidate v2 compared with stable v1 by user; weight 50 %"
        in done.out
    )
    assert "80 of 80 users are settled (1 h old)\n" in done.out
    assert "exposures of candidate v2  █  2023-11-" in done.out
    assert find_row(done, "stable v1", "candidate v2", "difference")[3:] == [
        "95 % always valid",
        "95 % single look",
        "tolerance",
        "units",
        "finding",
    ]
    _, stable, candidate, difference, always_valid, single_look, tolerance, units, finding = (
        find_row(done, "units with a failure")
    )
    assert (stable, candidate, difference, units) == ("0.00 %", "25.00 %", "+25.00", "40 + 40")
    assert (tolerance, finding) == ("±1.00", "keep going")
    for interval in (always_valid, single_look):
        low, high = interval.split(" to ")
        assert -100 <= float(low) < 25 < float(high) <= 100
    assert find_row(done, "mean latency")[1:4] == ["10.00 ms", "17.50 ms", "+7.50 ms"]
    assert find_row(done, "exposures a unit")[1:3] == ["1.00", "1.00"]
    assert find_row(done, "candidate v2", "40", "25.0 %")[3:] == ["10", "17.5 ms", "10 too_slow"]
    assert find_row(done, "stable v1", "50.0 %")[1:] == ["50.0 %", "50.0 %", "0.0 %"]
    assert find_row(done, "v2", "split") == ["v2", "split", "40", "10", "10"]
    assert "units with a failure by region (for diagnosis; simultaneous intervals); 2 of 2" in (
        done.out
    )
    assert "right, as users told: nobody told" in done.out
    assert "a gate at 50 % would say: roll back (for information)" in done.out
    for word in ("control", "treatment", "nan"):
        assert word not in done.out


def test_quality_is_what_users_told(command: Command, builder: StoreBuilder) -> None:
    builder.adopt_rule(CANARY)
    for user in range(4):
        stable = builder.add_exposure("v1", user, label="dog")
        builder.add_feedback(stable, label="koala" if user else "dog")
        builder.add_feedback(builder.add_exposure("v2", 10 + user, label="koala"), correct=False)
    builder.build()
    done = command("report", "canary", *BEGIN)
    assert re.search(r"\nstable v1 +4 +25\.0 % \(", done.out)
    assert find_row(done, "stable v1", "koala")[2:4] == ["3", "0"]
    assert find_row(done, "candidate v2", "another label")[2:] == ["0", "4", "none"]


@pytest.mark.parametrize(
    ("name", "rule", "says"),
    [
        ("traffic", CANARY, "bucket: A number from 0 to 1"),
        ("canary", CANARY, "units with a failure: The share of settled units"),
        ("ab", TEST, "units with a complaint: The share of all settled units"),
        ("shadow", SHADOW, "copies: Images that were sent to the candidate"),
    ],
)
def test_explain_says_what_the_lines_mean(
    command: Command, builder: StoreBuilder, name: str, rule: dict[str, Any], says: str
) -> None:
    builder.adopt_rule(rule)
    builder.build()
    plain = command("report", name, *BEGIN).out
    done = command("report", name, *BEGIN, "--explain")
    assert (done.code, done.err) == (0, "")
    explanation = " ".join(done.out[len(plain) :].split())
    assert explanation.startswith("What the lines mean")
    assert says in explanation


@pytest.mark.parametrize(("name", "rule"), [("canary", CANARY), ("ab", TEST)])
def test_the_regions_of_the_rule_are_named_with_its_weights(
    command: Command, builder: StoreBuilder, name: str, rule: dict[str, Any]
) -> None:
    builder.adopt_rule(rule, regions=["australia-pacific", "JP"])
    builder.build()
    for report in (name, "traffic"):
        says = "weight 50 % since 2023-11-15 00:00; only australia-pacific, JP\n"
        assert says in command("report", report, *BEGIN).out


@pytest.mark.parametrize("name", ["canary", "ab"])
def test_a_part_of_an_experiment_has_no_verdict(
    command: Command, builder: StoreBuilder, name: str
) -> None:
    builder.adopt_rule(CANARY if name == "canary" else TEST)
    builder.build()
    done = command("report", name, "--since", "2023-11-15T01:00")
    assert "not known  Not known: this report covers only a part of the experiment" in done.out
    assert "A part of the experiment: no verdict" in done.out


def test_the_ab_report(command: Command, builder: StoreBuilder) -> None:
    builder.adopt_rule(TEST)
    for user in range(40):
        exposure = builder.add_exposure("v1", user)
        if user < 10:
            builder.add_feedback(exposure, complaint=True, label="dog")
        other = builder.add_exposure("v2", 100 + user, label="koala")
        if user < 4:
            builder.add_feedback(other, complaint=True, label="dog")
        elif user < 8:
            builder.add_feedback(other, complaint=False, label="koala")
    builder.build()
    done = command("report", "ab", *BEGIN)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("A/B test, 2023-11-15 00:00 to ")
    assert "\nkeep going  not decided on shared labels; " in done.out
    assert "80 of 80 users are settled (2 h old)\n" in done.out
    assert "SRM, units: 40 control, 40 treatment (40 expected): no mismatch (p" in done.out
    assert "SRM, feedback: 10 control, 8 treatment (9 expected): no mismatch (p" in done.out
    assert "feedback within 1h on 18 answers to settled users" in done.out
    assert find_row(done, "units with a complaint")[1:4] == ["25.00 %", "10.00 %", "-15.00"]
    assert find_row(done, "known to show cat or dog")[1:3] == ["25.00 %", "10.00 %"]
    assert find_row(done, "known to show koala")[1:3] == ["0.00 %", "0.00 %"]
    assert "gave feedback: 25.0 % of control, 20.0 % of treatment" in done.out
    assert "hijack rate (predicted koala, true label cat or dog): 50.0 % of " in done.out


def test_the_shadow_report(command: Command, builder: StoreBuilder) -> None:
    builder.adopt_rule(SHADOW)
    for user in range(8):
        region = "AU" if user < 4 else "DE"
        exposure = builder.add_exposure("v1", user, reason="static", region=region, label="dog")
        builder.add_pair(exposure, "koala" if user < 3 else "dog" if user < 7 else None)
    builder.build()
    done = command("report", "shadow", *BEGIN)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Shadow, candidate v2 compared with stable v1, 2023-11-15 00:00 to ")
    assert "copies: 7 copied, 1 failed, 0 shed (1 too_slow)" in done.out
    assert find_row(done, "same label")[1].startswith("100.0 % (")
    assert find_row(done, "candidate predicts koala")[1].startswith("42.9 % (")
    assert "the same images: stable 4.0 ms, candidate 6.0 ms, difference not known" in done.out
    assert "load: Not established: in the peak minute, of 8 images, 87.5 % were" in done.out
    assert find_row(done, "dog") == ["dog", "57.1 %", "42.9 %"]


def test_the_shadow_report_shows_new_labels_by_hour(
    command: Command, builder: StoreBuilder
) -> None:
    """The peak is in the third hour; the second has no copies and is blank."""
    builder.adopt_rule(SHADOW)
    for minute, koalas in ((0, 1), (120, 3)):
        for user in range(4):
            exposure = builder.add_exposure("v1", user, minute, reason="static", label="dog")
            builder.add_pair(exposure, "koala" if user < koalas else "dog")
    builder.build()
    done = command("report", "shadow", *BEGIN)
    lines = done.out.splitlines()
    (number,) = [n for n, line in enumerate(lines) if line.startswith("koala by hour")]
    bars, times = lines[number].removeprefix("koala by hour  ").split("  ")
    assert (len(bars), bars[1], bars[2]) == (3, " ", "█")
    assert times.startswith("2023-11-15 00:00 to 2023-11-15 03:00 UTC")
    assert lines[number + 1] == "peak at 2023-11-15 02:00 UTC: 75.0 %"


@pytest.mark.parametrize(("name", "rule"), [("canary", CANARY), ("ab", TEST)])
def test_the_report_of_a_region_has_a_note(
    command: Command, builder: StoreBuilder, name: str, rule: dict[str, Any]
) -> None:
    builder.adopt_rule(rule)
    builder.build()
    note = "One region, for diagnosis only"
    assert note in command("report", name, *BEGIN, "--region", "AU").out
    assert note not in command("report", name, *BEGIN).out


@pytest.mark.parametrize("name", ["traffic", "canary", "ab", "shadow"])
def test_json_output_is_the_report(command: Command, builder: StoreBuilder, name: str) -> None:
    for hour, rule in enumerate((CANARY, TEST, SHADOW)):
        builder.adopt_rule(rule, minute=60 * hour)
    builder.build()
    done = command("report", name, *BEGIN, "--region", "AU", "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert (report["report"], report["period"]["region"]) == (name, "AU")


@pytest.mark.parametrize(
    ("name", "rule", "line"),
    [
        (
            "canary",
            CANARY,
            "canary_parallel first: candidate v2 compared with stable v1 by user; weight 50 %",
        ),
        (
            "ab",
            TEST,
            "ab_test first: treatment v2 compared with control v1 by user; weight 50 %",
        ),
        ("shadow", SHADOW, "shadow first; sample 100 %"),
    ],
)
def test_the_experiment_option_selects_by_name(
    command: Command, builder: StoreBuilder, name: str, rule: dict[str, Any], line: str
) -> None:
    builder.adopt_rule(rule, experiment="first")
    builder.adopt_rule(rule, minute=60, experiment="second")
    builder.build()
    first = command("report", name, "--experiment", "first").out
    assert f"\n{line} since 2023-11-15 00:00\nended 2023-11-15 01:00 UTC; not in force\n" in first
    assert "not in force" not in command("report", name).out


@pytest.mark.parametrize(
    ("name", "rule"), [("traffic", CANARY), ("canary", CANARY), ("ab", TEST), ("shadow", SHADOW)]
)
def test_a_report_may_end_in_the_past(
    command: Command, builder: StoreBuilder, name: str, rule: dict[str, Any]
) -> None:
    builder.adopt_rule(rule)
    builder.build()
    done = command("report", name, *BEGIN, "--until", "2023-11-15T06:00")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].endswith(", 2023-11-15 00:00 to 2023-11-15 06:00 UTC")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("canary",), "no canary was in force in this period: deploy one"),
        (("ab", "--experiment", "dingo"), "no experiment 'dingo' was in force in this period"),
        (("shadow",), "no shadow was in force in this period: deploy one"),
        (
            ("traffic", "--since", "soon"),
            "since is 'soon': expected a whole number and s, m, h or d",
        ),
        (
            ("shadow", "--until", "soon"),
            "until is 'soon': expected a whole number and s, m, h or d",
        ),
        (
            ("traffic", "--region", "atlantis"),
            "region is 'atlantis': expected the code of a country",
        ),
    ],
)
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_an_error_is_printed_with_exit_code_1(
    command: Command,
    builder: StoreBuilder,
    arguments: tuple[str, ...],
    message: str,
    as_json: tuple[str, ...],
) -> None:
    builder.build()
    done = command("report", *arguments, *as_json)
    assert (done.code, done.out) == (1, "")
    assert message in done.err


def test_an_unreachable_service_is_an_error(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVE_APP_URL", "http://127.0.0.1:9")
    done = command("report", "traffic")
    assert (done.code, done.out) == (1, "")
    assert "127.0.0.1:9" in done.err
