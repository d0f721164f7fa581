"""Makes the reports that are asked for."""

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
from serve_app.reports.period import period
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store, read_store


class ReportService:
    """Reads the store that the Controller writes, over connections of its own; safe in threads."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._lock = threading.Lock()
        self._opened: Store | None = None
        self._versions: dict[Path, CardCache] = {}

    def make(
        self, name: str, since: str | None, region: str | None, experiment: str | None = None
    ) -> dict[str, Any]:
        """A report, as JSON.

        Args:
            name: traffic, canary, ab or shadow.
            since, region: See `serve_app.reports.period.period`.
            experiment: Of a canary or an A/B test; None for the newest.

        Raises:
            BadPeriod, NothingToReport: What was asked for is impossible, or is not there.
            StoreError: The database fails.
        """
        asked = period(since, region, now_ms())
        store = self._store()
        match name:
            case "traffic":
                return traffic.report(store, asked)
            case "canary":
                return canary.report(store, asked, self._labels, experiment)
            case "ab":
                return ab_test.report(store, asked, self._labels, experiment)
            case "shadow":
                return shadow.report(store, asked, self._labels)
        raise ValueError(f"there is no report {name}")

    def export(self, table: str, kind: str, since: str, folder: Path) -> Path:
        """A new file in a folder with a table's rows from `since` until now.

        Args:
            table: One of `serve_app.store.export.TABLES`.
            kind: csv or parquet.

        Raises:
            BadExport, BadPeriod: What was asked for is impossible.
            StoreError, OSError: The database or the disk fails.
        """
        path = folder / f"{secrets.token_hex(8)}.{kind}"
        self._store().export(table, path, period(since, None, now_ms()).since_ms)
        return path

    def _store(self) -> Store:
        with self._lock:
            if self._opened is None:
                self._opened = read_store(self._database_url)
            return self._opened

    def _labels(self, version: str) -> Collection[str]:
        """Those of a version of the registry that is deployed; of one that is not there any more,
        those that it was seen to say."""
        revisions = self._store().revisions(1)
        if not revisions:
            raise NothingToReport("nothing was deployed yet")
        folder = config.registry_folder(revisions[0].document)
        try:
            return self._versions.setdefault(folder, CardCache(folder)).card(version).labels
        except NoSuchVersion:
            if said := _said(self._store(), version):
                return said
            raise


def _said(store: Store, version: str) -> set[str]:
    """The labels of a version's answers, and of what it said of copies."""
    answers = store.exposure_sums(EVERYTHING, by=("assigned", "as_assigned", "label"))
    copies = store.pair_sums(EVERYTHING, by=("candidate", "label"))
    labels = {one.label for one in answers if one.as_assigned and one.assigned == version}
    labels |= {one.label for one in copies if one.candidate == version}
    return {label for label in labels if label}
