"""Assessments as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
from pydantic import BaseModel

from serve_app.evidence.confidence import Interval, Rate
from serve_app.evidence.srm import Srm
from serve_app.evidence.verdict import ArmNames
from serve_app.reports.parts import INLINE

NO_NAMES = ArmNames("control", "treatment")


def to_json(value: Any, arms: ArmNames = NO_NAMES) -> Any:
    """A value as JSON: the fields of a dataclass become keys, an interval becomes [low, high], and
    a rate has an estimate and an interval.

    Numbers that are not finite are null. A field with the metadata `INLINE` gives its keys to its
    owner.

    Args:
        arms: What `control` and `treatment` become at the beginning of a key. A dataclass with an
            attribute `arms` names those of its parts.
    """
    match value:
        case Enum():
            return value.value
        case float():
            return value if math.isfinite(value) else None
        case Interval():
            return [to_json(value.low), to_json(value.high)]
        case Rate():
            return {"estimate": value.estimate, "interval": to_json(value.interval)}
        case ArmNames():
            return [value.control, value.treatment]
        case Srm():
            return {
                arms.control: value.control,
                arms.treatment: value.treatment,
                f"expected_{arms.treatment}": value.expected,
                "p": value.p,
                "invalid": value.is_invalid,
            }
        case np.ndarray() | np.generic():
            return to_json(value.tolist())
        case BaseModel():
            return value.model_dump(mode="json", by_alias=True)
        case Mapping():
            return {key: to_json(item, arms) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item, arms) for item in value]
    return dict(_items(value, arms)) if is_dataclass(value) else value


def _items(value: Any, arms: ArmNames) -> Iterator[tuple[str, Any]]:
    arms = getattr(value, "arms", arms)
    for field in fields(value):
        content = to_json(getattr(value, field.name), arms)
        if field.metadata == INLINE:
            yield from content.items()
        else:
            yield _key(field.name, arms), content


def _key(name: str, arms: ArmNames) -> str:
    arm, _, rest = name.partition("_")
    if arm not in ("control", "treatment"):
        return name
    named = getattr(arms, arm)
    return f"{named}_{rest}" if rest else named
