"""One service, started from the shipped `base.yaml`, for all modules of this folder in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.service import ROOT, Service, starting


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with starting(tmp_path_factory.mktemp("home")) as begin:
        yield begin(ROOT / "deploy_configs" / "base.yaml")
