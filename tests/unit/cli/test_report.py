"""What the reports show; their figures are those of tests/unit/reports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from serve_app.deployment import config
from serve_app.reports.service import ReportService
from serve_app.store.store import open_store
from tests.unit.cli.conftest import ROOT, Command, Done, Running
from tests.unit.reports.conftest import CANARY, SHADOW, TEST, Diary

BEGIN = ("--since", "2023-11-15")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def diary(tmp_path: Path, running: Running) -> Diary:
    """What the reports of the running service are about."""
    url = f"sqlite:///{tmp_path / 'reported.db'}"
    store = open_store(url)
    store.add_revision(config.read(ROOT / "deploy_configs/base.yaml"), "anna", "a test", 0)
    running.controller.reports = ReportService(url)
    return Diary(store)


def row(done: Done, *begin: str) -> list[str]:
    """The cells of the line of a table that begins with some; two spaces or more part them."""
    every = [re.split(r"\s{2,}", line.strip()) for line in done.out.splitlines()]
    (found,) = [cells for cells in every if tuple(cells[: len(begin)]) == begin]
    return found


def split(diary: Diary, rule: dict[str, Any], **changes: Any) -> None:
    """40 users of v1, 40 of v2, of whom 10 fall back."""
    diary.obeys(rule, **changes)
    for user in range(40):
        diary.answers("v1", user, region="AU", label="dog" if user % 2 else "cat")
        if user < 10:
            diary.falls_back(100 + user, region="NZ", latency_ms=10.0)
        else:
            diary.answers("v2", 100 + user, region="NZ", label="koala", latency_ms=20.0)


class TestTraffic:
    def test_it_shows_who_was_answered_by_what(self, command: Command, diary: Diary) -> None:
        split(diary, CANARY, weight=0.4)
        diary.answers("v2", user=7, region=None, reason="tagged")
        diary.store()
        done = command("report", "traffic", *BEGIN)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("Traffic, 2023-11-15 00:00 to ")
        assert (
            "81 exposures, 10 errors, of which 10 fallbacks; recorded: 81 stored, 0 dropped,"
            " 0 missing" in done.out
        )
        assert row(done, "1") == [
            "1", "canary_parallel koala-canary", "2023-11-15 00:00", "v1", "split", "40", "49.4 %",
            "0", "0", "10.0 ms", "40.0 %", "50.0 %",
        ]  # fmt: skip
        assert row(done, "v2", "split")[2:] == ["40", "49.4 %", "10", "10", "17.5 ms"]
        assert "units: 40 control, 40 treatment of 80, 32 expected: as promised" in done.out
        assert row(done, "NZ") == ["NZ", "40", "10", "10"]
        assert row(done, "unknown") == ["unknown", "1", "0", "0"]

    def test_a_mismatch_stands_out(self, command: Command, diary: Diary) -> None:
        diary.obeys(TEST)
        for user in range(50):
            diary.answers("v1", user)
        diary.store()
        done = command("report", "traffic", *BEGIN)
        assert "50 control, 0 treatment of 50, 25 expected: MISMATCH (p " in done.out

    def test_of_nothing(self, command: Command, diary: Diary) -> None:
        diary.store()
        done = command("report", "traffic")
        assert (done.code, done.err) == (0, "")
        assert "0 exposures, 0 errors" in done.out


def test_a_canary(command: Command, diary: Diary) -> None:
    split(diary, CANARY)
    diary.store()
    done = command("report", "canary", *BEGIN)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Canary, 2023-11-15 00:00 to ")
    assert "canary_parallel koala-canary: v2 beside v1, by user; 50 % since 2023-11-15" in done.out
    _, control, treatment, difference, sure, once, units, finding = row(done, "answers that failed")
    assert (control, treatment, difference, units) == ("0.00 %", "25.00 %", "+25.00", "40 + 40")
    assert finding == "keep going"
    for found in (sure, once):
        low, high = found.split(" to ")
        assert float(low) < 25 < float(high)
    assert row(done, "mean latency")[1:4] == ["10 ms", "17.5 ms", "+7.5 ms"]
    assert row(done, "v1", "50.0 %")[1:] == ["50.0 %", "50.0 %", "0.0 %"]
    assert row(done, "v2", "split") == ["v2", "split", "40", "10", "10"]
    assert "by unit, on whole days, from 2023-11-15 00:00 UTC on" in done.out
    nothing_to_compare = ["-", "-", "-", "not known", "not known", "0 + 0"]
    assert row(done, "NZ")[1:] == nothing_to_compare


def test_an_ab_test(command: Command, diary: Diary) -> None:
    diary.obeys(TEST)
    for user in range(40):
        answer = diary.answers("v1", user)
        if user < 10:
            diary.hears(answer, complaint=True, label="dog")
        other = diary.answers("v2", 100 + user, label="koala")
        if user < 4:
            diary.hears(other, complaint=True, label="dog")
        elif user < 8:
            diary.hears(other, complaint=False, label="koala")
    diary.store()
    done = command("report", "ab", *BEGIN)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("A/B test, 2023-11-15 00:00 to ")
    assert "\nkeep going  Shared labels: Keep going: " in done.out
    assert "units: 40 control, 40 treatment of 80, 40 expected: as promised" in done.out
    assert "units that spoke: 10 control, 8 treatment of 18, 9 expected: as promised" in done.out
    assert "feedback on 18 answers, 0 of it after the window of 7d" in done.out
    assert row(done, "units with a complaint")[1:4] == ["25.00 %", "10.00 %", "-15.00"]
    assert row(done, "of cat, dog")[1:3] == ["25.00 %", "10.00 %"]
    assert row(done, "of koala")[1:3] == ["0.00 %", "0.00 %"]
    assert "spoke: 25.0 % of control, 20.0 % of treatment" in done.out
    assert "hijack rate, of answers koala whose truth was told: 50.0 % of " in done.out


def test_a_shadow(command: Command, diary: Diary) -> None:
    diary.obeys(SHADOW)
    for user in range(8):
        region = "AU" if user < 4 else "DE"
        answer = diary.answers("v1", user, reason="static", region=region, label="dog")
        diary.copies(answer, "koala" if user < 3 else "dog" if user < 7 else None)
    diary.store()
    done = command("report", "shadow", *BEGIN)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Shadow of v2 beside v1, 2023-11-15 00:00 to ")
    assert "copies: 7 copied, 1 failed, 0 shed (1 too_slow)" in done.out
    assert "agreement, where v2 says cat or dog: 100.0 % (" in done.out
    assert "v2 says koala: 42.9 % (" in done.out
    assert "4.0 ms v1, 6.0 ms v2, difference not known" in done.out
    assert "load: Not established: in the peak minute, of 8 images, 87.5 % were" in done.out
    assert row(done, "v1 ↓ v2 →") == ["v1 ↓ v2 →", "dog", "koala"]
    assert row(done, "dog") == ["dog", "57.1 %", "42.9 %"]
    assert row(done, "AU")[0] == "AU"
    assert row(done, "AU")[1].startswith("75.0 % (")
    assert done.out.index("\n AU") < done.out.index("\n DE")  # most koalas first


def test_a_shadow_says_when_the_koalas_come(command: Command, diary: Diary) -> None:
    """Most in the third hour; in the second nothing was asked, and it is a blank."""
    diary.obeys(SHADOW)
    for minute, koalas in ((0, 1), (120, 3)):
        for user in range(4):
            answer = diary.answers("v1", user, minute, reason="static", label="dog")
            diary.copies(answer, "koala" if user < koalas else "dog")
    diary.store()
    done = command("report", "shadow", *BEGIN)
    (line,) = [line for line in done.out.splitlines() if line.startswith("koala by hour")]
    bars, when = line.removeprefix("koala by hour  ").split("  ")
    assert (len(bars), bars[1], bars[2]) == (3, " ", "█")
    first, last, most = re.findall(r"\d{4}-\d\d-\d\d (\d\d):00", when)
    assert (int(last) - int(first)) % 24 == 2
    assert most == last
    assert when.endswith(": 75.0 %")


@pytest.mark.parametrize(("name", "rule"), [("canary", CANARY), ("ab", TEST)])
def test_a_region_is_a_slice(
    command: Command, diary: Diary, name: str, rule: dict[str, Any]
) -> None:
    diary.obeys(rule)
    diary.store()
    note = "a slice, for diagnosis"
    assert note in command("report", name, *BEGIN, "--region", "AU").out
    assert note not in command("report", name, *BEGIN).out


@pytest.mark.parametrize("name", ["traffic", "canary", "ab", "shadow"])
def test_json_is_the_report(command: Command, diary: Diary, running: Running, name: str) -> None:
    for hour, rule in enumerate((CANARY, TEST, SHADOW)):
        diary.obeys(rule, minute=60 * hour)
    diary.store()
    done = command("report", name, *BEGIN, "--region", "AU", "--json")
    assert (done.code, done.err) == (0, "")
    assert running.controller.reports
    expected = running.controller.reports.make(name, "2023-11-15", "AU")
    found = json.loads(done.out)
    assert found.keys() == expected.keys()
    assert (found["report"], found["period"]["region"]) == (name, "AU")


@pytest.mark.parametrize("name", ["canary", "ab"])
def test_an_experiment_is_chosen_by_name(command: Command, diary: Diary, name: str) -> None:
    rule = CANARY if name == "canary" else TEST
    diary.obeys(rule, experiment="first")
    diary.obeys(rule, minute=60, experiment="second")
    diary.store()
    done = command("report", name, *BEGIN, "--experiment", "first")
    assert f"{rule['kind']} first: v2 beside v1, by user; 50 % since" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("canary",), "no rule of this kind was in force in this period: deploy one"),
        (("ab", "--experiment", "dingo"), "no experiment 'dingo' was in force in this period"),
        (("shadow",), "no shadow was in force in this period: deploy one"),
        (("traffic", "--since", "soon"), "since is 'soon': expected a number and m, h or d"),
        (("traffic", "--region", "atlantis"), "region is 'atlantis': expected a country's code"),
    ],
)
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_what_cannot_be_reported_is_told_with_exit_1(
    command: Command, diary: Diary, arguments: tuple[str, ...], told: str, as_json: tuple[str, ...]
) -> None:
    diary.store()
    done = command("report", *arguments, *as_json)
    assert (done.code, done.out) == (1, "")
    assert told in done.err


def test_without_a_service_it_is_told(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_APP_URL", "http://127.0.0.1:9")
    done = command("report", "traffic")
    assert (done.code, done.out) == (1, "")
    assert "127.0.0.1:9" in done.err
