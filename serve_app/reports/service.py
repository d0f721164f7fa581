"""Assesses the store's records: reports, experiments, an overview; and makes exports."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from serve_app.clock import now_ms
from serve_app.data_plane.card_cache import CardCache
from serve_app.deployment import config
from serve_app.errors import NoSuchVersion, NothingToReport
from serve_app.reports import overview, traffic
from serve_app.reports.assessment import EXPERIMENT_REPORTS, Assessment
from serve_app.reports.experiment import find_experiment
from serve_app.reports.overview import Overview
from serve_app.reports.period import parse_period
from serve_app.reports.query import ReportQuery
from serve_app.reports.summaries import ExperimentSummary, Summaries, promotion_warnings
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import Store, read_store


class ReportService:
    """Reads the Controller's store over separate connections. Thread-safe.

    Every method raises `StoreError` if the database fails.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._lock = threading.Lock()
        self._opened: Store | None = None
        self._cards: dict[Path, CardCache] = {}
        self._summaries = Summaries()

    def make(self, name: str, query: ReportQuery) -> Assessment:
        """A report.

        Args:
            name: traffic, canary, ab or shadow.

        Raises:
            BadPeriod: The period or the region is invalid.
            NothingToReport: The period has no such experiment.
        """
        period = parse_period(now_ms(), query.since, query.until, query.region)
        store = self._store()
        if name == "traffic":
            return traffic.assess(store, period)
        found = find_experiment(store, name, period, query.experiment)
        return EXPERIMENT_REPORTS[name](store, period, self._labels, found)

    def experiments(self, limit: int) -> list[ExperimentSummary]:
        """The newest experiments, newest first; at most `limit` are assessed."""
        summaries = self._summaries.summarize(self._store(), self._labels, now_ms())
        return list(islice(summaries, limit))

    def overview(self, since: str) -> Overview:
        """The traffic from `since` until now at a glance.

        Raises:
            BadPeriod: `since` is invalid.
        """
        return overview.assess(self._store(), parse_period(now_ms(), since))

    def promotion_warnings(self, version: str) -> list[str]:
        """What speaks against serving all users with a version, one sentence each."""
        store = self._store()
        tried = self._summaries.summarize(store, self._labels, now_ms(), treatment=version)
        return list(promotion_warnings(store, tried, version))

    def export(self, table: str, kind: str, since: str, folder: Path) -> Path:
        """Write the rows of a table from `since` until now to a new file.

        Args:
            table: One of `serve_app.store.export.TABLES`.
            kind: csv or parquet.

        Returns:
            The path of the file in `folder`.

        Raises:
            BadExport, BadPeriod: An argument is invalid.
            OSError: The disk fails.
        """
        path = folder / f"{secrets.token_hex(8)}.{kind}"
        self._store().export(table, path, parse_period(now_ms(), since).since_ms)
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
