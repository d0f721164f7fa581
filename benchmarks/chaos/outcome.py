"""What clients saw of a fault, from their answers and the store."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.chaos.faults import Fault
from benchmarks.chaos.load import OK, Answer
from benchmarks.chaos.service import RULES
from benchmarks.evidence.table import Table
from serve_app.home import Home
from serve_app.privacy.prediction_ids import PredictionIdCodec

NOTICED_S = 1.0  # a time without a prediction that counts as an effect of the fault
CALM_S = 1.0  # without an effect, at the end of the observation
COLUMNS = (
    "fault",
    "rule",
    "requests",
    "failed",
    "fallbacks",
    "longest time without a prediction",
    "at most",
    "last effect after",
    "lost exposures",
    "lost feedback",
)

Key = tuple[str, int]  # writer and sequence number of a prediction


@dataclass(frozen=True, slots=True)
class Effect:
    """What clients noticed during the observation.

    Attributes:
        silence_s: The longest time in which no client got a prediction.
        last_s: From the fault to the last failure, fallback or end of a time without a prediction
            of more than `NOTICED_S`; 0 if there was none.
        is_over: Whether it ended `CALM_S` before the observation did.
    """

    silence_s: float
    last_s: float
    is_over: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What clients saw of a fault.

    Attributes:
        failures: Counts by result; those of feedback have it in their name.
        unexplained: Failures with a status that say neither why nor when to try again.
        fallbacks: Predictions of stable for users of the candidate.
        lost_exposures: Predictions whose row is not in the store.
        feedback: How much was acknowledged.
        lost_feedback: Acknowledged feedback that is not in the store.
    """

    fault: Fault
    requests: int
    failures: Counter[str]
    unexplained: int
    fallbacks: int
    effect: Effect
    lost_exposures: int
    feedback: int
    lost_feedback: int

    @property
    def faults(self) -> list[str]:
        """What clients should not have seen."""
        found = []
        if self.effect.silence_s > self.fault.max_silence_s:
            found.append(f"{self.effect.silence_s:.1f} s without a prediction")
        if not self.effect.is_over:
            found.append("not over at the end of the observation")
        if self.failures and not self.fault.may_fail:
            found.append(f"{self.failures.total()} failed requests")
        if self.unexplained:
            found.append(f"{self.unexplained} failures without an explanation")
        if self.lost_exposures and not self.fault.may_lose_exposures:
            found.append(f"{self.lost_exposures} lost exposures")
        if self.lost_feedback:
            found.append(f"{self.lost_feedback} lost feedback")
        return found


def measure_effect(answers: Sequence[Answer], began: float, ended: float) -> Effect:
    """The effect of a fault on the answers from `began` to `ended`, both `time.monotonic`."""
    times = sorted(a.ended_at for a in answers if a.result == OK and began <= a.ended_at <= ended)
    silences = list(pairwise([began, *times, ended]))
    last = max(
        [
            began,
            *(end for start, end in silences if end - start > NOTICED_S),
            *(a.ended_at for a in answers if a.ended_at >= began and is_effect(a)),
        ]
    )
    return Effect(max(end - start for start, end in silences), last - began, ended - last >= CALM_S)


def is_effect(answer: Answer) -> bool:
    """Whether the answer is a failure or a fallback, or its feedback failed."""
    return answer.result != OK or answer.is_fallback or answer.feedback not in {"", OK}


def judge(
    fault: Fault,
    answers: Sequence[Answer],
    interval: tuple[float, float],
    home: Home,
) -> Outcome:
    """The outcome of a fault, when all records have been delivered.

    Args:
        interval: From the fault to the end of the observation, `time.monotonic`.
    """
    codec = PredictionIdCodec(home.hash_key)
    failed = [answer for answer in answers if answer.result != OK]
    predicted = _keys(codec, [a for a in answers if a.result == OK])
    acknowledged = _keys(codec, [a for a in answers if a.feedback == OK])
    refused = (f"{a.feedback} of feedback" for a in answers if a.feedback not in {"", OK})
    with closing(sqlite3.connect(home.database_url.removeprefix("sqlite:///"))) as store:
        exposures = set(store.execute("SELECT writer, sequence FROM exposures"))
        feedback = set(store.execute("SELECT writer, sequence FROM feedback"))
    return Outcome(
        fault,
        len(answers),
        Counter([*(answer.result for answer in failed), *refused]),
        sum(answer.has_connection and not answer.is_explained for answer in failed),
        sum(answer.is_fallback for answer in answers),
        measure_effect(answers, *interval),
        len(predicted - exposures),
        len(acknowledged),
        len(acknowledged - feedback),
    )


def table(outcomes: Sequence[Outcome]) -> Table:
    return Table("faults", COLUMNS, tuple(map(_row, outcomes)), inputs=2)


def _keys(codec: PredictionIdCodec, answers: Sequence[Answer]) -> set[Key]:
    decoded = (codec.decode(answer.prediction_id) for answer in answers)
    return {(prediction.writer, prediction.sequence) for prediction in decoded}


def _row(outcome: Outcome) -> tuple[str, ...]:
    failures = (f"{n:,} × {result}" for result, n in sorted(outcome.failures.items()))
    effect = outcome.effect
    return (
        outcome.fault.name,
        RULES[outcome.fault.configuration],
        f"{outcome.requests:,}",
        ", ".join(failures) or "0",
        f"{outcome.fallbacks:,}",
        f"{effect.silence_s:.1f} s",
        f"{outcome.fault.max_silence_s:.0f} s",
        f"{effect.last_s:.1f} s" if effect.last_s else "none",
        f"{outcome.lost_exposures:,}",
        f"{outcome.lost_feedback} of {outcome.feedback:,}",
    )
