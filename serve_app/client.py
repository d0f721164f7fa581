"""The service, as its commands reach it: over HTTP, like anybody else."""

from __future__ import annotations

import contextlib
import mimetypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from serve_app.domain import CONTROL_PLANE
from serve_app.errors import NotRunning, Rejected

URL_VARIABLE = "SERVE_APP_URL"
DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 30.0
READ_TIMEOUT_S = 90.0  # of reports and exports; the service gives up before


def service_url() -> str:
    """Where the service is: SERVE_APP_URL, by default on this machine."""
    return (os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")


def media_type(image: Path) -> str:
    """The media type of an image, by its name; JPEG when the name does not tell."""
    return mimetypes.guess_type(image.name)[0] or "image/jpeg"


class Content(dict[str, Any]):
    """A JSON object that was answered. A key that is missing says who answered."""

    def __missing__(self, key: str) -> Any:
        raise NotRunning(
            f"what answers does not tell '{key}': it is not this service, or another version of it"
        )


class Client:
    """Asks a running service."""

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url
        try:
            self._http = httpx.Client(
                base_url=url,
                timeout=TIMEOUT_S,
                trust_env=False,  # the token goes to no proxy
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
        return self._ask(
            "POST",
            "/v1/classify",
            content=image,
            headers={**encoded, "Content-Type": media_type.encode()},
        )

    def rule(self) -> dict[str, Any]:
        """`GET /v1/rule`."""
        return self._ask("GET", "/v1/rule")

    def models(self) -> dict[str, Any]:
        """`GET /v1/models`: the versions of the registry, and those that it rejects."""
        return self._ask("GET", "/v1/models")

    def status(self) -> dict[str, Any]:
        """`GET /control/status`."""
        return self._ask("GET", f"/{CONTROL_PLANE}/status")

    def deployed(self) -> dict[str, Any]:
        """`GET /control/deployment`."""
        return self._ask("GET", f"/{CONTROL_PLANE}/deployment")

    def deploy(self, document: dict[str, Any], actor: str, reason: str) -> int:
        """`PUT /control/deployment`; the revision's number."""
        body = {"document": document, "actor": actor, "reason": reason}
        revision: int = self._ask("PUT", f"/{CONTROL_PLANE}/deployment", json=body)["revision"]
        return revision

    def set_rule(self, rule: dict[str, Any], actor: str, reason: str) -> dict[str, Any]:
        """`PUT /control/rule`; the revision, the rule's id, and warnings."""
        body = {"rule": rule, "actor": actor, "reason": reason}
        return self._ask("PUT", f"/{CONTROL_PLANE}/rule", json=body)

    def update(
        self,
        version: str,
        method: str,
        runtime_env: dict[str, Any] | None,
        actor: str,
        reason: str,
    ) -> int:
        """`POST /control/updates`; the revision's number."""
        body = {
            "version": version,
            "method": method,
            "runtime_env": runtime_env,
            "actor": actor,
            "reason": reason,
        }
        revision: int = self._ask("POST", f"/{CONTROL_PLANE}/updates", json=body)["revision"]
        return revision

    def revisions(self, limit: int) -> list[dict[str, Any]]:
        """`GET /control/revisions`, the newest first."""
        answer = self._ask("GET", f"/{CONTROL_PLANE}/revisions", params={"limit": limit})
        return list(answer["revisions"])

    def restore(self, number: int, actor: str, reason: str) -> int:
        """`POST /control/revisions/{number}/restore`; the new revision's number."""
        body = {"actor": actor, "reason": reason}
        path = f"/{CONTROL_PLANE}/revisions/{number}/restore"
        revision: int = self._ask("POST", path, json=body)["revision"]
        return revision

    def report(self, name: str, question: dict[str, str]) -> dict[str, Any]:
        """`GET /control/reports/{name}`."""
        return self._ask(
            "GET", f"/{CONTROL_PLANE}/reports/{name}", params=question, timeout=READ_TIMEOUT_S
        )

    def audit(self, limit: int) -> list[dict[str, Any]]:
        """`GET /control/audit`, the newest first."""
        answer = self._ask("GET", f"/{CONTROL_PLANE}/audit", params={"limit": limit})
        return list(answer["audit"])

    def export(self, table: str, kind: str, since: str, path: Path) -> None:
        """`GET /control/export/{table}`, into a file.

        Raises:
            OSError: It cannot be written.
        """
        place = f"/{CONTROL_PLANE}/export/{table}"
        question = {"kind": kind, "since": since}
        with (
            self._reached(place),
            self._http.stream("GET", place, params=question, timeout=READ_TIMEOUT_S) as answer,
        ):
            if answer.is_error:
                answer.read()
                self._content(answer)
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                with open(
                    os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
                ) as file:
                    for part in answer.iter_bytes():
                        file.write(part)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)

    def disagreements(self, limit: int, reviewed: bool) -> dict[str, Any]:
        """`GET /control/disagreements`: images that wait for a review, or have one."""
        return self._ask(
            "GET",
            f"/{CONTROL_PLANE}/disagreements",
            params={"limit": limit, "reviewed": reviewed},
        )

    def review(self, image_id: str, answer: str, actor: str, reason: str) -> dict[str, Any]:
        """`POST /control/disagreements/{id}/review`; what the versions had said of it."""
        path = f"/{CONTROL_PLANE}/disagreements/{image_id}/review"
        body = {"answer": answer, "actor": actor, "reason": reason}
        return self._ask("POST", path, json=body)

    def explain(self, headers: dict[str, str]) -> dict[str, Any]:
        """`GET /v1/explain` for a request with these headers."""
        encoded = {name: value.encode() for name, value in headers.items()}
        return self._ask("GET", "/v1/explain", headers=encoded)

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """
        Raises:
            NotRunning: Nothing answers, or what answers is not this service.
            Rejected: The service says what is wrong.
        """
        with self._reached(path):
            answer = self._http.request(method, path, **options)
        return self._content(answer)

    def _content(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise NotRunning(
                f"{answer.url} answered {answer.status_code} and no JSON object"
                f" ({answer.text[:100].strip()!r}): the application is not there (yet)"
            )
        if answer.is_error:
            raise Rejected(answer.status_code, str(content.get("detail", content)))
        return Content(content)

    @contextlib.contextmanager
    def _reached(self, path: str) -> Iterator[None]:
        """
        Raises:
            NotRunning: Nothing answers, or not in time.
        """
        try:
            yield
        except httpx.TimeoutException as exc:
            raise NotRunning(f"{self._url}{path} did not answer in time: try again") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._not_running(exc) from exc

    def _not_running(self, exc: Exception) -> NotRunning:
        return NotRunning(
            f"no service answers at {self._url} ({exc}): start one with serve-app up,"
            f" or set {URL_VARIABLE}"
        )
