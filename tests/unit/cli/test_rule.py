from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.domain import Pool
from serve_app.errors import BadConfig
from serve_app.rules.rule import Rule
from tests.unit.cli.conftest import ROOT, Command, Running
from tests.unit.service import AB, PARALLEL, ROLLING

CANARY = PARALLEL | {"weight": 0.5}
WARNING = "Warning: the canary gets 0.5 of the units: ideally below 0.35\n"

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "rule.yaml", {"rule": CANARY})


def write(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


class TestShow:
    def test_a_rule_for_everybody(self, command: Command, running: Running) -> None:
        done = command("rule", "show")
        assert (done.code, done.err) == (0, "")
        first, second, *table = done.out.splitlines()
        name, _, settings = first.partition(": ")
        assert name == f"rule single {running.service.plane.rule.rule_id}"
        assert {"stable v1", "allow_pin false"} <= set(settings.split(", "))
        assert second == "effective weight 0; no candidate"
        assert rows("\n".join(table)) == [
            [],
            ["pool", "replica", "version", "answered"],
            ["StablePool", "StablePool-1", "v1", "-"],
        ]

    @pytest.mark.parametrize(
        ("ready", "up", "expected"),
        [
            (False, False, "effective weight 0; candidate v2 in CandidatePool: not ready, down"),
            (True, True, "effective weight 0.5; candidate v2 in CandidatePool: ready, up"),
            (True, False, "effective weight 0.5; candidate v2 in CandidatePool: ready, down"),
        ],
    )
    def test_a_rule_with_a_candidate(
        self, command: Command, running: Running, ready: bool, up: bool, expected: str
    ) -> None:
        running.service.apply_rule(**CANARY)
        running.service.plane.breaker.ready, running.service.plane.breaker.is_closed = ready, up
        running.service.pools.assigned[Pool.CANDIDATE] = None
        done = command("rule", "show")
        assert (done.code, done.err) == (0, WARNING)
        first, second, *table = done.out.splitlines()
        assert "regions" not in first
        assert second == expected
        assert table[-1].split() == ["CandidatePool", "CandidatePool-1", "none", "-"]

    def test_what_was_rejected_is_told(self, command: Command, running: Running) -> None:
        running.service.plane.reject(BadConfig("rule.stable", "is v9: the registry has v1, v2"))
        running.service.pools.rejected = {"path": "version", "message": "v2 cannot be loaded"}
        assert command("rule", "show").err.splitlines() == [
            "a rule was rejected: rule.stable is v9: the registry has v1, v2",
            "StablePool rejected its configuration: version v2 cannot be loaded",
        ]

    def test_as_json_everything_is_printed(self, command: Command, running: Running) -> None:
        shown = json.loads(command("rule", "show", "--json").out)
        assert shown["rule_id"] == running.service.plane.rule.rule_id
        assert shown["rejected"] is None


class TestSet:
    def test_it_is_put_in_force_with_its_pools(
        self, command: Command, running: Running, file: Path
    ) -> None:
        done = command("rule", "set", file, "--reason", "koalas")
        assert (done.code, done.err) == (0, WARNING)
        rule_id = running.service.plane.rule.rule_id
        assert done.out.splitlines() == [
            f"revision 1 with rule {rule_id} is deployed",
            f"rule {rule_id} is in force",
        ]
        assert running.service.plane.rule.kind == "canary_parallel"
        assert running.service.pools.assigned[Pool.CANDIDATE] == "v2"
        assert running.controller.deployed_by[0][1] == "koalas"

    def test_a_rolling_canary_patches_the_stable_pool(
        self, command: Command, running: Running, tmp_path: Path
    ) -> None:
        file = write(tmp_path / "rule.yaml", {"rule": ROLLING | {"of": 2, "weight": 0.1}})
        assert command("rule", "set", file).code == 0
        assert running.service.pools.patched == "v2"
        assert command("rule", "show").out.splitlines()[-1].split()[:3] == [
            "StablePool", "StablePool-2", "v2",
        ]  # fmt: skip

    def test_a_dash_reads_standard_input(
        self, command: Command, running: Running, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(file.read_text()))
        assert command("rule", "set", "-").code == 0
        assert running.controller.deployed_by[0][1] == "rule canary_parallel"

    @pytest.mark.parametrize("source", ["file", "standard input"])
    def test_of_a_deployment_file_exactly_its_rule_is_put_in_force(
        self,
        command: Command,
        running: Running,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        source: str,
    ) -> None:
        """With its pools; what else the file says takes `serve-app deploy`."""
        canary = ROOT / "deploy_configs/canary_parallel.yaml"
        document = yaml.safe_load(canary.read_text())
        file = write(tmp_path / "canary.yaml", document | {"http_options": {"port": 9000}})
        monkeypatch.setattr(sys, "stdin", io.StringIO(file.read_text()))
        done = command("rule", "set", file if source == "file" else "-", "--reason", "koalas")
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines()[0] == (
            f"of {file if source == 'file' else source} only the rule is deployed:"
            " canary_parallel, stable v1, candidate v2"
        )
        deployed = running.controller.document
        assert deployed["applications"] == document["applications"]
        assert deployed["http_options"]["port"] == 8000

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ({"applications": []}, "applications leaves out 'animals', and Serve would delete it"),
            (
                {"applications": [], "rule": CANARY},
                "applications is rejected: the only key is rule",
            ),
        ],
    )
    def test_what_is_neither_a_rule_nor_a_deployment_file_is_told(
        self,
        command: Command,
        running: Running,
        tmp_path: Path,
        content: dict[str, Any],
        expected: str,
    ) -> None:
        done = command("rule", "set", write(tmp_path / "both.yaml", content))
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"Error: {expected}")
        assert running.controller.deployed_by == []

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"weight": 0.6}, "rule.weight is 0.6: a canary never exceeds 0.5, nor falls below 0"),
            ({"candidate": "v9"}, "rule.candidate is v9: the registry has v1, v2"),
            ({"kind": "guess"}, "rule.kind is guess: expected one of single, "),
            ({"color": "blue"}, "rule.color is rejected: Extra inputs are not permitted"),
        ],
    )
    def test_a_mistake_is_named_before_anything_is_sent(
        self,
        command: Command,
        running: Running,
        tmp_path: Path,
        change: dict[str, Any],
        expected: str,
    ) -> None:
        done = command("rule", "set", write(tmp_path / "rule.yaml", {"rule": CANARY | change}))
        assert done.code == 1
        assert done.err.startswith(f"Error: {expected}")
        assert running.controller.deployed_by == []

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("kind: single\nstable: v1\n", "kind is rejected: the only key is rule"),
            ("rule: [", "FILE is not YAML: "),
            ("- rule", "FILE holds no mapping"),
            ("", "FILE holds no mapping"),
            ("rule: {stable: 2026-01-01}", "FILE holds what JSON cannot say, such as a date: "),
            ("rule: {weight: .nan}", "FILE holds what JSON cannot say, such as a date: "),
        ],
    )
    def test_what_is_no_rule_file_is_told_in_one_line(
        self, command: Command, running: Running, tmp_path: Path, text: str, expected: str
    ) -> None:
        file = tmp_path / "rule.yaml"
        file.write_text(text)
        done = command("rule", "set", file)
        assert done.code == 1
        (line,) = done.err.splitlines()
        assert line.startswith(f"Error: {expected.replace('FILE', str(file))}")

    def test_a_missing_file_is_told_in_one_line(self, command: Command, tmp_path: Path) -> None:
        done = command("rule", "set", tmp_path / "none.yaml")
        assert done.code == 1
        assert done.err.startswith(f"Error: {tmp_path}/none.yaml cannot be read (No such file")

    def test_without_waiting_nothing_is_asked_afterwards(
        self, command: Command, running: Running, file: Path
    ) -> None:
        running.controller.is_deaf = True
        done = command("rule", "set", file, "--no-wait")
        assert done.code == 0
        assert len(done.out.splitlines()) == 1

    def test_a_candidate_that_does_not_get_ready_is_told(
        self, command: Command, running: Running, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def apply_rule(rule: Rule, _: dict[str, Any]) -> None:
            running.service.plane.apply_rule(rule)
            running.service.pools.assigned[Pool.CANDIDATE] = "v2"

        monkeypatch.setattr(running.controller, "_apply_rule", apply_rule)
        done = command("rule", "set", file)
        assert done.code == 1
        assert done.err.splitlines()[-1] == (
            "Error: not in force after 0.3 s: the candidate v2 is not ready; see serve-app status"
        )


class TestExplain:
    def test_a_rule_for_everybody(self, command: Command, running: Running) -> None:
        done = command("rule", "explain")
        assert (done.code, done.err) == (0, "")
        assert rows(done.out) == [
            ["version", "v1"],
            ["reason", "static"],
            ["rule", "single", running.service.plane.rule.rule_id],
        ]

    def test_a_user_has_a_place_in_the_split(self, command: Command, running: Running) -> None:
        running.service.apply_rule(**CANARY)
        running.service.plane.breaker.ready = True
        told = dict(row[:2] for row in rows(command("rule", "explain", "--user", "anna").out))
        assert told["reason"] == "split"
        assert told["experiment"] == "koala-canary"
        assert told["threshold"] == "0.5"
        assert told["version"] == ("v2" if float(told["bucket"]) < 0.5 else "v1")

    def test_the_options_become_headers(self, command: Command, running: Running) -> None:
        running.service.apply_rule(**CANARY, allow_pin=True)
        done = command("rule", "explain", "--canary", "always", "--session", "s", "--region", "au")
        assert rows(done.out)[:2] == [["version", "v2"], ["reason", "tagged"]]
        done = command("rule", "explain", "--version", "v2")
        assert rows(done.out)[:2] == [["version", "v2"], ["reason", "pinned"]]

    def test_where_requests_are_drawn_the_shares_are_told(
        self, command: Command, running: Running
    ) -> None:
        running.service.apply_rule(**AB | {"weight": 0.25})
        running.service.plane.breaker.ready = True
        version, *_ = command("rule", "explain").out.splitlines()
        assert " ".join(version.split()) == "version drawn for each request: v1 0.75, v2 0.25"

    def test_during_an_update_it_is_told_what_the_replicas_hold(
        self, command: Command, running: Running
    ) -> None:
        running.service.pools.patched = "v2"
        version, *_ = command("rule", "explain").out.splitlines()
        assert " ".join(version.split()) == "version whatever the replica holds: 1 v1, 1 v2"
        running.service.pools.hidden = {"v1", "v2"}
        version, *_ = command("rule", "explain").out.splitlines()
        assert " ".join(version.split()) == "version none: no replica can answer"

    def test_what_the_rule_does_not_heed_is_noted(self, command: Command, running: Running) -> None:
        done = command("rule", "explain", "--canary", "always")
        assert " ".join(done.out.splitlines()[-1].split()) == (
            "note X-Canary has no effect under the rule single"
        )

    def test_as_json_the_whole_answer_is_printed(self, command: Command, running: Running) -> None:
        plan = json.loads(command("rule", "explain", "--json").out)
        assert (plan["version"], plan["bucket"], plan["shares"]) == ("v1", None, None)

    def test_a_pin_that_the_rule_does_not_allow_is_rejected(
        self, command: Command, running: Running
    ) -> None:
        done = command("rule", "explain", "--version", "v2")
        assert done.code == 1
        assert done.err.endswith("(HTTP 403)")
