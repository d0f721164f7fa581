"""A day of synthetic traffic: seeded batches of exposures, shadow pairs and feedback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.records import Exposure
from serve_app.rules.parse import read_rule
from tests.factories import WRITER, feedback_on, pair_of

RULE = {
    "kind": "ab_test",
    "control": "v1",
    "treatment": "v2",
    "experiment": "koala-test",
    "unit": "user",
}
RULE_ID = "aaaaaaaa"
TERMS = read_rule(RULE).experiment_terms
DIGEST = TERMS.digest if TERMS else ""
REGIONS = ("AU", "NZ", "FJ", "PG", "DE", "FR", "US", "BR")
LABELS = ("cat", "dog", "koala")
START_MS = 1_700_006_400_000  # a UTC midnight
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Population:
    """The size of the traffic.

    Attributes:
        exposures: Their number, spread evenly over the day.
        users: Their number; each has a region, and half of them are assigned v2.
        feedback: The share of exposures with feedback, 0 to 1.
        pairs: The share of exposures with a shadow pair, 0 to 1.
    """

    exposures: int
    users: int = 2_000
    feedback: float = 0.0
    pairs: float = 0.0
    batch_size: int = 500

    def batches(self) -> Iterator[Batch]:
        """The batches of one writer, in order; feedback is in the batch of its exposure."""
        random = np.random.default_rng(7)
        names = [f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}{n:016x}" for n in range(self.users)]
        adoptions = (Adoption(START_MS - 1_000, RULE_ID, json.dumps(RULE)),)
        for first in range(1, self.exposures + 1, self.batch_size):
            size = min(self.batch_size, self.exposures + 1 - first)
            exposures = tuple(self._exposures(random, names, first, size))
            has_feedback = random.random(size) < self.feedback
            is_copied = random.random(size) < self.pairs
            yield Batch(
                WRITER,
                adoptions=adoptions if first == 1 else (),
                exposures=exposures,
                pairs=tuple(
                    pair_of(
                        e,
                        LABELS[n % len(LABELS)],
                        latency_ms=e.latency_ms,
                        model_ms=e.latency_ms / 3,
                    )
                    for n, e in enumerate(exposures)
                    if is_copied[n]
                ),
                feedback=tuple(
                    feedback_on(e, 1_000, correct=n % 10 > 0, complaint=n % 7 == 0)
                    for n, e in enumerate(exposures)
                    if has_feedback[n] and e.label
                ),
                last_sequence=first + size - 1,
            )

    def _exposures(
        self, random: np.random.Generator, names: list[str], first: int, size: int
    ) -> Iterator[Exposure]:
        users = random.integers(self.users, size=size).tolist()
        latencies = random.lognormal(2, 0.4, size).tolist()
        labels = random.integers(len(LABELS), size=size).tolist()
        failed = (random.random(size) < 0.01).tolist()
        for n in range(size):
            user = users[n]
            assigned = ("v1", "v2")[user % 2]
            yield Exposure(
                writer=WRITER,
                sequence=first + n,
                at_ms=START_MS + (first + n) * DAY_MS // (self.exposures + 1),
                request_id=f"r-{first + n}",
                rule_id=RULE_ID,
                rule="ab_test",
                reason="split",
                assigned=assigned,
                served="v1" if failed[n] else assigned,
                user=names[user],
                session=None,
                region=REGIONS[user % len(REGIONS)],
                label=LABELS[labels[n]],
                confidence=0.875,
                latency_ms=latencies[n],
                model_ms=latencies[n] / 2,
                error="too_slow" if failed[n] and assigned == "v2" else None,
            )
