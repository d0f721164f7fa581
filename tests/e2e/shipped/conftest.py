"""One service with the shipped `base.yaml`, shared by all modules of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.service import ROOT, Service, service_starter


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service_starter(tmp_path_factory.mktemp("home")) as start:
        yield start(ROOT / "deploy_configs" / "base.yaml")
