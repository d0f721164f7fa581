"""One line of the log and a step of the metrics for each request, written off its path."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter as Tally
from collections import deque
from typing import Any

from ray.serve import metrics

from serve_app.data_plane.plane import DataPlane
from serve_app.recording.recorder import Recorder
from serve_app.rules.rule import Rule
from serve_app.serving.logs import flush_serve_log, log_lines
from serve_app.trace import Trace

FLUSH_INTERVAL_S = 1.0
MAX_WAITING = 20_000
LATENCY_MS: list[float] = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000, 5000]
_LABELS: Any = ("rule", "assigned", "served", "reason")  # Ray types it as a tuple of one
_COPY_LABELS: Any = ("outcome",)
_RULE_LABELS: Any = ("rule", "rule_id", "stable", "candidate")
_REQUEST_LABELS: Any = ("route", "status", "error", *_LABELS)

STATES = ("recorded", "delivered", "dropped", "waiting")
CANDIDATE_STATES = ("wanted", "ready", "up")

logger = logging.getLogger(__name__)


class Telemetry:
    """Collects traces and writes them once a second."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._traces: deque[Trace] = deque()
        self._unlogged = 0
        self._requests = metrics.Counter(
            "serve_app_requests",
            "Requests, by what became of them.",
            tag_keys=_REQUEST_LABELS,
        )
        self._latency = metrics.Histogram(
            "serve_app_latency_ms",
            "From a request's arrival at the ingress to its answer.",
            boundaries=LATENCY_MS,
            tag_keys=_LABELS,
        )
        self._model = metrics.Histogram(
            "serve_app_model_ms",
            "The network's time for the batch that a request ran in.",
            boundaries=LATENCY_MS,
            tag_keys=("served",),
        )
        self._exposures = metrics.Gauge(
            "serve_app_exposures",
            "Exposures of this ingress: recorded, delivered, dropped, waiting.",
            tag_keys=("state",),
        )
        self._pairs = metrics.Gauge(
            "serve_app_shadow_pairs",
            "Shadow pairs of this ingress: recorded, delivered, dropped, waiting.",
            tag_keys=("state",),
        )
        self._kept = metrics.Gauge(
            "serve_app_kept_images",
            "Images kept for review by this ingress: recorded, delivered, dropped, waiting.",
            tag_keys=("state",),
        )
        self._copies = metrics.Counter(
            "serve_app_shadow_copies",
            "Images of a shadow's sample, by what became of their copies.",
            tag_keys=_COPY_LABELS,
        )
        self._copied: Tally[str] = Tally()
        self._governor = metrics.Gauge(
            "serve_app_shadow_share",
            "Of a shadow's sample, what the governor lets through: 0 to 1.",
        )
        self._weight = metrics.Gauge(
            "serve_app_effective_weight", "The share of units that the candidate gets now: 0 to 1."
        )
        self._rule = metrics.Gauge(
            "serve_app_rule",
            "1 for the rule in force, 0 for the one before.",
            tag_keys=_RULE_LABELS,
        )
        self._rule_told: dict[str, str] = {}
        self._candidate = metrics.Gauge(
            "serve_app_candidate",
            "0 or 1: the rule wants one, it was ready once, it can be asked now.",
            tag_keys=("state",),
        )
        self._rejected = metrics.Gauge(
            "serve_app_rule_rejected", "1 while a rejected rule is held aside."
        )

    def answered(self, trace: Trace) -> None:
        """Take a trace; beyond MAX_WAITING it is counted and dropped."""
        if len(self._traces) < MAX_WAITING:
            self._traces.append(trace)
        else:
            self._unlogged += 1

    async def run(self, plane: DataPlane) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            try:
                self.write(plane)
            except Exception:
                logger.exception("observation.failed")

    def write(self, plane: DataPlane) -> None:
        """Write what came since the last time."""
        traces, self._traces = self._traces, deque()
        tally: Tally[tuple[str, ...]] = Tally()
        for trace in traces:
            labels = {key: getattr(trace, key) or "" for key in _LABELS}
            tally[trace.route, str(trace.status), trace.error or "", *labels.values()] += 1
            if trace.model_ms is not None:
                self._latency.observe(trace.latency_ms, labels)
                self._model.observe(trace.model_ms, {"served": labels["served"]})
        log_lines(logger, "request", (trace.fields() for trace in traces))
        for values, count in tally.items():
            self._requests.inc(count, dict(zip(_REQUEST_LABELS, values, strict=True)))
        for state in STATES:
            self._exposures.set(getattr(self._recorder, state), {"state": state})
            self._pairs.set(getattr(self._recorder.pairs, state), {"state": state})
            self._kept.set(getattr(self._recorder.kept, state), {"state": state})
        for outcome, count in plane.mirror.outcome_counts.items():
            if new := count - self._copied[outcome]:
                self._copies.inc(new, {"outcome": outcome})
                self._copied[outcome] = count
        self._governor.set(plane.mirror.governor.share)
        self._weight.set(plane.effective_weight if plane.has_rule else 0.0)
        if plane.has_rule:
            self._write_rule(plane.rule)
            wanted = plane.rule.candidate_replicas is not None
            for state, holds in zip(
                CANDIDATE_STATES,
                (wanted, plane.breaker.ready, plane.breaker.is_closed),
                strict=True,
            ):
                self._candidate.set(int(holds), {"state": state})
        self._rejected.set(int(plane.rejected is not None))
        if self._unlogged:
            logger.warning("log.dropped", extra={"requests": self._unlogged})
            self._unlogged = 0
        flush_serve_log()

    def _write_rule(self, rule: Rule) -> None:
        stable, candidate = (*rule.versions.values(), "")[:2]
        labels = dict(zip(_RULE_LABELS, (rule.kind, rule.rule_id, stable, candidate), strict=True))
        if self._rule_told not in ({}, labels):
            self._rule.set(0, self._rule_told)
        self._rule_told = labels
        self._rule.set(1, labels)
