"""The errors of this package.

A `Problem` becomes an HTTP response with a status and a code. The other errors are local: a command
prints them and exits.

Messages state what was received, what was expected and what to do. All arguments go to
`Exception.__init__`, so that the errors survive pickling between processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Self

from models.validation import Finding, join_findings


class ServeAppError(Exception):
    """Base class of the errors of this package."""


class BadHome(ServeAppError):
    """The home directory cannot be created, or other users can read it."""


class BadConfig(ServeAppError, ValueError):
    """A configuration is rejected.

    Attributes:
        path: The first part at fault, such as `rule.stable`.
        message: What is wrong with it; then, after a semicolon, the other parts at fault.
        findings: All of them.
    """

    def __init__(self, path: str, message: str, more: tuple[Finding, ...] = ()) -> None:
        super().__init__(path, message, more)
        self.path = path
        self.findings = (Finding(path, message), *more)
        self.message = join_findings(self.findings).removeprefix(path).lstrip()

    def __str__(self) -> str:
        return f"{self.path} {self.message}"

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Self:
        """The error of at least one finding."""
        return cls(findings[0].path, findings[0].message, tuple(findings[1:]))


class NotRunning(ServeAppError):
    """The service cannot be reached."""


class StartBlocked(ServeAppError):
    """A port is in use, processes of an earlier start are still running, or the revision that was
    in force cannot be read or started."""


class StartFailed(ServeAppError):
    """The service did not become ready."""


class Rejected(ServeAppError):
    """The service rejected a command's request; `status` is the HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} (HTTP {self.status})"


class DeployFailed(ServeAppError):
    """A deployed configuration did not come into force; the message says what is in force."""


# The base class of the HTTP errors; `code` is stable.
class Problem(ServeAppError):
    """The service failed unexpectedly.

    Fix: Repeat the request. If it fails again, report it with the log line that has the
    `X-Request-Id` of the response.
    """

    status = 500
    code = "internal"
    title = "Internal error"
    headers: Mapping[str, str] = MappingProxyType({})  # of the response


class BadHeader(Problem):
    """A request header has an invalid value.

    Fix: Correct the header that the detail names.
    """

    status, code, title = 400, "bad_header", "Invalid header"


class BadBody(Problem):
    """The request body does not have the format of the path.

    Fix: Send the format that the detail names.
    """

    status, code, title = 400, "bad_body", "Invalid body"


class Unauthorized(Problem):
    """The token is missing or wrong.

    Fix: Send `Authorization: Bearer TOKEN` with the token of the home directory, or sign in.
    """

    status, code, title = 401, "unauthorized", "A token is required"
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})


class Forbidden(Problem):
    """The credential does not open this path.

    Fix: Send the token of the home directory. A session of the console deploys no files, and a
    reviewer's token opens reviews alone.
    """

    status, code, title = 403, "forbidden", "The credential is not sufficient"


class PinRejected(Problem):
    """The rule does not allow pins.

    Fix: Remove `X-Model-Version`, or set `allow_pin: true` in the rule.
    """

    status, code, title = 403, "pin_rejected", "The rule does not allow pins"


class NoSuchVersion(Problem):
    """The registry does not have the version.

    Fix: Name a version of `GET /v1/models`.
    """

    status, code, title = 404, "unknown_version", "No such version"


class NoSuchModel(Problem):
    """The service does not have the model.

    Fix: Use the model `animals`.
    """

    status, code, title = 404, "unknown_model", "No such model"


class InvalidPredictionId(Problem):
    """The prediction id was not created by this service.

    Fix: Send the `prediction_id` of a response, unchanged; a new `hash.key` makes all earlier ids
    unknown.
    """

    status, code, title = 404, "unknown_prediction", "No such prediction"


class BodyTooSlow(Problem):
    """The request body did not arrive in time.

    Fix: Send the whole body within 30 s, and at least 1 KiB/s in each 10 s of them.
    """

    status, code, title = 408, "body_too_slow", "The body took too long"


