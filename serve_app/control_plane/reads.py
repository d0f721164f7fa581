"""What the control plane reads from the store, in threads of its own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_app.errors import NotReady
from serve_app.home import Home
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.reports.query import ReportQuery
from serve_app.store.bounded_reads import BoundedReads

if TYPE_CHECKING:
    from serve_app.control_plane.reviews import ReviewService
    from serve_app.reports.service import ReportService

READ_THREADS, MAX_READS, READ_TIMEOUT_S = 4, 16, 60.0


class Reads:
    """Reports, exports and kept images as JSON.

    Methods raise `Busy`, `TooSlow` and `NotReady`; see `BoundedReads`.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._reads = BoundedReads(
            threads=READ_THREADS, max_reads=MAX_READS, timeout_s=READ_TIMEOUT_S
        )
        for leftover in home.folder("exports").iterdir():  # of clients that disconnected
            leftover.unlink(missing_ok=True)

    async def report(self, name: str, query: ReportQuery) -> dict[str, Any]:
        """A report; see `ReportService.make`."""
        return await self._json(lambda: self._reports.make(name, query))  # type: ignore[no-any-return]

    async def experiments(self, limit: int) -> list[dict[str, Any]]:
        """The newest experiments; see `ReportService.experiments`."""
        return await self._json(lambda: self._reports.experiments(limit))  # type: ignore[no-any-return]

    async def overview(self, since: str) -> dict[str, Any]:
        """The traffic at a glance; see `ReportService.overview`."""
        return await self._json(lambda: self._reports.overview(since))  # type: ignore[no-any-return]

    async def promotion_warnings(self, version: str) -> list[str]:
        """What speaks against a version; see `ReportService.promotion_warnings`."""
        return await self._reads.read(lambda: self._reports.promotion_warnings(version))

    async def export(self, table: str, kind: str, since: str) -> Path:
        """Write a table to a file, which the caller removes; see `ReportService.export`."""
        try:
            folder = self._home.folder("exports")
            return await self._reads.read(
                lambda: self._reports.export(table, kind, since, folder), discard=_remove_file
            )
        except OSError as exc:
            raise NotReady(
                f"the export cannot be written ({exc.strerror or exc}): free space in the home"
                " directory, or export a shorter period"
            ) from exc

    async def list_images(self, limit: int, reviewed: bool) -> dict[str, Any]:
        return await self._reads.read(lambda: self._reviews.list_images(limit, reviewed))

    async def find_image(self, image_id: str) -> dict[str, Any]:
        return await self._reads.read(lambda: self._reviews.find_image(image_id))

    async def image_content(self, image_id: str) -> bytes:
        return await self._reads.read(lambda: self._reviews.image_content(image_id))

    # The imports of scipy, SQLAlchemy and Alembic take a second, which would delay the start.

    @cached_property
    def _reports(self) -> ReportService:
        from serve_app.reports.service import ReportService

        return ReportService(self._home.database_url)

    @cached_property
    def _reviews(self) -> ReviewService:
        from serve_app.control_plane.reviews import ReviewService

        return ReviewService(self._home.database_url, ImageCipher(self._home.image_key))

    async def _json(self, make: Any) -> Any:
        def read() -> Any:
            from serve_app.reports.to_json import to_json

            return to_json(make())

        return await self._reads.read(read)


def _remove_file(path: Path) -> None:
    path.unlink(missing_ok=True)
