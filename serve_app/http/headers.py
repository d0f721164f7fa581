"""Request headers that the rule reads: user, session, region, tag and pin.

Values are UTF-8, or else Latin-1. A blank header is as good as none, and repeated equal values are
one. What cannot be used is ignored; `ignored_headers` says so.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from starlette.datastructures import Headers

from serve_app.errors import BadHeader
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.regions import country
from serve_app.rules.plan import Context

MAX_UNIT_CHARACTERS = 200
REGION_HEADERS = ("x-region", "cf-ipcountry", "cloudfront-viewer-country")
_USER, _SESSION, _TAG, _PIN = "x-user-id", "x-session-id", "x-canary", "x-model-version"
_TAGS = {"always": True, "never": False}
_MAX_QUOTED_CHARACTERS = 50


def read_context(
    headers: Headers,
    request_id: str,
    pseudonymizer: Pseudonymizer,
    *,
    trust_headers: bool,
) -> Context:
    """Read the context of a request.

    Args:
        trust_headers: Whether to read region, tag and pin; user and session are always read.

    Raises:
        BadHeader: A user or session id is too long, or there are two pins.
    """
    user = _unit(_USER, headers, pseudonymizer)
    session = _unit(_SESSION, headers, pseudonymizer)
    draw = random.random()  # noqa: S311 not a secret
    if not trust_headers:
        return Context(request_id, user, session, draw=draw)
    region, tag, pin = _region(headers), _tag(headers), _pin(headers)
    return Context(request_id, user, session, region, tag, pin, draw)


def ignored_headers(
    headers: Headers, pseudonymizer: Pseudonymizer, *, trust_headers: bool
) -> list[str]:
    """Why `read_context` ignores headers; one note per header."""
    notes = [*_ignored_units(headers, pseudonymizer)]
    if trust_headers:
        notes += [*_ignored_region(headers), *_ignored_tag(headers)]
    return notes


def _unit(name: str, headers: Headers, pseudonymizer: Pseudonymizer) -> str | None:
    values = _values(name, headers)
    for value in values:
        if len(value) > MAX_UNIT_CHARACTERS:
            raise BadHeader(
                f"{name.title()} has {len(value)} characters, expected at most"
                f" {MAX_UNIT_CHARACTERS}: send a shorter id"
            )
    if len(values) != 1 or values[0] in pseudonymizer.illegal_ids:
        return None
    return pseudonymizer.pseudonym(values[0])


def _ignored_units(headers: Headers, pseudonymizer: Pseudonymizer) -> Iterator[str]:
    for name, unit in ((_USER, "user"), (_SESSION, "session")):
        values = _values(name, headers)
        if len(values) > 1:
            yield f"{name.title()} has {_quote(values)}: the request has no {unit}; send one id"
        elif values and values[0] in pseudonymizer.illegal_ids:
            yield (
                f"{name.title()} is {_quote(values)}, a placeholder for a missing id:"
                f" the request has no {unit}"
            )


def _region(headers: Headers) -> str | None:
    _, values = _region_header(headers)
    return country(values[0]) if len(values) == 1 else None


def _ignored_region(headers: Headers) -> Iterator[str]:
    name, values = _region_header(headers)
    if values and _region(headers) is None:
        yield f"{name.title()} is {_quote(values)}, expected one country code: it is ignored"


def _region_header(headers: Headers) -> tuple[str, list[str]]:
    """The first region header that is not blank, and its values."""
    for name in REGION_HEADERS:
        if values := _values(name, headers):
            return name, values
    return "", []


def _tag(headers: Headers) -> bool | None:
    values = _tag_values(headers)
    return _TAGS.get(values[0].lower()) if len(values) == 1 else None


def _ignored_tag(headers: Headers) -> Iterator[str]:
    values = _tag_values(headers)
    if values and _tag(headers) is None:
        yield (
            f"X-Canary is {_quote(values)}, neither always nor never: it is ignored, and the rule"
            " decides as without it"
        )


def _tag_values(headers: Headers) -> list[str]:
    """The different values; proxies may join repeated headers with commas."""
    parts = (part.strip() for value in _values(_TAG, headers) for part in value.split(","))
    return list({part.lower(): part for part in parts if part}.values())


def _pin(headers: Headers) -> str | None:
    values = _values(_PIN, headers)
    if len(values) > 1:
        raise BadHeader(f"X-Model-Version has {_quote(values)}: send one version, or omit it")
    return values[0] if values else None


def _values(name: str, headers: Headers) -> list[str]:
    """The different values of a header that are not blank."""
    values = (_decode(value).strip() for value in headers.getlist(name))
    return list(dict.fromkeys(filter(None, values)))


def _decode(value: str) -> str:
    """The text of a value that was decoded as Latin-1, as ASGI applications do."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def _quote(values: list[str]) -> str:
    if len(values) > 1:
        shown = ", ".join(f"'{value[:_MAX_QUOTED_CHARACTERS]}'" for value in values[:3])
        return f"{len(values)} values ({shown})"
    return f"'{values[0][:_MAX_QUOTED_CHARACTERS]}'"
