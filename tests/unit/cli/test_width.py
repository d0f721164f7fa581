"""Every command at the width of a terminal: it shows all that it shows to a program."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from serve_app.home import Home
from tests.unit.cli.conftest import ROOT, Command, RunningService
from tests.unit.reports.conftest import CANARY, SHADOW, TEST, StoreBuilder
from tests.unit.reviews import LocalReviews

pytestmark = pytest.mark.slow

LONG = "do-the-users-of-every-zoo-in-australia-and-new-zealand-prefer-v2"[:63]
REGIONS = ["australia-pacific", "latin-america-caribbean", "sub-saharan-africa"]
UNTIL = ("--until", "2023-11-16")
COMMANDS = [
    ("status",),
    ("rule", "show"),
    ("rule", "explain", "--user", "u" * 200),
    ("revision", "list"),
    ("revision", "show", "2"),
    ("revision", "diff", "1", "3"),
    ("revision", "restore", "1", "--dry-run"),
    ("deploy", str(ROOT / "deploy_configs/ab_test.yaml"), "--dry-run"),
    ("rule", "set", str(ROOT / "deploy_configs/shadow.yaml"), "--dry-run"),
    ("audit",),
    ("experiment", "list"),
    ("review", "list"),
    ("review", "list", "--reviewed"),
    ("models", "list"),
    ("models", "show", "v2"),
    ("report", "traffic", "--since", "2023-11-15", *UNTIL),
    ("report", "canary", "--explain", *UNTIL),
    ("report", "canary", "--experiment", LONG, *UNTIL),
    ("report", "ab", "--explain", *UNTIL),
    ("report", "shadow", "--explain", *UNTIL),
]


def add_experiments(builder: StoreBuilder) -> None:
    """A canary, an A/B test and a shadow with feedback, failures and two regions."""
    builder.adopt_rule(CANARY | {"experiment": LONG})
    builder.adopt_rule(CANARY | {"regions": REGIONS}, minute=30)
    for user in range(60):
        region = ("AU", "BR")[user % 2]
        stable = builder.add_exposure("v1", user, 31, region=region, label="dog")
        builder.add_feedback(stable, label="koala" if user % 3 else "dog")
        if user % 7:
            builder.add_exposure("v2", 100 + user, 31, region=region, latency_ms=123_456.789)
        else:
            builder.add_fallback(100 + user, 31, region=region)
    builder.adopt_rule(TEST, minute=60)
    for user in range(40):
        control = builder.add_exposure("v1", 300 + user, 61)
        builder.add_feedback(control, complaint=True, label="dog")
        treated = builder.add_exposure("v2", 400 + user, 61, label="koala")
        builder.add_feedback(treated, complaint=user % 2 == 0, label="koala")
    builder.adopt_rule(SHADOW | {"experiment": "s" * 63}, minute=120)
    for user in range(40):
        copied = builder.add_exposure("v1", user, 121 + 60 * (user % 2), reason="static")
        builder.add_pair(copied, "koala" if user < 30 else "cat" if user < 38 else None)
        builder.add_feedback(copied, label="koala")
    builder.build()


@pytest.fixture
def _busy(command: Command, running: RunningService, home: Home) -> None:
    """Revisions with long reasons, experiments and reviews."""
    add_experiments(StoreBuilder(running.control.store))
    reviews = LocalReviews(home, running.control.store)
    reviewed, *_ = reviews.keep_images(1, 2)
    command("review", "answer", reviewed, "koala")
    canary = ROOT / "deploy_configs/canary_parallel.yaml"
    update = ("update", "v2", "--method", "rolling")
    for change, reason in (
        (("deploy", canary), "because " * 40 + "x" * 100),
        (update, "now [bold]for all[/bold] :smile:"),
    ):
        result = command(*change, "--reason", reason)
        assert result.code == 0, result.err


def squeeze(text: str) -> str:
    return "".join(text.split())


def cells(line: str) -> list[str]:
    return [cell for cell in re.split(r"\s{2,}", line.strip()) if cell]


@pytest.mark.usefixtures("_busy")
def test_nothing_is_lost_and_no_line_is_too_wide(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in COMMANDS:
        piped = command(*arguments)
        assert piped.code in (0, 1), (arguments, piped.err)
        assert piped.out
        for width in (80, 100, 140, 200):
            with monkeypatch.context() as patch:
                patch.setenv("COLUMNS", str(width))
                shown = command(*arguments).out
            too_wide = [line for line in shown.splitlines() if cell_len(line.rstrip()) > width]
            assert too_wide == [], (arguments, width)
            whole = squeeze(shown)
            lost = [cell for line in piped.out.splitlines() for cell in cells(line)
                    if squeeze(cell) not in whole]  # fmt: skip
            assert lost == [], (arguments, width, shown)
            assert "…" not in shown
