from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.recording.fakes import JumpingLoop
from tests.unit.service import Service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A data plane under the rule `single` with v1, whose stable pool holds v1; its timers take no
    time."""
    with Service(tmp_path, loop=JumpingLoop) as service:
        yield service
