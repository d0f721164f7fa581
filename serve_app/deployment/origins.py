"""The origins of web pages that may call the data plane (`cors_origins`)."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

ANY_ORIGIN = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


def check_origin(text: str) -> str:
    """Check one entry of `cors_origins`.

    Raises:
        ValueError: It is neither `*` nor an origin as browsers send it (RFC 6454, section 6.2).
    """
    if text == ANY_ORIGIN:
        return text
    origin = _as_browsers_send_it(text)
    if origin is None:
        raise ValueError(
            f"'{text}' is not an origin: write scheme and host such as https://app.example.org, one"
            " entry per host, or '*' for all"
        )
    if text != origin:
        raise ValueError(f"'{text}' is not how browsers send it: write {origin}")
    return text


Origin = Annotated[str, AfterValidator(check_origin)]


def _as_browsers_send_it(text: str) -> str | None:
    """Scheme, host and port in lower case, without the scheme's own port; None if the text has no
    scheme or no valid host."""
    try:
        url = urlsplit(text.strip())
        port = url.port
        host = (url.hostname or "").encode("idna").decode("ascii")
    except ValueError:
        return None
    host = f"[{host}]" if ":" in host else host
    if not url.scheme or not _HOST.fullmatch(host):
        return None
    is_default = port is None or port == _DEFAULT_PORTS.get(url.scheme)
    return f"{url.scheme}://{host}" if is_default else f"{url.scheme}://{host}:{port}"
