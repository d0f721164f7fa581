"""Reads the parts of a Serve configuration file that a start needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.validation import quote
from serve_app.deployment.address import local_url
from serve_app.errors import BadConfig
from serve_app.yaml_file import read_mapping

# Serve's defaults.
DEFAULT_HOST = "0.0.0.0"  # noqa: S104
DEFAULT_PORT = 8000


@dataclass(frozen=True)
class ServeFile:
    """The parts of a Serve configuration file that were checked; Ray checks the rest."""

    path: Path  # absolute
    host: str
    port: int
    applications: tuple[str, ...]

    @property
    def url(self) -> str:
        """The URL of the service on this machine, without a slash at the end."""
        return local_url(self.host, self.port)


def read(path: Path) -> ServeFile:
    """Read a Serve configuration file.

    Raises:
        BadConfig: The file cannot be read, or is not a Serve configuration.
    """
    path = path.absolute()
    document = read_mapping(path, "a Ray Serve configuration")
    names = _application_names(path, document.get("applications"))
    http = document.get("http_options") or {}
    if not isinstance(http, dict):
        raise BadConfig(f"{path}: http_options", f"is {quote(http)}: expected keys and values")
    port = http.get("port", DEFAULT_PORT)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise BadConfig(f"{path}: http_options.port", f"is {quote(port)}: expected 1 to 65535")
    return ServeFile(path, str(http.get("host", DEFAULT_HOST)), port, names)


def _application_names(path: Path, applications: Any) -> tuple[str, ...]:
    if not isinstance(applications, list) or not applications:
        raise BadConfig(
            f"{path}: applications", f"is {quote(applications)}: expected a list of applications"
        )
    for position, application in enumerate(applications):
        if not isinstance(application, dict) or not isinstance(application.get("name"), str):
            raise BadConfig(f"{path}: applications.{position}.name", "is missing: set a name")
    return tuple(application["name"] for application in applications)
