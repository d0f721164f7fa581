"""The changes of a service, as values; `compose` says which configuration each one asks for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from serve_app.deployment.apply_rule import data_plane, single_rule, with_rule
from serve_app.deployment.programs import check_programs
from serve_app.deployment.summary import summarize
from serve_app.errors import BadConfig
from serve_app.json_numbers import with_whole_numbers
from serve_app.printable import unprintable
from serve_app.rules.parse import parse_rule


def _require_one_line(text: str) -> str:
    """PostgreSQL stores no NUL, and the audit list shows one change per line."""
    if fault := unprintable(text):
        raise ValueError(f"{fault}: expected one line of text")
    return text


TextLine = Annotated[str, AfterValidator(_require_one_line)]


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of a change.

    Attributes:
        number: Of the revision, or of the review.
        rule_id: Of the rule of the revision; None for a review.
        warnings: Of the rule.
    """

    number: int
    rule_id: str | None = None
    warnings: tuple[str, ...] = ()


class Change(BaseModel):
    """A change: who makes it, and why; one line of text each."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    actor: TextLine = Field(min_length=1, max_length=200)
    reason: TextLine = Field(max_length=1000)

    _read_numbers = model_validator(mode="before")(with_whole_numbers)


class ConfigChange(Change):
    """A change of the configuration.

    Attributes:
        kind: The kind of the revision that it makes; the action in the audit log.
    """

    kind: ClassVar[str]

    base_revision: int | None = Field(
        None,
        description="The revision that the caller has seen: the change is rejected if another one"
        " was deployed meanwhile.",
    )


class Deploy(ConfigChange):
    """Deploys the content of a deployment file."""

    kind: ClassVar[str] = "deploy"

    document: dict[str, Any]


class SetRule(ConfigChange):
    """Puts a rule in force; the same keys as in the YAML."""

    kind: ClassVar[str] = "rule"

    rule: dict[str, Any]
    change_stable: bool = Field(
        False, description="Accept a rule whose stable version is not the one in force."
    )


class Update(ConfigChange):
    """Replaces the version for all users; `runtime_env` needs the method `recreate`."""

    version: str = Field(pattern="^v[0-9]+$")
    method: Literal["rolling", "recreate"]
    runtime_env: dict[str, Any] | None = None

    @property
    def kind(self) -> str:  # type: ignore[override]
        return "recreate" if self.method == "recreate" else "update"

    @model_validator(mode="after")
    def _require_recreate_for_runtime_env(self) -> Update:
        if self.runtime_env is not None and self.method == "rolling":
            raise ValueError("runtime_env needs new processes: use the method recreate")
        return self


class RestoreRequest(ConfigChange):
    """Deploys an earlier revision again, as a new one."""


class Restore(RestoreRequest):
    """The same, with the number of the revision."""

    kind: ClassVar[str] = "restore"

    revision: int = Field(ge=1, le=2**31 - 1)


class ReviewRequest(Change):
    """What an image shows; the reason is optional."""

    reason: TextLine = Field("", max_length=1000)
    answer: TextLine = Field(
        min_length=1,
        max_length=200,
        description="A label of one of the versions, `other`, or `cannot_tell`.",
    )


class Review(ReviewRequest):
    """The same, with the image."""

    image_id: str


def compose(
    change: ConfigChange,
    current: dict[str, Any],
    restored: dict[str, Any] | None,
    known: Collection[str],
) -> dict[str, Any]:
    """The deployment file that a change asks for; it is not checked yet.

    Args:
        current: The present deployment file.
        restored: The document of the revision that is to be restored.
        known: The versions in the registry.

    Raises:
        BadConfig: The rule is rejected, the present file has no data plane, the rule would change
            the stable version and `change_stable` is not set, or the file would start another
            program.
    """
    match change:
        case Deploy():
            check_programs(change.document, current)
            return change.document
        case SetRule():
            rule = parse_rule(change.rule, known)
            present = summarize(current).stable
            if not change.change_stable and present and rule.stable != present:
                raise BadConfig(
                    f"rule.{rule.arm_names[0]}",
                    f"is {rule.stable}, but {present} is in force: all users would change version."
                    f" Write {present}, use an update, or allow it with --change-stable"
                    " (change_stable in JSON)",
                )
            return with_rule(current, change.rule, rule)
        case Update():
            content = single_rule(current, change.version)
            changed = with_rule(current, content, parse_rule(content, known))
            if change.runtime_env is not None:
                data_plane(changed)["runtime_env"] = change.runtime_env
            return changed
    assert restored is not None  # noqa: S101 only a Restore is left
    return restored
