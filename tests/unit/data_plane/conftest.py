from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.recording.fakes import VirtualTimeLoop
from tests.unit.service import Service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A data plane with the rule `single` and v1 in the stable pool, in virtual time."""
    with Service(tmp_path, loop=VirtualTimeLoop) as service:
        yield service
