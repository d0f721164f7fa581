"""Makes reports and exports from the store."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

from serve_app.clock import now_ms
from serve_app.data_plane.card_cache import CardCache
from serve_app.deployment import config
from serve_app.errors import NoSuchVersion, NothingToReport
from serve_app.reports import ab_test, canary, shadow, traffic
from serve_app.reports.period import parse_period
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store, read_store


class ReportService:
    """Reads the Controller's store over separate connections. Thread-safe."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._lock = threading.Lock()
        self._opened: Store | None = None
        self._cards: dict[Path, CardCache] = {}

    def make(
        self, name: str, since: str | None, region: str | None, experiment: str | None = None
    ) -> dict[str, Any]:
        """A report as JSON.

        Args:
            name: traffic, canary, ab or shadow.
            since, region: See `serve_app.reports.period.parse_period`.
            experiment: For canary and ab; None for the newest.

        Raises:
            BadPeriod: `since` or `region` is invalid.
            NothingToReport: The period has no such experiment.
            StoreError: The database fails.
        """
        period = parse_period(since, region, now_ms())
        store = self._store()
        match name:
            case "traffic":
                return traffic.report(store, period)
            case "canary":
                return canary.report(store, period, self._labels, experiment)
            case "ab":
                return ab_test.report(store, period, self._labels, experiment)
            case "shadow":
                return shadow.report(store, period, self._labels)
        raise ValueError(f"there is no report {name}")

    def export(self, table: str, kind: str, since: str, folder: Path) -> Path:
        """Write the rows of a table from `since` until now to a new file.

        Args:
            table: One of `serve_app.store.export.TABLES`.
            kind: csv or parquet.

        Returns:
            The path of the file in `folder`.

        Raises:
            BadExport, BadPeriod: An argument is invalid.
            StoreError, OSError: The database or the disk fails.
        """
        path = folder / f"{secrets.token_hex(8)}.{kind}"
        self._store().export(table, path, parse_period(since, None, now_ms()).since_ms)
        return path

    def _store(self) -> Store:
        with self._lock:
            if self._opened is None:
                self._opened = read_store(self._database_url)
            return self._opened

    def _labels(self, version: str) -> Collection[str]:
        """The labels of a version in the deployed registry.

        For a version that was removed from the registry: the labels that it has predicted.

        Raises:
            NothingToReport: There is no deployed configuration.
            NoSuchVersion: The version is not in the registry and has predicted nothing.
        """
        revisions = self._store().revisions(1)
        if not revisions:
            raise NothingToReport("nothing was deployed yet")
        folder = config.registry_folder(revisions[0].document)
        try:
            return self._cards.setdefault(folder, CardCache(folder)).card(version).labels
        except NoSuchVersion:
            if labels := _predicted_labels(self._store(), version):
                return labels
            raise


def _predicted_labels(store: Store, version: str) -> set[str]:
    """The labels in a version's exposures and shadow pairs."""
    exposures = store.exposure_sums(EVERYTHING, by=("assigned", "served_as_assigned", "label"))
    pairs = store.pair_sums(EVERYTHING, by=("candidate", "label"))
    labels = {row.label for row in exposures if row.served_as_assigned and row.assigned == version}
    labels |= {row.label for row in pairs if row.candidate == version}
    return {label for label in labels if label}
