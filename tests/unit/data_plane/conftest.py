from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.service import Service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A data plane under the rule `single` with v1, whose stable pool holds v1."""
    return Service(tmp_path)
