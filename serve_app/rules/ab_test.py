"""An A/B test: which version do users prefer?"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serve_app.domain import Context
from serve_app.rules.rule import ExperimentTerms, Position, VersionName
from serve_app.rules.split import Split


class Outcome(BaseModel):
    """What the versions are compared by.

    Attributes:
        metric: What the feedback of a unit tells.
        direction: Which way is better; by default fewer complaints, but more that is right, and
            higher ratings.
        min_effect: The smallest difference that would matter: a share of units, or a part of a
            rating; by default 0.01, and 0.1 of a rating.
        window: How long after an answer its feedback counts: a number and s, m, h or d.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    metric: Literal["complaint", "correct", "rating"] = "complaint"
    direction: Literal["decrease", "increase"] = "decrease"
    min_effect: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    window: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}[smhd]$")] = "7d"

    @model_validator(mode="before")
    @classmethod
    def _by_metric(cls, content: Any) -> Any:
        """What the metric says of the rest, where that is not said."""
        if not isinstance(content, dict):
            return content
        match content.get("metric"):
            case "correct":
                return {"direction": "increase", **content}
            case "rating":
                return {"direction": "increase", "min_effect": 0.1, **content}
            case _:
                return content


class ABTest(Split):
    """Versions drawn at random among those whom the test is about; everybody else gets control.

    Attributes:
        control, treatment: The versions.
        weight: The share of units that gets the treatment, 0 to 1.
        unit: `request` draws anew each time; the others stay with what they were given.
        outcome: What decides.
    """

    kind: Literal["ab_test"]
    control: VersionName
    treatment: VersionName
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    unit: Literal["request", "session", "user"] = "request"  # type: ignore[assignment]
    outcome: Outcome = Outcome()

    @property
    def versions(self) -> dict[str, str]:
        """See `Rule.versions`."""
        return {"control": self.control, "treatment": self.treatment}

    @property
    def share(self) -> float:
        """See `Rule.share`."""
        return self.weight

    @property
    def experiment_terms(self) -> ExperimentTerms:
        """See `Rule.experiment_terms`. What decides is settled before anything is known."""
        fixed = super().experiment_terms
        return ExperimentTerms(fixed.name, {**fixed.terms, "outcome": self.outcome.model_dump()})

    @property
    def obeys_tags(self) -> bool:
        """See `Split.obeys_tags`."""
        return False

    def position(self, context: Context) -> Position:
        """See `Rule.position`."""
        if self.unit == "request":
            return Position(None, self.share)
        return super().position(context)

    def _place(self, context: Context) -> float | None:
        return context.draw if self.unit == "request" else super()._place(context)
