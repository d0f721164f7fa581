"""Metrics of the store."""

from __future__ import annotations

from ray.serve import metrics


class StoreMetrics:
    """The size of the store, and its limit."""

    def __init__(self, max_bytes: int) -> None:
        self._size = metrics.Gauge(
            "serve_app_store_bytes", "Size of the SQLite database without its free pages, bytes."
        )
        limit = metrics.Gauge(
            "serve_app_store_max_bytes", "Size above which the oldest rows are removed, bytes."
        )
        limit.set(max_bytes)

    def set_size(self, size_bytes: int) -> None:
        """Report the size of the store."""
        self._size.set(size_bytes)
