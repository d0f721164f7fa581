"""The rule `ab_test`: compares two versions by the feedback of users."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serve_app.durations import Duration
from serve_app.rules.plan import Context
from serve_app.rules.rule import ExperimentTerms
from serve_app.rules.split import Split
from serve_app.rules.validation import VersionName

MAX_EFFECT = 4.0  # between the ratings 1 and 5


class Outcome(BaseModel):
    """The outcome that the versions are compared by.

    Attributes:
        metric: The field of the feedback that is compared.
        direction: The better direction; by default `decrease` for complaints and `increase` for
            `correct` and `rating`.
        min_effect: The smallest difference that matters, above 0, at most 4: a share of units, or
            rating points; by default 0.01, and 0.1 for `rating`.
        window: How long after a prediction its feedback counts: a number and s, m, h or d.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    metric: Literal["complaint", "correct", "rating"] = "complaint"
    direction: Literal["decrease", "increase"] = "decrease"
    min_effect: Annotated[float, Field(gt=0, le=MAX_EFFECT)] = 0.01
    window: Duration = "7d"

    @model_validator(mode="before")
    @classmethod
    def _fill_metric_defaults(cls, content: Any) -> Any:
        """Add the defaults that depend on the metric."""
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
    """Splits the eligible units at random; all other requests are served by control.

    Attributes:
        control: The version of stable, and of all requests outside the test.
        treatment: The version that is compared with it.
        weight: The share of units that is served by the treatment, 0 to 1.
        unit: `request` draws each request independently; `user` and `session` are sticky.
        settle: Feedback on the predictions of this time after a unit's first assignment counts,
            once `outcome.window` is over for all of them. With the unit request it has no effect.
        outcome: The outcome that decides the test.
    """

    report: ClassVar[str] = "ab"
    arm_names: ClassVar[tuple[str, ...]] = ("control", "treatment")

    kind: Literal["ab_test"]
    control: VersionName
    treatment: VersionName
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    unit: Literal["request", "session", "user"] = "request"  # type: ignore[assignment]
    outcome: Outcome = Outcome()

    @property
    def stable(self) -> str:
        return self.control

    @property
    def candidate(self) -> str:
        return self.treatment

    @property
    def share(self) -> float:
        return self.weight

    @property
    def experiment_terms(self) -> ExperimentTerms:
        """The terms of every split, and the outcome: it is fixed before any data are seen."""
        fixed = super().experiment_terms
        terms = {**fixed.terms, "outcome": self.outcome.model_dump()}
        if self.unit == "request":
            del terms["settle"]
        return ExperimentTerms(fixed.name, terms)

    @property
    def accepts_tags(self) -> bool:
        return False

    def bucket(self, context: Context) -> float | None:
        return None if self.unit == "request" else super().bucket(context)

    def _split_value(self, context: Context) -> float | None:
        return context.draw if self.unit == "request" else super()._split_value(context)
