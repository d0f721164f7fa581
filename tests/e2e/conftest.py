"""Fixtures of the tests with a real service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.service import ROOT, Service, service_starter


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Service]]:
    """Starts a service from a deployment file; stopped after the module."""
    with service_starter(tmp_path_factory.mktemp("home")) as start_service:
        yield start_service


@pytest.fixture(scope="session")
def examples() -> dict[str, bytes]:
    """The example images of the repository, by name."""
    return {path.stem: path.read_bytes() for path in sorted((ROOT / "docs/examples").glob("*.png"))}
