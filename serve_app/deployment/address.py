"""Where the service is reached from its own machine."""

from __future__ import annotations


def local_url(host: str, port: int) -> str:
    """The URL of a server that listens there; without a slash at the end."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 an address that is given
    host = host.strip("[]")
    host = everywhere.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
