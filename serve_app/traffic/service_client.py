"""The routes of the service that users call, over aiohttp."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from serve_app.client import JsonObject
from serve_app.errors import NotRunning, Rejected
from serve_app.traffic.images import TrafficImage

UNAVAILABLE_STATUSES = (0, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response of the service.

    Attributes:
        status: The HTTP status; 0 if no response came.
        body: The JSON object; a text or an error is under the key `detail`.
        retry_after_s: Of the header `Retry-After`; None without one.
    """

    status: int
    body: dict[str, Any]
    retry_after_s: float | None = None

    @property
    def is_unavailable(self) -> bool:
        """Whether the service is unavailable: no response, or one that says so. Serve's proxy
        responds 404 while it has no application; the service's own 404 has a code."""
        return self.status in UNAVAILABLE_STATUSES or (
            self.status == 404 and "code" not in self.body
        )


class ServiceClient:
    """Calls a service."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def classify(self, image: TrafficImage, headers: dict[str, str]) -> HttpResponse:
        """`POST /v1/classify`."""
        return await self._request(
            "POST",
            "/v1/classify",
            data=image.data,
            headers=headers | {"Content-Type": image.media_type},
        )

    async def send_feedback(self, prediction_id: str, feedback: Mapping[str, Any]) -> HttpResponse:
        """`POST /v1/feedback`."""
        body = {"prediction_id": prediction_id, **feedback}
        return await self._request("POST", "/v1/feedback", json=body)

    async def rule(self) -> dict[str, Any]:
        """The rule of `GET /v1/rule`.

        Raises:
            NotRunning, Rejected: As `assigned_version`.
        """
        rule: dict[str, Any] = (await self._get("/v1/rule"))["rule"]
        return rule

    async def assigned_version(self, headers: dict[str, str]) -> str:
        """The version of `GET /v1/explain`.

        Raises:
            NotRunning: There is no response.
            Rejected: The response is an error.
        """
        version: str = (await self._get("/v1/explain", headers))["version"]
        return version

    async def _get(self, path: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        response = await self._request("GET", path, headers=headers)
        if response.status == 200:
            return response.body
        detail = str(response.body.get("detail", ""))
        if response.status:
            raise Rejected(response.status, detail)
        raise NotRunning(f"{self._url}{path} did not respond ({detail}): try again")

    async def _request(self, method: str, path: str, **options: Any) -> HttpResponse:
        try:
            async with self._http.request(method, f"{self._url}{path}", **options) as response:
                return HttpResponse(
                    response.status,
                    _parse_body(await response.text(errors="replace")),
                    _parse_seconds(response.headers.get("Retry-After")),
                )
        except (aiohttp.ClientError, TimeoutError) as exc:
            return HttpResponse(0, {"detail": f"{type(exc).__name__} {exc}".strip()})


def _parse_body(text: str) -> dict[str, Any]:
    """The JSON object of a response; any other text goes under the key `detail`."""
    try:
        content = json.loads(text)
    except ValueError:  # such as an error page of the proxy
        content = None
    return JsonObject(content if isinstance(content, dict) else {"detail": text[:100]})


def _parse_seconds(retry_after: str | None) -> float | None:
    """The seconds of `Retry-After`; None if it is a date or malformed."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
