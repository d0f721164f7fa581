"""Scenarios: YAML files that describe one day of generated traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from models.card import Faults
from serve_app.errors import BadConfig
from serve_app.regions import country, describe_unknown_country
from serve_app.rules.parse import read_rule
from serve_app.rules.split import Region
from serve_app.rules.validation import VersionName, validate
from serve_app.yaml_file import read_mapping

MAX_REQUESTS = 1_000_000
MAX_USERS = 1_000_000
HOURS = 24
COVERAGE = 0.3  # of predictions with feedback, in plain traffic
_SUM_TOLERANCE = 1e-6  # of shares, which sum to 1


def _check_sum(shares: dict[str, float]) -> dict[str, float]:
    if abs(sum(shares.values()) - 1) > _SUM_TOLERANCE:
        raise ValueError(f"sums to {sum(shares.values()):g}: expected shares that sum to 1")
    return shares


def _check_country(code: object) -> object:
    if not isinstance(code, str) or country(code) != code:
        raise ValueError(describe_unknown_country(code))
    return code


Share = Annotated[float, Field(ge=0, le=1)]
Country = Annotated[str, BeforeValidator(_check_country)]
Label = Annotated[str, Field(min_length=1)]
ByVersion = dict[VersionName, Share]
Hour = Annotated[int, Field(ge=0, lt=HOURS)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Photographs(_Part):
    """The labels of the images that users send from some regions at some hours.

    Attributes:
        shares: The share of each label; they sum to 1.
        regions: Country codes or group names; None is all.
        hours: Hours of the day, UTC; None is all.
    """

    shares: Annotated[dict[Label, Share], AfterValidator(_check_sum)]
    regions: Annotated[list[Region], Field(min_length=1)] | None = None
    hours: Annotated[list[Hour], Field(min_length=1)] | None = None


class Complaint(_Part):
    """The probability that feedback is a complaint.

    Attributes:
        wrong: For a wrong prediction.
        right: For a right prediction.
    """

    wrong: Share
    right: Share


class FeedbackHabits(_Part):
    """The feedback that users send.

    Attributes:
        coverage: The share of predictions with feedback.
        complaint_extra: Added to the probability of a complaint, by version.
        tells_truth: Whether feedback carries the true label.
    """

    coverage: Share
    complaint: Complaint
    complaint_extra: dict[VersionName, Annotated[float, Field(ge=-1, le=1)]] = {}
    tells_truth: bool = False


class TestVersion(Faults):
    """A copy of a version with faults.

    Attributes:
        of: The version.
    """

    __test__ = False  # no test class of pytest

    of: VersionName

    @property
    def faults(self) -> Faults:
        """The faults alone."""
        return Faults(**self.model_dump(exclude={"of"}))


class Scenario(_Part):
    """One day of traffic.

    Attributes:
        about: What happens and what the report finds, in one sentence.
        rule: The rule that it is made for, as in a deployment file.
        test_versions: The versions of the rule that are copies with faults, by name.
        requests: The number of requests of the day.
        users: The number of users to draw from; each lives in one country.
        activity_sigma: The sigma of the logarithm of the users' lognormal activity. With 0 all
            users are equally active; with 1 a tenth of them sends two fifths of the requests.
        one_pet: Whether all images of a user have the same label, as far as the shares of the
            hour allow. Otherwise the label of each image is drawn independently.
        regions: The share of the users in each country.
        photographs: The last entry that matches a request applies; the first matches all.
        feedback: None is no feedback.
        lost: The share of the assigned users who never send a request, by version.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    requests: Annotated[int, Field(ge=1, le=MAX_REQUESTS)]
    users: Annotated[int, Field(ge=1, le=MAX_USERS)]
    activity_sigma: Annotated[float, Field(ge=0, le=3)] = 0.0
    one_pet: bool = False
    regions: Annotated[dict[Country, Share], AfterValidator(_check_sum)]
    photographs: Annotated[list[Photographs], Field(min_length=1)]
    feedback: FeedbackHabits | None = None
    lost: ByVersion = {}
    about: str = ""
    rule: dict[str, Any] | None = None
    test_versions: dict[VersionName, TestVersion] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels with a share above 0, in alphabetical order."""
        return tuple(
            sorted({label for part in self.photographs for label, s in part.shares.items() if s})
        )

    def scale(self, requests: int) -> Scenario:
        """The scenario with another number of requests, and as many per user as before."""
        users = min(max(round(self.users * requests / self.requests), 1), MAX_USERS)
        return self.model_copy(update={"requests": requests, "users": users})


def read_scenario(path: Path) -> Scenario:
    """Read a scenario from a YAML file.

    Raises:
        BadConfig: The file cannot be read or is not a valid scenario; `path` is the key.
    """
    return parse_scenario(read_mapping(path, "a scenario"))


def parse_scenario(content: Mapping[str, Any]) -> Scenario:
    """Parse the content of a scenario file.

    Raises:
        BadConfig: The scenario is not valid; `path` is the key.
    """
    scenario = validate(Scenario, content, "")
    if scenario.rule is not None:
        read_rule(scenario.rule)
    for path, message in _find_conflicts(scenario):
        raise BadConfig(path, message)
    return scenario


def uniform_scenario(
    requests: int,
    users: int,
    regions: Sequence[str],
    labels: Sequence[str],
    feedback: FeedbackHabits | None,
) -> Scenario:
    """A scenario in which all users are equally active.

    Args:
        regions: Country codes; the share of a country is its share of this list.
        labels: The label of each image; the share of a label is its share of this list.
    """
    return Scenario(
        name="plain",
        requests=requests,
        users=users,
        regions=_count_shares(regions),
        photographs=[Photographs(shares=_count_shares(labels))],
        feedback=feedback,
    )


def plain_habits(
    coverage: float = COVERAGE, complaint_extra: Mapping[str, float] | None = None
) -> FeedbackHabits | None:
    """The feedback in plain traffic: users complain of wrong predictions, seldom of right ones, and
    say what the image shows; None without feedback.

    Raises:
        BadConfig: A version or a probability is not one.
    """
    if not coverage:
        return None
    content = {
        "coverage": coverage,
        "complaint": {"wrong": 0.4, "right": 0.02},
        "complaint_extra": dict(complaint_extra or {}),
        "tells_truth": True,
    }
    habits = validate(FeedbackHabits, content, "")
    for path, message in _find_extra_conflicts(habits):
        raise BadConfig(path, message)
    return habits


def _count_shares(names: Sequence[str]) -> dict[str, float]:
    return {name: count / len(names) for name, count in Counter(names).items()}


def _find_conflicts(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Errors that involve several keys: the path of a key and a message."""
    first, habits = scenario.photographs[0], scenario.feedback
    for key in ("regions", "hours"):
        if getattr(first, key) is not None:
            yield f"photographs.0.{key}", "is set: the first entry must match all requests"
    if habits is None:
        return
    for path, message in _find_extra_conflicts(habits):
        yield f"feedback.{path}", message


def _find_extra_conflicts(habits: FeedbackHabits) -> Iterator[tuple[str, str]]:
    for version, extra in habits.complaint_extra.items():
        for outcome, base in (("wrong", habits.complaint.wrong), ("right", habits.complaint.right)):
            if not 0 <= base + extra <= 1:
                yield (
                    f"complaint_extra.{version}",
                    f"is {extra:g}: with complaint.{outcome} {base:g} the sum is no probability",
                )
