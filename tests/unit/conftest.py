"""Settings of the unit tests, which must not start Ray."""

from __future__ import annotations

from typing import NoReturn

import pytest
from hypothesis import settings

# The same examples everywhere, and no deadline: the machine may be busy.
settings.register_profile("unit", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(*args: object, **options: object) -> NoReturn:
        raise AssertionError("a unit test starts Ray: move it to tests/integration")

    monkeypatch.setattr("ray.init", reject)
