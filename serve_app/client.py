"""The HTTP client of the commands."""

from __future__ import annotations

import contextlib
import json
import mimetypes
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from serve_app.control_plane.changes import ConfigChange, Deploy, Restore, SetRule
from serve_app.deployment.names import CONTROL_PLANE
from serve_app.errors import NotRunning, Rejected
from serve_app.files import replacing
from serve_app.home import HOME_VARIABLE

URL_VARIABLE = "SERVE_APP_URL"
DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 30.0
READ_TIMEOUT_S = 90.0  # of reports and exports; longer than the timeout of the service

_ERRNO = re.compile(r"\[Errno -?\d+\] ")
_HTTP_WORDS = (
    (re.compile(r"GET /control/(revision|review|experiment)s(?: |$)"), r"serve-app \1 list "),
    (re.compile(r"GET /control/(status|audit)\b"), r"serve-app \1"),
    (re.compile(r"GET /v1/models\b"), "serve-app models list"),
    (re.compile(r"GET /v1/rule\b"), "serve-app rule show"),
    (re.compile(r"\b(?:path|query|body|header)\.(?=\w+: )"), ""),
    (re.compile(r"\bString should\b"), "it should"),
    (re.compile(r"X-User-Id\b"), "--user"),
    (re.compile(r"X-Session-Id\b"), "--session"),
    (re.compile(r"X-Region\b"), "--region"),
    (re.compile(r"X-Canary\b"), "--canary"),
    (re.compile(r"X-Model-Version\b"), "--version"),
)


