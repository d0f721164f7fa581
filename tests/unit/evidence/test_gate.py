"""Gates: decisions, their reasons, and the latch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from serve_app.clock import HOUR_MS
from serve_app.evidence.e_values import GateCell, harm_e_value, non_inferiority_e_value
from serve_app.evidence.gate import (
    DISAGREEMENT_LIMIT,
    MARGINS,
    PASS_ALPHA,
    ROLLBACK_ALPHA,
    Action,
    Crossing,
    EventCounts,
    GateConditions,
    GateDecision,
    GateMetric,
    Latch,
    MetricEvidence,
    Rates,
    decide,
    judge,
    judge_disagreement,
    margin_at,
)
from serve_app.evidence.srm import Srm

NOW_MS = 1_000 * HOUR_MS
FAILURES, SLOW, COMPLAINTS = GateMetric.FAILURES, GateMetric.SLOW, GateMetric.COMPLAINTS
AS_PROMISED = Srm(control=900, treatment=100, expected=100, p=1)
READY = GateConditions(
    at_ms=NOW_MS,
    step_ms=24 * HOUR_MS,
    treatment_units=50,
    lost_share=0.01,
    covers_experiment=True,
    candidate_is_up=True,
    srm=AS_PROMISED,
    units_with_feedback=1,
)
COUNTS = EventCounts(9120, 21, 480, 12)
NOTHING = Latch()


def evidence(
    metric: GateMetric = FAILURES,
    harm: float = 1.0,
    not_worse: float = 1.0,
    margin: float = 0.01,
) -> MetricEvidence:
    return MetricEvidence(
        metric,
        harm,
        1 / ROLLBACK_ALPHA[metric],
        COUNTS,
        not_worse,
        1 / PASS_ALPHA,
        COUNTS,
        margin,
        Rates(0.0023, 0.025),
    )


GOOD = [evidence(metric, not_worse=25) for metric in (FAILURES, SLOW, COMPLAINTS)]


def decided(
    metrics: Sequence[MetricEvidence], conditions: GateConditions = READY, latch: Latch = NOTHING
) -> GateDecision:
    return decide(metrics, conditions, latch)


class TestBudgets:
    def test_rollbacks_have_five_percent_in_all_and_a_pass_five_each(self) -> None:
        assert sum(ROLLBACK_ALPHA.values()) == pytest.approx(0.05)
        assert set(ROLLBACK_ALPHA) == set(GateMetric)
        cells = GateCell(np.array([0.1]), *np.array([[900.0], [9.0], [100.0], [1.0]]))
        found = {metric: judge(metric, cells, cells, 0.02) for metric in MARGINS}
        assert [e.harm_threshold for e in found.values()] == [50, 100, 100]
        assert {e.pass_threshold for e in found.values()} == {20}

    @pytest.mark.parametrize(
        ("weight", "units_per_day", "expected"),
        [
            (0.01, None, (0.05, 0.10, 0.10)),
            (0.05, 100, (0.05, 0.10, 0.10)),
            (0.06, None, (0.02, 0.05, 0.05)),
            (0.25, 5000, (0.02, 0.05, 0.05)),
            (0.26, None, (0.01, 0.03, 0.03)),
            (0.5, 500, (0.01, 0.03, 0.03)),
            (0.5, 499, (0.02, 0.05, 0.05)),
        ],
    )
    def test_margins_by_weight(
        self, weight: float, units_per_day: float | None, expected: tuple[float, ...]
    ) -> None:
        assert tuple(margin_at(m, weight, units_per_day) for m in MARGINS) == expected


class TestEvidence:
    def test_harm_reads_all_units_and_non_inferiority_settled_ones(self) -> None:
        until_now = GateCell(np.array([0.1]), *np.array([[900.0], [9.0], [100.0], [8.0]]))
        settled = GateCell(np.array([0.1, 0.2]), *np.array([[90, 40], [1, 2], [10, 10], [0, 1.0]]))
        found = judge(FAILURES, until_now, settled, 0.02)
        assert found.harm_e_value == harm_e_value(until_now)
        assert found.harm_counts == EventCounts(900, 9, 100, 8)
        assert found.pass_e_value == non_inferiority_e_value(settled, 0.02)
        assert found.pass_counts == EventCounts(130, 3, 20, 1)

    def test_control_is_weighted_to_the_cells_of_treatment(self) -> None:
        """The rates double while the weight grows; the versions are equal. Pooled, stable has
        1.4 % and the candidate 1.8 %. The cell without units of treatment does not count."""
        columns = [[950, 500, 80], [9.5, 10, 8], [50, 200, 0], [0.5, 4, 0]]
        cells = GateCell(np.array([0.05, 0.2857, 0.5]), *np.array(columns))
        rates = judge(FAILURES, cells, cells, 0.02).rates
        assert rates.treatment == pytest.approx(4.5 / 250)
        assert rates.control == pytest.approx(rates.treatment)

    def test_without_units_nothing_is_known(self) -> None:
        none = GateCell(*np.zeros((5, 0)))
        found = judge(FAILURES, none, none, 0.02)
        assert (found.harm_e_value, found.pass_e_value) == pytest.approx((1, 1))
        assert found.rates == Rates(None, None)
        one_arm = GateCell(np.array([0.1]), *np.array([[9.0], [1.0], [0.0], [0.0]]))
        assert judge(FAILURES, one_arm, one_arm, 0.02).rates == Rates(None, None)
        assert judge_disagreement(0, 0).rates == Rates(None, None)

    def test_a_shadow_is_compared_with_its_limit(self) -> None:
        above, below = judge_disagreement(90, 300), judge_disagreement(9, 300)
        assert above.margin == DISAGREEMENT_LIMIT == 0.10
        assert above.harm_e_value > above.harm_threshold == 100
        assert below.pass_e_value > below.pass_threshold == 20
        assert below.harm_e_value < 1 > above.pass_e_value
        assert judge_disagreement(90, 300, limit=0.4).pass_e_value > 20
        assert below.rates == Rates(None, 0.03)

    def test_evidence_is_plain_json(self) -> None:
        huge = GateCell(np.array([0.5]), *np.array([[1e9], [0.0], [1e9], [1e9]]))
        text = json.dumps(asdict(judge(FAILURES, huge, huge, 0.02)), allow_nan=False)
        assert json.loads(text)["harm_e_value"] == pytest.approx(1e12)


class TestDecision:
    def test_all_metrics_that_are_not_worse_pass(self) -> None:
        decision = decided(GOOD)
        assert decision.action is Action.PASS
        assert decision.reasons[0] == (
            "Units with a failure: proved to be less than 1 point worse; 2.5 % in the candidate,"
            " 0.23 % in stable (e-value 25, proof from 20 on)."
        )
        assert len(decision.reasons) == 3

    @pytest.mark.parametrize("metric", ROLLBACK_ALPHA)
    def test_harm_of_one_metric_is_a_rollback(self, metric: GateMetric) -> None:
        limit = 1 / ROLLBACK_ALPHA[metric]
        assert decided([*GOOD, evidence(metric, limit, 25)]).action is Action.ROLL_BACK
        below = [e for e in GOOD if e.metric is not metric]
        assert decided([*below, evidence(metric, 0.99 * limit, 25)]).action is Action.PASS

    def test_a_rollback_gives_the_counts(self) -> None:
        decision = decided([evidence(harm=63.2), *GOOD[1:]])
        assert decision.reasons == (
            (
                "Units with a failure: harm is proved; 12 of 480 in the candidate, 21 of 9,120 in"
                " stable (e-value 63.2, proof from 50 on)."
            ),
        )
        shadow = decided([judge_disagreement(90, 300)], replace(READY, srm=None))
        assert shadow.reasons[0].startswith(
            "Copied images with another label: harm is proved; 90 of 300 in the candidate (e-value"
        )

    def test_one_metric_that_is_open_holds(self) -> None:
        decision = decided([*GOOD[:2], evidence(COMPLAINTS, not_worse=19.9, margin=0.05)])
        assert decision.action is Action.HOLD
        assert decision.reasons == (
            (
                "Units with a complaint: not proved yet to be less than 5 points worse; 2.5 % in"
                " the candidate, 0.23 % in stable (e-value 19.9, proof from 20 on)."
            ),
        )

    def test_a_shadow_below_its_limit_passes(self) -> None:
        decision = decided([judge_disagreement(9, 300)], replace(READY, srm=None))
        assert decision.action is Action.PASS
        assert decision.reasons[0].startswith(
            "Copied images with another label: proved to be below 10 %; 3 % in the candidate (e-v"
        )

    @pytest.mark.parametrize(
        ("lacking", "reason"),
        [
            ({"candidate_is_up": False}, "The candidate is down."),
            (
                {"covers_experiment": False},
                "The counts are of a part of the experiment: its whole time is needed.",
            ),
            (
                {"lost_share": 0.0101},
                "1.01 % of the exposures were not recorded: at most 1 % may be lacking.",
            ),
            ({"step_ms": 24 * HOUR_MS - 1}, "This step has lasted 23.9 h of 24 h."),
            ({"step_ms": 90 * 60_000}, "This step has lasted 1.5 h of 24 h."),
            (
                {"treatment_units": 49},
                "The candidate has 49 settled units of this step: 50 are needed.",
            ),
            (
                {"units_with_feedback": 0},
                "No unit gave feedback: whether complaints arrive at all is not known.",
            ),
            (
                {"srm": Srm(control=950, treatment=50, expected=100, p=2e-4)},
                (
                    "Sample ratio mismatch: the candidate has 50 units, 100 were expected"
                    " (p = 0.0002). It has too few; perhaps a crash of the candidate loses its"
                    " records."
                ),
            ),
            (
                {"srm": Srm(control=850, treatment=150, expected=100, p=2e-4)},
                (
                    "Sample ratio mismatch: the candidate has 150 units, 100 were expected"
                    " (p = 0.0002). It has too many; perhaps records of stable are lost."
                ),
            ),
        ],
    )
    def test_what_lacks_holds_a_pass_and_no_rollback(
        self, lacking: dict[str, object], reason: str
    ) -> None:
        conditions = replace(READY, **lacking)  # type: ignore[arg-type]
        decision = decided(GOOD, conditions)
        assert (decision.action, decision.reasons) == (Action.HOLD, (reason,))
        assert decided([evidence(harm=50)], conditions).action is Action.ROLL_BACK

    def test_silence_holds_only_a_gate_that_judges_complaints(self) -> None:
        silent = replace(READY, units_with_feedback=0)
        assert decided(GOOD[:2], silent).action is Action.PASS

    def test_without_a_metric_nothing_passes(self) -> None:
        assert decided([]).action is Action.HOLD


class TestLatch:
    def test_harm_stays_proved_when_the_evidence_falls(self) -> None:
        latch = decided([evidence(harm=51), *GOOD[1:]]).latch
        later = replace(READY, at_ms=NOW_MS + 5 * HOUR_MS)
        decision = decided(GOOD, later, latch)
        assert decision.action is Action.ROLL_BACK
        assert decision.reasons[0].endswith("(e-value 51, proof from 50 on, 5 h ago).")
        assert decided([], later, latch).action is Action.ROLL_BACK

    def test_a_proof_for_a_margin_stays_and_holds_for_larger_ones(self) -> None:
        latch = decided([evidence(not_worse=25, margin=0.02)]).latch
        for margin, action in ((0.02, Action.PASS), (0.05, Action.PASS), (0.01, Action.HOLD)):
            now = evidence(not_worse=0.5, margin=margin)
            assert decided([now], latch=latch).action is action
        assert decided([evidence(SLOW, margin=0.05)], latch=latch).action is Action.HOLD

    def test_each_step_adds_the_proof_of_a_smaller_margin(self) -> None:
        latch = NOTHING
        for at_ms, margin in enumerate((0.05, 0.02, 0.02, 0.05, 0.01)):
            latch = latch.update([evidence(not_worse=30, margin=margin)], at_ms)
        assert [(c.at_ms, c.margin) for c in latch.crossings] == [(0, 0.05), (1, 0.02), (4, 0.01)]

    @given(
        st.lists(
            st.builds(
                evidence,
                st.sampled_from(GateMetric),
                st.floats(0, 200),
                st.floats(0, 40),
                st.sampled_from([0.01, 0.02, 0.05]),
            )
        )
    )
    def test_only_the_first_crossing_of_each_kind_is_kept(
        self, looks: list[MetricEvidence]
    ) -> None:
        latch = NOTHING
        for at_ms, e in enumerate(looks):
            before, latch = latch, latch.update([e], at_ms)
            assert latch.update([e], at_ms + 1) == latch
            assert latch.crossings[: len(before.crossings)] == before.crossings
        for metric in GateMetric:
            own = [(at, e) for at, e in enumerate(looks) if e.metric is metric]
            first_harm = next((at for at, e in own if e.harm_e_value >= e.harm_threshold), None)
            harm = latch.harm(metric)
            assert (harm.at_ms if harm else None) == first_harm
            proved = [e.margin for _, e in own if e.pass_e_value >= e.pass_threshold]
            for margin in (0.01, 0.02, 0.05):
                found = latch.not_worse(metric, margin)
                assert (found is not None) == any(smaller <= margin for smaller in proved)

    def test_a_crossing_has_its_figures(self) -> None:
        latch = NOTHING.update([evidence(harm=60, not_worse=21, margin=0.02)], 7)
        assert latch == Latch(
            (
                Crossing(FAILURES, None, 7, 60, 50, COUNTS),
                Crossing(FAILURES, 0.02, 7, 21, 20, COUNTS),
            )
        )

    def test_a_latch_survives_json(self) -> None:
        latch = NOTHING.update([evidence(harm=60, not_worse=21)], 7)
        text = json.dumps(asdict(latch), allow_nan=False)
        assert TypeAdapter(Latch).validate_json(text) == latch
