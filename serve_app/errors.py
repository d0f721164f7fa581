"""What can go wrong, and how HTTP says it.

    ServeAppError
    ├── BadHome               the home directory cannot be used
    ├── BadConfig             a rule or another part of a configuration is rejected
    ├── NotRunning            no service answers
    ├── StartBlocked              a start finds its ports or another start's processes
    ├── StartFailed           the service did not get ready
    ├── Rejected               the service rejected what a command asked
    ├── DeployFailed          what was deployed did not come into force
    └── Problem               an answer of the service: status and code
        ├── BadHeader         400  a header says something impossible
        ├── BadBody           400  not what the path takes
        ├── Unauthorized      401  no token, or a wrong one
        ├── PinRejected        403  the rule allows no pins
        ├── NoSuchVersion     404  the registry has no such version
        ├── NoSuchModel       404
        ├── ForgedPrediction  404  a prediction id that was not given out here
        ├── BodyTooSlow       408
        ├── BodyTooLarge      413
        ├── UnsupportedMedia  415
        ├── UnusableImage        422  the bytes are no image that we read
        ├── BadTensor         422  an inference request that does not fit the model
        ├── BadFeedback       422  feedback that says nothing, or two things
        ├── BadReview         422  what nobody was asked
        ├── KeyMismatch       422  an idempotency key that came with another request
        ├── RejectedConfig     422  a configuration that was sent is rejected
        ├── BadPeriod         422  no time, or no region
        ├── NoSuchRevision    404
        ├── NoSuchImage     404  an image that is not kept, or not any more
        ├── NothingToReport   404  no rule of the kind was in force
        ├── UpdateInProgress  409  the data plane is being rebuilt
        ├── AlreadyReviewed   409  somebody has said what the image shows
        ├── KeyInUse          409  what an idempotency key names has not ended
        ├── Busy              429  too many requests wait
        ├── NotReady          503  no replica can answer
        └── TooSlow           504  a pool did not answer in time

Every text says what came, what was expected and what to do. All arguments go to
`Exception.__init__`, so that the errors survive pickling between processes.
"""

from __future__ import annotations


class ServeAppError(Exception):
    """Root of the errors of this package."""


class BadHome(ServeAppError):
    """The home directory cannot be created, or others may read it."""


class BadConfig(ServeAppError, ValueError):
    """A part of a configuration is rejected; `path` leads to it, such as `rule.stable`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(path, message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return f"{self.path} {self.message}"


class NotRunning(ServeAppError):
    """No service answers."""


class StartBlocked(ServeAppError):
    """A port is taken, or what an earlier start left is still alive."""


class StartFailed(ServeAppError):
    """The service did not get ready."""


class Rejected(ServeAppError):
    """The service rejected what a command asked; `status` is HTTP's."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} (HTTP {self.status})"


class DeployFailed(ServeAppError):
    """What was deployed did not come into force; the text says what did instead."""


class Problem(ServeAppError):
    """An answer that says what is wrong; `code` is stable, for programs."""

    status = 500
    code = "internal"
    title = "Internal error"


class BadHeader(Problem):
    status, code, title = 400, "bad_header", "A header is impossible"


class BadBody(Problem):
    status, code, title = 400, "bad_body", "The body is not what this path takes"


class Unauthorized(Problem):
    status, code, title = 401, "unauthorized", "A token is needed"


class PinRejected(Problem):
    status, code, title = 403, "pin_rejected", "The rule allows no pins"


class NoSuchVersion(Problem):
    status, code, title = 404, "unknown_version", "No such version"


class NoSuchModel(Problem):
    status, code, title = 404, "unknown_model", "No such model"


class ForgedPrediction(Problem):
    status, code, title = 404, "unknown_prediction", "No such prediction"


class BodyTooSlow(Problem):
    status, code, title = 408, "body_too_slow", "The body took too long"


class BodyTooLarge(Problem):
    status, code, title = 413, "body_too_large", "The body is too large"


class UnsupportedMedia(Problem):
    status, code, title = 415, "unsupported_media", "Not a type that is read"


class UnusableImage(Problem):
    """`code` is that of the `models.errors.BadImage` behind it."""

    status, title = 422, "Not an image that is read"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class BadTensor(Problem):
    status, code, title = 422, "bad_tensor", "The request does not fit the model"


class BadFeedback(Problem):
    status, code, title = 422, "bad_feedback", "The feedback cannot be taken"


class BadReview(Problem):
    status, code, title = 422, "bad_review", "No answer to what was asked"


class BadPeriod(Problem):
    status, code, title = 422, "bad_period", "No such time or region"


class NothingToReport(Problem):
    status, code, title = 404, "nothing_to_report", "There is nothing to report"


class NoSuchRevision(Problem):
    status, code, title = 404, "unknown_revision", "No such revision"


class NoSuchImage(Problem):
    status, code, title = 404, "unknown_image", "No such image"


class AlreadyReviewed(Problem):
    status, code, title = 409, "already_reviewed", "The image was reviewed"


class UpdateInProgress(Problem):
    status, code, title = 409, "update_in_progress", "Another update is under way"


class KeyInUse(Problem):
    status, code, title = 409, "idempotency_in_progress", "The first request has not ended"


class KeyMismatch(Problem):
    status, code, title = 422, "idempotency_mismatch", "The key names another request"


class RejectedConfig(Problem):
    status, code, title = 422, "rejected_config", "The configuration is rejected"


class Busy(Problem):
    status, code, title = 429, "busy", "Too many requests wait"


class NotReady(Problem):
    status, code, title = 503, "not_ready", "No replica can answer"


class TooSlow(Problem):
    status, code, title = 504, "too_slow", "No answer in time"
