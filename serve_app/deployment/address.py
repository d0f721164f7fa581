"""The address of the service on its own machine."""

from __future__ import annotations


def local_url(host: str, port: int) -> str:
    """The URL of a server that listens on `host` and `port`, without a trailing slash."""
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 compared, not bound
    host = host.strip("[]")
    host = wildcards.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
