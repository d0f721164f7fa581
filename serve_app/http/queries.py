"""Query parameters: a key that no route reads is an error, not a silent default."""

from __future__ import annotations

from fastapi import Request
from fastapi.exceptions import RequestValidationError


async def reject_unknown_keys(request: Request) -> None:
    """A dependency of GET routes, which would ignore a misspelt filter.

    Raises:
        RequestValidationError: The query has a key that the route does not read.
    """
    if request.method != "GET":  # the models of other queries forbid extra keys
        return
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    expected = f"the keys are {', '.join(known)}" if known else "the path takes none"
    unknown = [key for key in request.query_params if key not in known]
    if unknown:
        message = f"is not a key of the query: {expected}"
        raise RequestValidationError(
            [{"type": "extra_forbidden", "loc": ("query", key), "msg": message} for key in unknown]
        )