def service_url() -> str:
    """The URL of the service: SERVE_APP_URL, or `DEFAULT_URL`."""
    return (os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")


def media_type(image: Path) -> str:
    """The media type of an image by its file name; JPEG if the name has no known suffix."""
    return mimetypes.guess_type(image.name)[0] or "image/jpeg"


class JsonObject(dict[str, Any]):
    """A JSON object in a response. A missing key means that the response is of another service.

    Raises:
        NotRunning: Instead of `KeyError`.
    """

    def __missing__(self, key: str) -> Any:
        raise NotRunning(
            f"the response lacks '{key}': it is from another service, or another version of this"
            " one"
        )


def _route(change: ConfigChange) -> tuple[str, str]:
    """The method and the path of a change."""
    match change:
        case Deploy():
            return "PUT", f"/{CONTROL_PLANE}/deployment"
        case SetRule():
            return "PUT", f"/{CONTROL_PLANE}/rule"
        case Restore():
            return "POST", f"/{CONTROL_PLANE}/revisions/{change.revision}/restore"
    return "POST", f"/{CONTROL_PLANE}/updates"


def _body(change: ConfigChange) -> dict[str, Any]:
    return change.model_dump(exclude={"revision"})


class Client:
    """A client of a running service.

    Its methods raise:
        NotRunning: The service cannot be reached, or the response is not from this service.
        Rejected: The service rejected the request.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url
        try:
            self._http = httpx.Client(
                base_url=url,
                timeout=TIMEOUT_S,
                trust_env=False,  # a proxy must not get the token
                headers={"Authorization": f"Bearer {token}"} if token else {},
            )
        except httpx.InvalidURL as exc:
            raise self._not_running(exc) from exc

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def classify(self, image: bytes, media_type: str, headers: dict[str, str]) -> dict[str, Any]:
        """`POST /v1/classify`."""
        encoded = {name: value.encode() for name, value in headers.items()}
        return self._request(
            "POST",
            "/v1/classify",
            content=image,
            headers={**encoded, "Content-Type": media_type.encode()},
        )

    def rule(self) -> dict[str, Any]:
        """`GET /v1/rule`."""
        return self._request("GET", "/v1/rule")

    def models(self) -> dict[str, Any]:
        """`GET /v1/models`: the versions of the registry, and the rejected ones."""
        return self._request("GET", "/v1/models")

    def status(self) -> dict[str, Any]:
        """`GET /control/status`."""
        return self._request("GET", f"/{CONTROL_PLANE}/status")

    def apply(self, change: ConfigChange) -> dict[str, Any]:
        """Make a change; the number of the revision, the rule id and warnings."""
        method, path = _route(change)
        return self._request(method, path, json=_body(change))

    def preview(self, change: ConfigChange) -> dict[str, Any]:
        """What a change would do; see `serve_app.control_plane.preview.Preview`."""
        method, path = _route(change)
        return self._request(method, path, json=_body(change), params={"dry_run": True})

    def revisions(self, limit: int) -> list[dict[str, Any]]:
        """`GET /control/revisions`, newest first."""
        return self._list("revisions", limit)

    def revision(self, number: int) -> dict[str, Any]:
        """`GET /control/revisions/{number}`, with the document."""
        return self._request("GET", f"/{CONTROL_PLANE}/revisions/{number}")

    def experiments(self, limit: int) -> list[dict[str, Any]]:
        """`GET /control/experiments`, newest first."""
        return self._list("experiments", limit)

    def report(self, name: str, params: dict[str, str]) -> dict[str, Any]:
        """`GET /control/reports/{name}`."""
        return self._request(
            "GET", f"/{CONTROL_PLANE}/reports/{name}", params=params, timeout=READ_TIMEOUT_S
        )

    def audit(self, limit: int) -> list[dict[str, Any]]:
        """`GET /control/audit`, newest first."""
        return self._list("audit", limit)

    def export(
        self, table: str, kind: str, since: str, path: Path, progress: Callable[[int], object]
    ) -> None:
        """`GET /control/export/{table}`, written to a file.

        Args:
            progress: Called with the number of bytes so far.

        Raises:
            OSError: The file cannot be written.
        """
        url_path = f"/{CONTROL_PLANE}/export/{table}"
        params = {"kind": kind, "since": since}
        with (
            self._connection_errors(url_path),
            self._http.stream("GET", url_path, params=params, timeout=READ_TIMEOUT_S) as response,
        ):
            if response.is_error:
                response.read()
                self._parse(response)
            with _errors_of(path), replacing(path) as draft, draft.open("wb") as file:
                for chunk in response.iter_bytes():
                    progress(file.tell() + file.write(chunk))

    def list_images(self, limit: int, reviewed: bool) -> dict[str, Any]:
        """`GET /control/reviews`: the kept images without a review, or with one."""
        return self._request(
            "GET",
            f"/{CONTROL_PLANE}/reviews",
            params={"limit": limit, "reviewed": reviewed},
        )

    def add_review(self, image_id: str, answer: str, actor: str, reason: str) -> dict[str, Any]:
        """`POST /control/reviews/{id}`; the image with its predictions."""
        path = f"/{CONTROL_PLANE}/reviews/{image_id}"
        body = {"answer": answer, "actor": actor, "reason": reason}
        return self._request("POST", path, json=body)

    def kept_image(self, image_id: str) -> dict[str, Any]:
        """`GET /control/reviews/{id}`; with its predictions only after its review."""
        return self._request("GET", f"/{CONTROL_PLANE}/reviews/{image_id}")

    def save_image(self, image_id: str, path: Path) -> None:
        """`GET /control/reviews/{id}/image`, written to a file.

        Raises:
            OSError: The file cannot be written.
        """
        url_path = f"/{CONTROL_PLANE}/reviews/{image_id}/image"
        with self._connection_errors(url_path):
            response = self._http.get(url_path)
        if response.is_error:
            self._parse(response)
        with _errors_of(path), replacing(path) as draft:
            draft.write_bytes(response.content)

    def explain(self, headers: dict[str, str]) -> dict[str, Any]:
        """`GET /v1/explain` for a request with these headers."""
        encoded = {name: value.encode() for name, value in headers.items()}
        return self._request("GET", "/v1/explain", headers=encoded)

    def _list(self, name: str, limit: int) -> list[dict[str, Any]]:
        """The newest items of a list of the control plane."""
        content = self._request(
            "GET",
            f"/{CONTROL_PLANE}/{name}",
            params={"limit": limit},
            timeout=READ_TIMEOUT_S,
        )
        return list(content[name])

    def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        with self._connection_errors(path):
            response = self._http.request(method, path, **options)
        return self._parse(response)

    def _parse(self, response: httpx.Response) -> dict[str, Any]:
        try:
            content = json.loads(response.content, object_hook=JsonObject)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise NotRunning(
                f"{response.url} responded {response.status_code} without a JSON object"
                f" ({response.text[:100].strip()!r}): the application is not running (yet)"
            )
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise Rejected(
                response.status_code,
                f"{self._url} does not accept the token of this home directory: set"
                f" {HOME_VARIABLE} to that of the service",
            )
        if response.is_error:
            raise Rejected(response.status_code, in_words(str(content.get("detail", content))))
        return content

    @contextlib.contextmanager
    def _connection_errors(self, path: str) -> Iterator[None]:
        """Raise connection errors and timeouts as `NotRunning`."""
        try:
            yield
        except httpx.TimeoutException as exc:
            raise NotRunning(f"{self._url}{path} timed out: try again") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._not_running(exc) from exc

    def _not_running(self, exc: Exception) -> NotRunning:
        return NotRunning(
            f"no service is reachable at {self._url} ({_ERRNO.sub('', str(exc))}): start one with"
            f" serve-app up, or set {URL_VARIABLE}"
        )


def in_words(detail: str) -> str:
    """The detail of a problem without the words of HTTP: the user typed a command."""
    for pattern, text in _HTTP_WORDS:
        detail = pattern.sub(text, detail)
    return detail


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Name a file in its errors, instead of the draft of `replacing`."""
    try:
        yield
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path)) from exc
