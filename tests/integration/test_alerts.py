"""The alerts in Prometheus' own test bench: each fires when it should, and only then."""

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
LONG = 90  # samples, ten seconds apart: a quarter of an hour
STEADY, COUNTED = "{0}+0x90", "0+{0}x90"

# A good canary that gets a tenth, and a shadow's copies from just before.
GAUGES: dict[str, float] = {
    f'{HEALTHY}, deployment="StablePool", replica="a"}}': 1,
    f'{HEALTHY}, deployment="Ingress", replica="b"}}': 1,
    'ray_serve_app_rule_rejected{replica="b"}': 0,
    'ray_serve_app_rule{rule="canary_parallel", stable="v1", candidate="v2"}': 1,
    'ray_serve_app_rule{rule="canary_parallel", stable="v2", candidate="v1"}': 0,
    'ray_serve_app_candidate{state="wanted", replica="b"}': 1,
    'ray_serve_app_candidate{state="up", replica="b"}': 1,
    'ray_serve_app_exposures{state="waiting", replica="b"}': 3,
}
GROWING: dict[str, float] = {
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
WELL = {series: STEADY.format(value) for series, value in GAUGES.items()} | {
    series: COUNTED.format(value) for series, value in GROWING.items()
}
GONE = None


def fallbacks(of_v2: int) -> dict[str, str | None]:
    """As many in ten seconds, besides a hundred good answers of v2."""
    series = f'{REQUESTS}{{{CLASSIFY}, assigned="v2", served="v1", reason="fallback", status="200"'
    return {f'{series}, error="too_slow"}}': COUNTED.format(of_v2)}


def failures(of_v1: int) -> dict[str, str | None]:
    """As many in ten seconds, besides nine hundred good answers of v1."""
    series = f'{REQUESTS}{{{CLASSIFY}, assigned="v1", reason="split", status="500"'
    return {f'{series}, error="internal"}}': COUNTED.format(of_v1)}


def series(part: str) -> str:
    """The one of them all that has this in it."""
    (found,) = (name for name in WELL if part in name)
    return found


CASES: dict[str, tuple[dict[str, str | None], set[str]]] = {
    "all is well": ({}, set()),
    "no stable replica is left": ({series('"StablePool"'): GONE}, {"NoReplica"}),
    "the last ingress replica is ill": ({series('"Ingress"'): "1+0x40 0+0x50"}, {"NoReplica"}),
    "one of two is ill": (
        {f'{HEALTHY}, deployment="StablePool", replica="c"}}': STEADY.format(0)},
        set(),
    ),
    "Ray is gone": (dict.fromkeys(WELL, GONE), {"NoReplica", "Silent"}),
    "a recreation of half a minute": (
        {series('"StablePool"'): "1+0x84 _x3 1+0x3"},
        set(),
    ),
    "the ingress turns requests away": (
        {f'{REQUESTS}{{route="/v1/classify", status="429", error="busy"}}': COUNTED.format(100)},
        {"AnswersFail"},
    ),
    "answers take long": ({series('le="100"'): COUNTED.format(900)}, {"Slow"}),
    "half of the candidate's answers are fallbacks": (
        fallbacks(100),
        {"CandidateFails", "Fallbacks"},
    ),
    "two in a hundred, and stable fails on one": (fallbacks(2) | failures(9), {"Fallbacks"}),
    "one in two hundred": (fallbacks(1) | {series('assigned="v2"'): COUNTED.format(199)}, set()),
    "both versions fail alike": (fallbacks(10) | failures(90), {"AnswersFail", "Fallbacks"}),
    "stable alone fails": (failures(90), {"AnswersFail"}),
    "too few requests to say anything": (
        {series('assigned="v2"'): GONE} | dict.fromkeys(fallbacks(1), "0+1x90"),
        set(),
    ),
    "it happens, and the rule is over": (
        fallbacks(100) | {series('candidate="v2"'): STEADY.format(0)},
        {"Fallbacks"},
    ),
    "the candidate is away": (
        {series('state="up"'): STEADY.format(0)},
        {"CandidateAway"},
    ),
    "nobody wants a candidate": (
        {series('state="wanted"'): STEADY.format(0), series('state="up"'): STEADY.format(0)},
        set(),
    ),
    "the governor sheds": ({series('outcome="shed"'): COUNTED.format(120)}, {"ShadowSheds"}),
    "the shadow's candidate fails": (
        {'ray_serve_app_shadow_copies_total{outcome="failed"}': COUNTED.format(5)},
        {"ShadowFails"},
    ),
    "exposures are dropped": (
        {series('exposures{state="dropped"'): "0+0x60 7+0x30"},
        {"ExposuresDropped"},
    ),
    "they were, long ago": ({series('exposures{state="dropped"'): "0+0x5 7+0x85"}, set()),
    "pairs are dropped": (
        {series('pairs{state="dropped"'): "0+0x60 7+0x30"},
        {"PairsDropped"},
    ),
    "nothing is delivered": (
        {series('state="delivered"'): "0+10x40 400+0x50"},
        {"RecordingStalled"},
    ),
    "nothing is delivered, and nothing waits": (
        {series('state="delivered"'): STEADY.format(9), series('"waiting"'): STEADY.format(0)},
        set(),
    ),
    "a rule is rejected": ({series("rejected"): STEADY.format(1)}, {"RuleRejected"}),
    "one word of feedback is not kept, the first ever": (
        {f'{REQUESTS}{{route="/v1/feedback", status="503"}}': "_x60 1+0x30"},
        {"FeedbackNotKept"},
    ),
    "one was not kept, long ago": (
        {f'{REQUESTS}{{route="/v1/feedback", status="503"}}': "_x5 1+0x85"},
        set(),
    ),
}


def promtool(*arguments: str) -> str:
    """What it printed; it must have succeeded."""
    program = shutil.which("promtool")
    if not program:
        pytest.skip("no promtool: install Prometheus to test the alerts")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    told = promtool("check", "config", str(queries.FOLDER / "prometheus.yml"))
    assert f"{len(queries.rules())} rules found" in told


@pytest.mark.parametrize("case", CASES)
def test_an_alert_fires_when_it_should_and_only_then(case: str, tmp_path: Path) -> None:
    changes, firing = CASES[case]
    values = {name: value for name, value in (WELL | changes).items() if value is not None}
    samples = [{"labels": f'{{alertname="ServeApp{name}"}}', "value": 1} for name in sorted(firing)]
    bench: dict[str, Any] = {
        "rule_files": [str(queries.ALERTS)],
        "evaluation_interval": "10s",
        "tests": [
            {
                "interval": "10s",
                "input_series": [{"series": name, "values": v} for name, v in values.items()],
                "promql_expr_test": [
                    {
                        "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": f"{LONG * 10}s",
                        "exp_samples": samples,
                    }
                ],
            }
        ],
    }
    file = tmp_path / "bench.yml"
    file.write_text(yaml.safe_dump(bench))
    promtool("test", "rules", str(file))


def test_every_alert_is_seen_firing() -> None:
    fired = {f"ServeApp{name}" for _, firing in CASES.values() for name in firing}
    assert fired == {rule["alert"] for rule in queries.rules() if "alert" in rule}