class BodyTooLarge(Problem):
    """The request body exceeds the limit of the path.

    Fix: Send a smaller body: at most 10 MiB for images, 16 KiB for feedback, 1 MiB for `/control`.
    """

    status, code, title = 413, "body_too_large", "The body is too large"


class UnsupportedMedia(Problem):
    """The media type or the compression of the request body is not supported.

    Fix: Set `Content-Type` to a type that `Accept` of the response lists, and `Content-Encoding` to
    one that `Accept-Encoding` lists.
    """

    status, code, title = 415, "unsupported_media", "Unsupported media type"

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, headers)
        self.headers = headers or {}

    def __str__(self) -> str:
        return str(self.args[0])


class UnusableImage(Problem):
    """An image cannot be read; `code` is that of the underlying `models.errors.BadImage`."""

    status, title = 422, "Unusable image"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class BadTensor(Problem):
    """An inference request does not match the model's inputs.

    Fix: Send one of the inputs of `GET /v2/models/animals`, with at most 64 images.
    """

    status, code, title = 422, "bad_tensor", "The request does not match the model"


class BadFeedback(Problem):
    """Feedback is empty, contradictory, malformed or too late.

    Fix: Send at least one of `label`, `correct`, `rating` and `complaint`, without contradiction,
    at most 30 days after the prediction.
    """

    status, code, title = 422, "bad_feedback", "Invalid feedback"


class BadReview(Problem):
    """A review is not one of the possible answers.

    Fix: Send one of the answers that the image lists.
    """

    status, code, title = 422, "bad_review", "Invalid review"


class BadPeriod(Problem):
    """A report's period or region is invalid.

    Fix: Send `since` and `until` as an age such as `24h`, or as a past time in ISO 8601, `until`
    after `since`; send `region` as a country or a group of countries.
    """

    status, code, title = 422, "bad_period", "Invalid period or region"


class NothingToReport(Problem):
    """No rule of the report's kind, or not that experiment, was in force in the period.

    Fix: Leave `since` out, or name an experiment of `serve-app experiment list`.
    """

    status, code, title = 404, "nothing_to_report", "Nothing to report"


class NoSuchRevision(Problem):
    """The revision does not exist.

    Fix: Name a revision of `serve-app revision list`.
    """

    status, code, title = 404, "unknown_revision", "No such revision"


class NoSuchImage(Problem):
    """The image was never kept, has been deleted, or was encrypted with another `image.key`.

    Fix: Read the list of images again.
    """

    status, code, title = 404, "unknown_image", "No such image"


class AlreadyReviewed(Problem):
    """The image has a review.

    Fix: Nothing: the first review stays.
    """

    status, code, title = 409, "already_reviewed", "The image has been reviewed"


class UpdateInProgress(Problem):
    """The data plane is being recreated.

    Fix: Wait until `serve-app status` says that the recreation is done.
    """

    status, code, title = 409, "update_in_progress", "Another update is in progress"


class Superseded(Problem):
    """Another revision was deployed since the one that the change was compared with.

    Fix: Look at the new revision, then repeat the change.
    """

    status, code, title = 409, "superseded", "Another revision was deployed"


class RejectedConfig(Problem):
    """A configuration that a client sent is rejected.

    Fix: Correct the key that the detail names; the running configuration stays in force.
    """

    status, code, title = 422, "rejected_config", "The configuration is rejected"


class Busy(Problem):
    """Too many requests, or too many reads of the store, are in progress or queued.

    Fix: Repeat the request after `Retry-After` seconds; raise `max_replicas` if it persists.
    """

    status, code, title = 429, "busy", "Too many requests"
    headers = MappingProxyType({"Retry-After": "1"})


class NotReady(Problem):
    """A replica, a version, the Controller or the store is not available.

    Fix: Repeat the request; the detail and `serve-app status` say what is missing.
    """

    status, code, title = 503, "not_ready", "Not ready"


class TooSlow(Problem):
    """A pool, the Controller or the store did not respond in time.

    Fix: Repeat the request. If a pool is slow, raise `max_replicas`; if a report is slow, send a
    later `since`.
    """

    status, code, title = 504, "too_slow", "Timeout"
