"""`serve-app models` on the shipped registry."""

from __future__ import annotations

import pytest

from serve_app.cli import models
from tests.unit.cli.conftest import Command


def test_labels_that_cannot_be_drawn_need_a_folder(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "DRAWN_LABELS", ("cat",))
    monkeypatch.setenv("COLUMNS", "200")
    result = command("models", "evaluate", "v1")
    assert result.code == 2
    assert "no images of dog can be drawn, only of cat: name a folder with" in result.err
    assert "--data" in result.err
