from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from serve_app.evidence.confidence import Interval, rate
from serve_app.evidence.srm import Srm
from serve_app.evidence.verdict import ArmNames, Finding
from serve_app.reports.parts import INLINE, Arms
from serve_app.reports.to_json import to_json
from serve_app.rules.ab_test import Outcome


@dataclass(frozen=True, slots=True)
class Part:
    one: int
    other: float | None


@dataclass(frozen=True, slots=True)
class Whole:
    name: str
    inline: Part = field(metadata=INLINE)
    part: Part
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    arms: ArmNames
    srm: Srm
    units: Mapping[str, Arms[int]]
    treatment_units: int


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, None) for value in (math.nan, math.inf, -math.inf, None)),
        (-0.25, -0.25),
        (True, True),
        ("v1", "v1"),
        (Finding.KEEP_GOING, "keep going"),
        (Interval(-math.inf, 0.5), [None, 0.5]),
        (rate(0, 0), {"estimate": None, "interval": [0.0, 1.0]}),
        (Srm(5, 1, 0.0, 0.0), {"control": 5, "treatment": 1, "expected_treatment": 0.0, "p": 0.0,
                               "invalid": True}),
        (np.array([[0.5, math.nan], [1, 2]]), [[0.5, None], [1.0, 2.0]]),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (MappingProxyType({"v1": Part(1, math.nan)}), {"v1": {"one": 1, "other": None}}),
        (Outcome(window="7d"), {"metric": "complaint", "direction": "decrease", "min_effect": 0.01,
                     "window": "7d"}),
        (
            Whole("w", Part(1, 2.0), Part(3, None), (Part(4, math.inf),)),
            {
                "name": "w",
                "one": 1,
                "other": 2.0,
                "part": {"one": 3, "other": None},
                "parts": [{"one": 4, "other": None}],
            },
        ),
    ],
)  # fmt: skip
def test_a_value_as_json(value: Any, expected: Any) -> None:
    assert to_json(value) == expected


def test_an_assessment_names_the_arms_of_its_parts() -> None:
    """A name that is a key of a mapping stays."""
    value = Assessment(
        ArmNames("stable", "candidate"), Srm(5, 1, 3.0, 1.0), {"control": Arms(5, 1)}, 1
    )
    assert to_json(value) == {
        "arms": ["stable", "candidate"],
        "srm": {"stable": 5, "candidate": 1, "expected_candidate": 3.0, "p": 1.0, "invalid": False},
        "units": {"control": {"stable": 5, "candidate": 1}},
        "candidate_units": 1,
    }
