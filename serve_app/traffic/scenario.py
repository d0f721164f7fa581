"""Scenarios: what the traffic of a day does, as files say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from serve_app.errors import BadConfig
from serve_app.regions import country
from serve_app.rules.parse import parsed
from serve_app.rules.rule import VersionName
from serve_app.rules.split import Region
from serve_app.yaml_file import read_mapping

MAX_REQUESTS = 1_000_000
MAX_USERS = 1_000_000
HOURS = 24
_ROUNDING = 1e-6  # by which shares may miss 1


def _sum_to_one(shares: dict[str, float]) -> dict[str, float]:
    if abs(sum(shares.values()) - 1) > _ROUNDING:
        raise ValueError(f"sums to {sum(shares.values()):g}: expected shares of a whole, 1")
    return shares


def _country_code(code: object) -> object:
    if code is False:
        raise ValueError('is false: YAML reads NO, for Norway, as that; write "NO"')
    if not isinstance(code, str) or country(code) != code:
        raise ValueError(f"is '{str(code)[:50]}': expected ISO 3166-1 alpha-2, such as AU")
    return code


Share = Annotated[float, Field(ge=0, le=1)]
Country = Annotated[str, BeforeValidator(_country_code)]
Label = Annotated[str, Field(min_length=1)]
ByVersion = dict[VersionName, Share]
Hour = Annotated[int, Field(ge=0, lt=HOURS)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Photographs(_Part):
    """What is photographed, where and when.

    Attributes:
        shares: Of each label; they sum to 1.
        regions: Countries or groups that it is about; everywhere, if it has none.
        hours: Of the day, UTC; always, if it has none.
    """

    shares: Annotated[dict[Label, Share], AfterValidator(_sum_to_one)]
    regions: Annotated[list[Region], Field(min_length=1)] | None = None
    hours: Annotated[list[Hour], Field(min_length=1)] | None = None


class Complaint(_Part):
    """The probability that a user who says something complains.

    Attributes:
        wrong, right: Of a wrong answer, and of a right one.
    """

    wrong: Share
    right: Share


class FeedbackHabits(_Part):
    """What users say of the answers.

    Attributes:
        coverage: The share of answers on which something is said.
        complaint_extra: By version, what is added to the probability of a complaint.
        tells_truth: What the image shows is said as well.
    """

    coverage: Share
    complaint: Complaint
    complaint_extra: dict[VersionName, Annotated[float, Field(ge=-1, le=1)]] = {}
    tells_truth: bool = False


class Latency(_Part):
    """A lognormal distribution.

    Attributes:
        median: Milliseconds.
        sigma: Of the logarithm; 0 is always the median.
    """

    median: Annotated[float, Field(gt=0)]
    sigma: Annotated[float, Field(ge=0, le=3)] = 0.35


class Simulated(_Part):
    """What only a simulation into a store can do: no client makes a server slow or wrong.

    Attributes:
        latency_ms: Of each version's answers.
        errors: The share of requests that a version fails to answer.
        accuracy: How often a version is right, of the labels that it knows.
    """

    latency_ms: dict[VersionName, Latency] = {}
    errors: ByVersion = {}
    accuracy: ByVersion = {}


class Scenario(_Part):
    """What the traffic of a day does.

    Attributes:
        requests: How many, spread over the 24 hours of the day.
        users: How many there are to draw from; each lives in one country.
        activity_sigma: How unequally active users are: their activity is lognormal, with this
            sigma of its logarithm. 0 is all alike; with 1, a tenth of them asks two
            fifths of the requests.
        one_pet: Each user has one animal, as far as the hour lets it: all of its images are of
            that one. Otherwise each image is drawn by itself.
        regions: The share of users that lives in each country.
        photographs: Of those that fit a request, the last counts; the first fits all.
        feedback: Nothing is said without it.
        lost: By version, the share of its users who never arrive.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    requests: Annotated[int, Field(ge=1, le=MAX_REQUESTS)]
    users: Annotated[int, Field(ge=1, le=MAX_USERS)]
    activity_sigma: Annotated[float, Field(ge=0, le=3)] = 0.0
    one_pet: bool = False
    regions: Annotated[dict[Country, Share], AfterValidator(_sum_to_one)]
    photographs: Annotated[list[Photographs], Field(min_length=1)]
    feedback: FeedbackHabits | None = None
    lost: ByVersion = {}
    simulated: Simulated = Simulated()

    @property
    def labels(self) -> tuple[str, ...]:
        """What is photographed at all, in alphabetical order."""
        return tuple(
            sorted({label for part in self.photographs for label, s in part.shares.items() if s})
        )

    def scaled(self, requests: int) -> Scenario:
        """With so many requests, and as many for each user as before."""
        users = min(max(round(self.users * requests / self.requests), 1), MAX_USERS)
        return self.model_copy(update={"requests": requests, "users": users})


def read_scenario(path: Path) -> Scenario:
    """The scenario of a YAML file.

    Raises:
        BadConfig: It cannot be read, or is no sound scenario; the path leads to the key.
    """
    return parse_scenario(read_mapping(path, "a scenario"))


def parse_scenario(content: Mapping[str, Any]) -> Scenario:
    """A scenario, as in the YAML.

    Raises:
        BadConfig: See `read_scenario`.
    """
    scenario = parsed(Scenario, content, "")
    for path, message in _unsound(scenario):
        raise BadConfig(path, message)
    return scenario


def plain(requests: int, users: int, regions: Sequence[str], labels: Sequence[str]) -> Scenario:
    """Users who are all alike and say nothing.

    Args:
        regions: Each as often as it is to count.
        labels: What the images show, one an image: all are equally likely.
    """
    return Scenario(
        name="plain",
        requests=requests,
        users=users,
        regions=_shares(regions),
        photographs=[Photographs(shares=_shares(labels))],
    )


def _shares(names: Sequence[str]) -> dict[str, float]:
    return {name: count / len(names) for name, count in Counter(names).items()}


def _unsound(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """What no single key can tell."""
    first, habits = scenario.photographs[0], scenario.feedback
    for key in ("regions", "hours"):
        if getattr(first, key) is not None:
            yield f"photographs.0.{key}", "is given: the first must fit all requests"
    if habits is None:
        return
    for version, extra in habits.complaint_extra.items():
        for answer, base in (("wrong", habits.complaint.wrong), ("right", habits.complaint.right)):
            if not 0 <= base + extra <= 1:
                yield (
                    f"feedback.complaint_extra.{version}",
                    f"is {extra:g}: with complaint.{answer} {base:g} that is no probability",
                )
