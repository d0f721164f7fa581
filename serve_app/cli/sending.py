"""Sends traffic for a command, and shows the progress on stderr."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import typer

from serve_app.cli.progress import clock
from serve_app.traffic.images import TrafficImage
from serve_app.traffic.pace import Pace
from serve_app.traffic.runner import ScenarioResult, TrafficResult, run_scenario
from serve_app.traffic.scenario import Scenario

TERMINAL_PERIOD_S, LOG_PERIOD_S = 0.5, 10.0


@dataclass
class Progress:
    """How far the traffic is.

    Attributes:
        total: The number of requests; None if only the time ends them.
        duration_s: The time that ends them; None if only their number does.
        failure: The status and the detail of the last response, if it was an error.
    """

    total: int | None
    duration_s: float | None = None
    done: int = 0
    failed: int = 0
    failure: str = ""
    started_s: float = field(default_factory=time.monotonic)

    def count(self, result: TrafficResult | None) -> None:
        """Count a request."""
        self.done += 1
        self.failure = ""
        if result and result.status != 200:
            self.failed += 1
            detail = result.body.get("detail", "")
            self.failure = f"{result.status or 'no response'}: {detail}"[:60]

    def line(self, now_s: float) -> str:
        """The progress in one line."""
        elapsed_s = now_s - self.started_s
        of_total = f" of {self.total:,}" if self.total else ""
        parts = [f"{self.done:,}{of_total} requests"]
        if elapsed_s > 0:
            parts.append(f"{self.done / elapsed_s:,.0f}/s")
        parts.append(f"{self.failed:,} failed")
        left_s = [self.duration_s - elapsed_s] if self.duration_s else []
        if self.total and self.done:
            left_s.append(elapsed_s * (self.total - self.done) / self.done)
        if left_s and min(left_s) > 0:
            parts.append(f"about {format_clock(min(left_s))} left")
        if self.failure:
            parts.append(self.failure)
        return ", ".join(parts)


def send_traffic(
    url: str, scenario: Scenario, images: list[TrafficImage], pace: Pace, seed: int
) -> ScenarioResult:
    """Send the requests of a scenario with progress on stderr; see `run_scenario`."""
    progress = Progress(None if pace.duration_s else scenario.requests, pace.duration_s)
    with _shown(progress):
        return asyncio.run(
            run_scenario(url, scenario, images, pace=pace, seed=seed, progress=progress.count)
        )


def format_clock(seconds: float) -> str:
    """A duration such as 4:05 or 1:04:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def _shown(progress: Progress) -> Iterator[None]:
    """Show the progress while traffic is sent: one changing line on a terminal, else a line every
    `LOG_PERIOD_S`."""
    is_terminal = sys.stderr.isatty()
    is_over = threading.Event()

    def log(line: str) -> None:
        seconds = format_clock(time.monotonic() - progress.started_s)
        typer.echo(f"{seconds}  {line}", err=True)

    with clock("") if is_terminal else contextlib.nullcontext(log) as show:

        def show_often() -> None:
            while not is_over.wait(TERMINAL_PERIOD_S if is_terminal else LOG_PERIOD_S):
                show(progress.line(time.monotonic()))

        thread = threading.Thread(target=show_often, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
