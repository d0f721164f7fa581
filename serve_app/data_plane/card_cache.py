"""Cache of the model cards in the registry."""

from __future__ import annotations

from pathlib import Path

from models import registry
from models.card import Card
from models.errors import BadVersion, UnknownVersion
from serve_app.errors import NoSuchVersion, NotReady
from serve_app.known_labels import KnownLabels


class CardCache:
    """Lists the versions of the registry and reads each card once.

    A version that is added to the registry while the service runs is found. Cards are cached
    without expiry, because a published version never changes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cards: dict[str, Card] = {}

    def names(self) -> tuple[str, ...]:
        """The versions, oldest first; empty if there is no registry."""
        try:
            return registry.names(self._folder)
        except UnknownVersion:
            return ()

    def card(self, version: str) -> Card:
        """The card of a version.

        Raises:
            NoSuchVersion: The registry does not have the version.
            NotReady: A file of the version is damaged.
        """
        if version not in self._cards:
            try:
                self._cards[version] = registry.load(version, self._folder).card
            except UnknownVersion as exc:
                raise NoSuchVersion(
                    f"there is no version '{version[:50]}': the registry has"
                    f" {', '.join(self.names()) or 'none'}"
                ) from exc
            except BadVersion as exc:
                raise NotReady(f"version {version} is rejected: {exc}") from exc
        return self._cards[version]

    def labels(self, version: str) -> tuple[str, ...] | None:
        """The labels of a version; None if its card cannot be read."""
        try:
            return tuple(self.card(version).labels)
        except (NoSuchVersion, NotReady):
            return None

    def known_labels(self) -> KnownLabels:
        """The labels of all versions whose cards can be read; the first call reads their files."""
        names = dict.fromkeys([*self.names(), *self._cards])
        return KnownLabels(label for name in names for label in self.labels(name) or ())

    def faults(self, version: str) -> str | None:
        """The faults of a test version in words; None for any other."""
        try:
            card = self.card(version)
        except (NoSuchVersion, NotReady):
            return None
        return card.faults.sentence() if card.faults else None
