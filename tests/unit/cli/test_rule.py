from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.data_plane.plane import REPLICAS_MAX_AGE_S
from serve_app.errors import BadConfig
from serve_app.rules.parse import read_rule
from serve_app.rules.plan import Pool
from tests.unit.cli.conftest import ROOT, Command, RunningService
from tests.unit.service import AB, PARALLEL, ROLLING, SINGLE

CANARY = PARALLEL | {"weight": 0.5}
WARNING = "Warning: the canary gets 0.5 of the units: at most 0.35 is recommended\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "rule.yaml", {"rule": CANARY})


def write(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


class TestShow:
    def test_a_rule_without_candidate(self, command: Command, running: RunningService) -> None:
        result = command("rule", "show")
        assert (result.code, result.err) == (0, "")
        first, second, *table = result.out.splitlines()
        name, _, settings = first.partition(": ")
        assert name == f"rule single {running.service.plane.rule.rule_id}"
        assert {"stable v1", "allow_pin false"} <= set(settings.split(", "))
        assert second == "effective weight 0; no candidate"
        assert rows("\n".join(table)) == [
            [],
            ["pool", "replica", "version", *["predictions", "since", "the", "replica", "began"]],
            ["StablePool", "StablePool-1", "v1", "-"],
        ]

    @pytest.mark.parametrize(
        ("ready", "is_closed", "weight", "state"),
        [
            (False, False, "0", "not ready, circuit breaker open"),
            (True, True, "0.5", "ready, circuit breaker closed"),
            (True, False, "0.5", "ready, circuit breaker open"),
        ],
    )
    def test_a_rule_with_a_candidate(
        self,
        command: Command,
        running: RunningService,
        ready: bool,
        is_closed: bool,
        weight: str,
        state: str,
    ) -> None:
        running.service.apply_rule(**CANARY)
        breaker = running.service.plane.breaker
        breaker.ready, breaker.is_closed = ready, is_closed
        running.service.pools.assigned[Pool.CANDIDATE] = None
        result = command("rule", "show")
        assert (result.code, result.err) == (0, WARNING)
        first, second, *table = result.out.splitlines()
        assert "regions" not in first
        assert second == (f"effective weight {weight}; candidate v2 in CandidatePool: {state}")
        assert table[-1].split() == ["CandidatePool", "CandidatePool-1", "none", "-"]

    def test_rejections_are_printed(self, command: Command, running: RunningService) -> None:
        running.service.plane.reject(BadConfig("rule.stable", "is v9: the registry has v1, v2"))
        running.service.pools.rejected = {"path": "version", "message": "v2 cannot be loaded"}
        assert command("rule", "show").err.splitlines() == [
            "a rule was rejected: rule.stable is v9: the registry has v1, v2",
            "StablePool rejected its configuration: version v2 cannot be loaded",
        ]

    def test_json_is_the_response(self, command: Command, running: RunningService) -> None:
        shown = json.loads(command("rule", "show", "--json").out)
        assert shown["rule_id"] == running.service.plane.rule.rule_id
        assert shown["rejected"] is None


class TestSet:
    def test_a_rule_is_set_with_its_pools(
        self, command: Command, running: RunningService, file: Path
    ) -> None:
        result = command("rule", "set", file)
        assert (result.code, result.err) == (0, WARNING)
        rule_id = running.service.plane.rule.rule_id
        assert result.out.splitlines() == [
            "experiment: none → koala-canary",
            "rule: all requests get v1 → 50 % of users get v2, all others v1",
            "CandidatePool: starts v2",
            f"revision 2 with rule {rule_id} is deployed",
            f"rule {rule_id} is in force",
        ]
        assert running.service.plane.rule.kind == "canary_parallel"
        assert running.service.pools.assigned[Pool.CANDIDATE] == "v2"

    def test_a_rolling_canary_patches_the_stable_pool(
        self, command: Command, running: RunningService, tmp_path: Path
    ) -> None:
        file = write(tmp_path / "rule.yaml", {"rule": ROLLING | {"of": 2, "weight": 0.1}})
        assert command("rule", "set", file).code == 0
        assert running.service.pools.patched_version == "v2"
        assert command("rule", "show").out.splitlines()[-1].split()[:3] == [
            "StablePool", "StablePool-2", "v2",
        ]  # fmt: skip

    def test_a_dash_reads_standard_input(
        self, command: Command, running: RunningService, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
        assert command("rule", "set", "-").code == 0
        assert running.control.actors_and_reasons[0][1] == "rule canary_parallel"

    @pytest.mark.parametrize("source", ["file", "standard input"])
    def test_only_the_rule_of_a_deployment_file_is_set(
        self,
        command: Command,
        running: RunningService,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        source: str,
    ) -> None:
        """Other settings of the file need `serve-app deploy`."""
        canary = ROOT / "deploy_configs/canary_parallel.yaml"
        document = yaml.safe_load(canary.read_text())
        file = write(tmp_path / "canary.yaml", document | {"http_options": {"port": 9000}})
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
        result = command("rule", "set", file if source == "file" else "-")
        assert (result.code, result.err) == (0, "")
        assert result.out.splitlines()[0] == (
            f"using only the rule of {file if source == 'file' else source}"
        )
        deployed = running.control.cluster.document
        assert deployed["applications"] == document["applications"]
        assert deployed["http_options"]["port"] == 8000

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ({"applications": []}, "animals.Ingress.user_config is missing or malformed"),
            ({"applications": [7]}, "animals.Ingress.user_config is missing or malformed"),
            (
                {"applications": [], "rule": CANARY},
                "applications is not a key here: the keys are rule",
            ),
        ],
    )
    def test_other_files_are_rejected(
        self,
        command: Command,
        running: RunningService,
        tmp_path: Path,
        content: dict[str, Any],
        expected: str,
    ) -> None:
        result = command("rule", "set", write(tmp_path / "both.yaml", content))
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith(f"Error: {expected}")
        assert running.control.revisions == []

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"weight": 0.6}, "rule.weight is 0.6: expected 0 to 0.5 for a canary"),
            ({"candidate": "v9"}, "rule.candidate is v9: the registry has v1, v2"),
            ({"kind": "guess"}, "rule.kind is 'guess': expected one of single, "),
            ({"color": "blue"}, "rule.color is not a key here: the keys are kind, "),
        ],
    )
    def test_an_invalid_rule_is_rejected(
        self,
        command: Command,
        running: RunningService,
        tmp_path: Path,
        change: dict[str, Any],
        expected: str,
    ) -> None:
        result = command("rule", "set", write(tmp_path / "rule.yaml", {"rule": CANARY | change}))
        assert result.code == 1
        assert result.err.startswith(f"Error: {expected}")
        assert running.control.revisions == []

    def test_another_stable_version_needs_an_option(
        self, command: Command, running: RunningService, tmp_path: Path
    ) -> None:
        file = write(tmp_path / "rule.yaml", {"rule": SINGLE | {"stable": "v2"}})
        result = command("rule", "set", file)
        assert result.code == 1
        assert result.err.startswith("Error: rule.stable is v2, but v1 is in force: all users")
        assert running.control.revisions == []
        assert command("rule", "set", file, "--change-stable").code == 0
        assert running.service.plane.rule.stable == "v2"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("kind: single\nstable: v1\n", "kind is not a key here: the keys are rule"),
            ("rule: [", "FILE is not YAML: "),
            ("- rule", "FILE is not a mapping"),
            ("", "FILE is not a mapping"),
            ("rule: {stable: 2026-01-01}", "rule.stable is 2026-01-01 in line 1, which Ray"),
            ("rule: {weight: .nan}", "rule.weight is .nan in line 1, which is no number in JSON"),
        ],
    )
    def test_an_invalid_file_is_a_one_line_error(
        self, command: Command, running: RunningService, tmp_path: Path, text: str, expected: str
    ) -> None:
        file = tmp_path / "rule.yaml"
        file.write_text(text)
        result = command("rule", "set", file)
        assert result.code == 1
        (line,) = result.err.splitlines()
        assert line.startswith(f"Error: {expected.replace('FILE', str(file))}")

    @pytest.mark.usefixtures("short_timeout")
    def test_a_candidate_that_does_not_get_ready_is_a_timeout(
        self, command: Command, running: RunningService, file: Path
    ) -> None:
        running.control.cluster.candidate_ready = False
        result = command("rule", "set", file)
        assert result.code == 1
        assert result.err.splitlines()[-1] == (
            "Error: not in force after 0 s: waiting for candidate v2 to become ready;"
            " see serve-app status"
        )


