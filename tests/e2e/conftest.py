"""What the tests of a real service share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.service import ROOT, Service, starting


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Service]]:
    """Starts a service from a deployment file; it ends with the module."""
    with starting(tmp_path_factory.mktemp("home")) as begin:
        yield begin


@pytest.fixture(scope="session")
def examples() -> dict[str, bytes]:
    """The example synthetic images of the repository, by name."""
    return {path.stem: path.read_bytes() for path in sorted((ROOT / "docs/examples").glob("*.png"))}
