"""Unit tests are pure: none may start Ray."""

from __future__ import annotations

from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> NoReturn:
        raise AssertionError("a unit test starts Ray: move it to tests/integration")

    monkeypatch.setattr("ray.init", refuse)
