from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.service import Service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A data plane under the rule `single` with v1, whose stable pool holds v1."""
    with Service(tmp_path) as service:
        yield service
