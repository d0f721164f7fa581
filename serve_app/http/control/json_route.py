"""Routes whose JSON bodies must mean the same to every reader."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from models.strict_json import parse_json
from models.validation import InvalidDocument


class StrictJsonRoute(APIRoute):
    """Rejects a body that sets a key twice, or that `models.strict_json` rejects otherwise."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def check_body(request: Request) -> Response:
            body = await request.body()
            if body and "json" in request.headers.get("content-type", "").lower():
                try:
                    parse_json(body)
                except InvalidDocument as exc:
                    raise _validation_error(exc) from exc
            return await handle(request)

        return check_body


def _validation_error(exc: InvalidDocument) -> RequestValidationError:
    return RequestValidationError(
        [
            {
                "type": "value_error",
                "loc": ("body", *([finding.path] if finding.path else [])),
                "msg": finding.message,
            }
            for finding in exc.findings
        ]
    )
