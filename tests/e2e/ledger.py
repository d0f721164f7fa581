"""What was sent, against what the store has of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx

from tests.e2e.load import Asked


class Ledger:
    """What the store has taken since this was made."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self._before = self._counts()
        self._words_before = self._words()

    def exposures(self) -> int:
        """Those that are stored, or known to be missing."""
        return self._since("stored") + self._since("missing")

    def missing(self) -> int:
        """Exposures of which only the number is known."""
        return self._since("missing")

    def dropped(self) -> int:
        """Exposures that the ingress says it had no room for."""
        return self._since("dropped")

    def pairs(self) -> int:
        """Shadow pairs that are stored or dropped: copied, failed and shed ones."""
        return self._since("shadow_pairs") + self._since("dropped_shadow_pairs")

    def words(self) -> int:
        """How often it was told something of an answer."""
        return self._words() - self._words_before

    def _since(self, count: str) -> int:
        return int(self._counts()[count] - self._before[count])

    def _counts(self) -> dict[str, Any]:
        recording: dict[str, Any] = self._service.control("status")["recording"]
        return recording

    def _words(self) -> int:
        path = self._service.home / "feedback.csv"
        self._service.command("export", "feedback", str(path))
        return len(path.read_text().splitlines()) - 1


class Feedback:
    """Says something of every fourth answer, until it is left.

    Attributes:
        sent: How often.
        acknowledged: The prediction ids for which it was thanked.
    """

    def __init__(self, url: httpx.URL, asked: list[Asked]) -> None:
        self.sent = 0
        self.acknowledged: list[str] = []
        self._url = url
        self._asked = asked
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Feedback:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as http:
            for asked in self._answers():
                body = {"prediction_id": asked.answer["prediction_id"], "complaint": False}
                self.sent += 1
                try:
                    thanked = http.post("/v1/feedback", json=body).status_code == 200
                except httpx.HTTPError:
                    continue
                if thanked:
                    self.acknowledged.append(body["prediction_id"])

    def _answers(self) -> Iterator[Asked]:
        place = 0
        while not self._ended.wait(0.02):
            while place < len(self._asked) and not self._ended.is_set():
                if self._asked[place].status == 200:
                    yield self._asked[place]
                place += 4