class TestExplain:
    def test_a_rule_without_candidate(self, command: Command, running: RunningService) -> None:
        result = command("rule", "explain")
        assert (result.code, result.err) == (0, "")
        assert rows(result.out) == [
            ["version", "v1"],
            ["reason", "static"],
            ["rule", "single", running.service.plane.rule.rule_id],
        ]

    def test_a_split_shows_bucket_and_threshold(
        self, command: Command, running: RunningService
    ) -> None:
        running.service.apply_rule(**CANARY)
        running.service.plane.breaker.ready = True
        facts = dict(row[:2] for row in rows(command("rule", "explain", "--user", "anna").out))
        assert facts["reason"] == "split"
        assert facts["experiment"] == "koala-canary"
        assert facts["threshold"] == "0.5"
        assert facts["version"] == ("v2" if float(facts["bucket"]) < 0.5 else "v1")

    def test_options_are_sent_as_headers(self, command: Command, running: RunningService) -> None:
        running.service.apply_rule(**CANARY, allow_pin=True)
        result = command(
            "rule", "explain", "--canary", "always", "--session", "s", "--region", "au"
        )
        assert rows(result.out)[:2] == [["version", "v2"], ["reason", "tagged"]]
        result = command("rule", "explain", "--version", "v2")
        assert rows(result.out)[:2] == [["version", "v2"], ["reason", "pinned"]]

    def test_a_draw_per_request_shows_the_shares(
        self, command: Command, running: RunningService
    ) -> None:
        running.service.apply_rule(**AB | {"weight": 0.25})
        running.service.plane.breaker.ready = True
        version, *_ = command("rule", "explain").out.splitlines()
        assert " ".join(version.split()) == "version drawn per request: v1 0.75, v2 0.25"

    def test_an_update_shows_the_versions_of_the_replicas(
        self, command: Command, running: RunningService
    ) -> None:
        running.service.pools.patched_version = "v2"
        version, *_ = command("rule", "explain").out.splitlines()
        assert " ".join(version.split()) == "version depends on the replica: 1 v1, 1 v2"
        running.service.pools.unreported_versions = {"v1", "v2"}
        time.sleep(REPLICAS_MAX_AGE_S)
        version, *_ = command("rule", "explain").out.splitlines()
        assert " ".join(version.split()) == "version none: no replica is ready"

    def test_headers_without_effect_are_noted(
        self, command: Command, running: RunningService
    ) -> None:
        result = command("rule", "explain", "--canary", "always")
        assert " ".join(result.out.splitlines()[-1].split()) == (
            "note --canary has no effect under the rule single"
        )

    @pytest.mark.parametrize(
        ("region", "says"),
        [
            ("de", "Note: DE is in none of the rule's regions: australia-pacific, JP\n"),
            ("AU", ""),
            ("Germany", ""),
        ],
    )
    def test_a_country_outside_the_regions_of_the_rule_is_noted(
        self, command: Command, running: RunningService, region: str, says: str
    ) -> None:
        regions = ["australia-pacific", "JP"]
        running.service.plane.apply_rule(read_rule(AB | {"regions": regions}))
        result = command("rule", "explain", "--region", region, "--user", "ann")
        assert (result.code, result.err) == (0, says)
        ignored = "--region is 'Germany', expected one country code: it is ignored"
        assert (ignored in result.out) == (region == "Germany")

    def test_json_is_the_plan(self, command: Command, running: RunningService) -> None:
        plan = json.loads(command("rule", "explain", "--json").out)
        assert (plan["version"], plan["bucket"], plan["shares"]) == ("v1", None, None)

    def test_a_pin_that_the_rule_does_not_allow_is_rejected(
        self, command: Command, running: RunningService
    ) -> None:
        result = command("rule", "explain", "--version", "v2")
        assert result.code == 1
        assert result.err.endswith("(HTTP 403)")
