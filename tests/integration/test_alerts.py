"""The alerts in `promtool test rules`: each fires in its cases, and only in those."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import queries

REQUESTS = "ray_serve_app_requests_total"
CLASSIFY = 'route="/v1/classify", rule="canary_parallel"'
HEALTHY = 'ray_serve_deployment_replica_healthy{application="animals"'
SAMPLES = 90  # one every 10 s, for 15 minutes
CONSTANT, GROWING = "{0}+0x90", "0+{0}x90"

# A healthy canary with a tenth of the requests, and copies of an earlier shadow.
GAUGES: dict[str, float] = {
    f'{HEALTHY}, deployment="StablePool", replica="a"}}': 1,
    f'{HEALTHY}, deployment="Ingress", replica="b"}}': 1,
    'ray_serve_app_rule_rejected{replica="b"}': 0,
    'ray_serve_app_rule{rule="canary_parallel", stable="v1", candidate="v2"}': 1,
    'ray_serve_app_rule{rule="canary_parallel", stable="v2", candidate="v1"}': 0,
    'ray_serve_app_candidate{state="wanted", replica="b"}': 1,
    'ray_serve_app_candidate{state="up", replica="b"}': 1,
    'ray_serve_app_exposures{state="waiting", replica="b"}': 3,
    'ray_serve_app_store_bytes{replica="d"}': 70,
    'ray_serve_app_store_max_bytes{replica="d"}': 100,
}
COUNTERS: dict[str, float] = {
    f'{REQUESTS}{{{CLASSIFY}, assigned="v1", reason="split", status="200"}}': 900,
    f'{REQUESTS}{{{CLASSIFY}, assigned="v2", reason="split", status="200"}}': 100,
    f'{REQUESTS}{{{CLASSIFY}, reason="split", status="422", error="broken_image"}}': 500,
    f'{REQUESTS}{{{CLASSIFY}, assigned="v3", reason="pinned", status="503", error="not_ready"}}': 1,
    f'{REQUESTS}{{route="/v1/feedback", status="404", error="unknown_prediction"}}': 10,
    'ray_serve_app_latency_ms_bucket{reason="split", le="100"}': 1000,
    'ray_serve_app_latency_ms_bucket{reason="split", le="500"}': 1000,
    'ray_serve_app_latency_ms_bucket{reason="split", le="+Inf"}': 1000,
    'ray_serve_app_exposures{state="delivered", replica="b"}': 1000,
    'ray_serve_app_exposures{state="dropped", replica="b"}': 0,
    'ray_serve_app_shadow_pairs{state="dropped", replica="b"}': 0,
    'ray_serve_app_shadow_copies_total{outcome="copied"}': 110,
    'ray_serve_app_shadow_copies_total{outcome="shed"}': 100,
}
BASELINE = {series: CONSTANT.format(value) for series, value in GAUGES.items()} | {
    series: GROWING.format(value) for series, value in COUNTERS.items()
}
ABSENT = None


def fallbacks(count: int) -> dict[str, str | None]:
    """Fallbacks in 10 s, besides 100 responses of v2."""
    series = f'{REQUESTS}{{{CLASSIFY}, assigned="v2", served="v1", reason="fallback", status="200"'
    return {f'{series}, error="too_slow"}}': GROWING.format(count)}


def failures(count: int) -> dict[str, str | None]:
    """Failures in 10 s, besides 900 responses of v1."""
    series = f'{REQUESTS}{{{CLASSIFY}, assigned="v1", reason="split", status="500"'
    return {f'{series}, error="internal"}}': GROWING.format(count)}


def find_series(part: str) -> str:
    """The only healthy series whose name contains a text."""
    (name,) = (name for name in BASELINE if part in name)
    return name


CASES: dict[str, tuple[dict[str, str | None], set[str]]] = {
    "healthy": ({}, set()),
    "no stable replica": ({find_series('"StablePool"'): ABSENT}, {"NoReplica"}),
    "no healthy ingress replica": ({find_series('"Ingress"'): "1+0x40 0+0x50"}, {"NoReplica"}),
    "one of two stable replicas is unhealthy": (
        {f'{HEALTHY}, deployment="StablePool", replica="c"}}': CONSTANT.format(0)},
        set(),
    ),
    "Ray is down": (dict.fromkeys(BASELINE, ABSENT), {"NoReplica", "Silent"}),
    "a recreation of 30 s": ({find_series('"StablePool"'): "1+0x84 _x3 1+0x3"}, set()),
    "the ingress rejects requests": (
        {f'{REQUESTS}{{route="/v1/classify", status="429", error="busy"}}': GROWING.format(100)},
        {"AnswersFail"},
    ),
    "slow responses": ({find_series('le="100"'): GROWING.format(900)}, {"Slow"}),
    "half of the candidate's requests are fallbacks": (
        fallbacks(100),
        {"CandidateFails", "Fallbacks"},
    ),
    "2 % fallbacks, and stable fails on 1 %": (fallbacks(2) | failures(9), {"Fallbacks"}),
    "0.5 % fallbacks": (fallbacks(1) | {find_series('assigned="v2"'): GROWING.format(199)}, set()),
    "both versions fail alike": (fallbacks(10) | failures(90), {"AnswersFail", "Fallbacks"}),
    "only stable fails": (failures(90), {"AnswersFail"}),
    "too few requests": (
        {find_series('assigned="v2"'): ABSENT} | dict.fromkeys(fallbacks(1), "0+1x90"),
        set(),
    ),
    "fallbacks after the end of the rule": (
        fallbacks(100) | {find_series('candidate="v2"'): CONSTANT.format(0)},
        {"Fallbacks"},
    ),
    "the candidate is unreachable": (
        {find_series('state="up"'): CONSTANT.format(0)},
        {"CandidateAway"},
    ),
    "the rule has no candidate": (
        {
            find_series('state="wanted"'): CONSTANT.format(0),
            find_series('state="up"'): CONSTANT.format(0),
        },
        set(),
    ),
    "the governor sheds": ({find_series('outcome="shed"'): GROWING.format(120)}, {"ShadowSheds"}),
    "the shadow's candidate fails": (
        {'ray_serve_app_shadow_copies_total{outcome="failed"}': GROWING.format(5)},
        {"ShadowFails"},
    ),
    "exposures are dropped": (
        {find_series('exposures{state="dropped"'): "0+0x60 7+0x30"},
        {"ExposuresDropped"},
    ),
    "old dropped exposures": ({find_series('exposures{state="dropped"'): "0+0x5 7+0x85"}, set()),
    "pairs are dropped": (
        {find_series('pairs{state="dropped"'): "0+0x60 7+0x30"},
        {"PairsDropped"},
    ),
    "nothing is delivered": (
        {find_series('state="delivered"'): "0+10x40 400+0x50"},
        {"RecordingStalled"},
    ),
    "nothing is delivered, and nothing waits": (
        {
            find_series('state="delivered"'): CONSTANT.format(9),
            find_series('"waiting"'): CONSTANT.format(0),
        },
        set(),
    ),
    "the store is nearly full": ({find_series("store_bytes"): CONSTANT.format(91)}, {"StoreFull"}),
    "a rule is rejected": ({find_series("rejected"): CONSTANT.format(1)}, {"RuleRejected"}),
    "the first feedback is not stored": (
        {f'{REQUESTS}{{route="/v1/feedback", status="503"}}': "_x60 1+0x30"},
        {"FeedbackNotKept"},
    ),
    "feedback was not stored long ago": (
        {f'{REQUESTS}{{route="/v1/feedback", status="503"}}': "_x5 1+0x85"},
        set(),
    ),
}


def run_promtool(*arguments: str) -> str:
    """The output of promtool; fails if promtool fails."""
    program = shutil.which("promtool")
    if not program:
        pytest.skip("no promtool: install Prometheus to test the alerts")
    completed = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    output = run_promtool("check", "config", str(queries.FOLDER / "prometheus.yml"))
    assert f"{len(queries.rules())} rules found" in output


@pytest.mark.parametrize("case", CASES)
def test_alerts_fire_in_their_cases_only(case: str, tmp_path: Path) -> None:
    changes, firing = CASES[case]
    values = {name: value for name, value in (BASELINE | changes).items() if value is not None}
    samples = [{"labels": f'{{alertname="ServeApp{name}"}}', "value": 1} for name in sorted(firing)]
    test_file: dict[str, Any] = {
        "rule_files": [str(queries.ALERTS)],
        "evaluation_interval": "10s",
        "tests": [
            {
                "interval": "10s",
                "input_series": [{"series": name, "values": v} for name, v in values.items()],
                "promql_expr_test": [
                    {
                        "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": f"{SAMPLES * 10}s",
                        "exp_samples": samples,
                    }
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(test_file))
    run_promtool("test", "rules", str(file))


def test_every_alert_fires_in_a_case() -> None:
    fired = {f"ServeApp{name}" for _, firing in CASES.values() for name in firing}
    assert fired == {rule["alert"] for rule in queries.rules() if "alert" in rule}
