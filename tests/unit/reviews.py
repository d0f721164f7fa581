"""Kept images in the store of a home directory, and the control plane that reviews them."""

from __future__ import annotations

from typing import Any

from serve_app.clock import now_ms
from serve_app.control_plane.plane import ControlPlane
from serve_app.control_plane.reads import Reads
from serve_app.deployment.experiments import Experiments
from serve_app.home import Home
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.recording.batch import Batch
from serve_app.recording.records import KeptImage
from serve_app.store.store import Store, open_store
from tests.factories import kept_image
from tests.fake_cluster import FakeCluster

JPEG = b"\xff\xd8\xff\xe0 a koala \xff\xd9"
PREDICTIONS = {1: ("dog", "koala"), 2: ("cat", "koala"), 3: ("cat", "cat"), 4: ("dog", "cat")}


class LocalReviews:
    """Keeps images in the store of a home directory, encrypted with its key."""

    def __init__(self, home: Home, store: Store) -> None:
        self.store = store
        self.image_cipher = ImageCipher(home.image_key)

    def keep_images(self, *numbers: int, **changes: Any) -> list[str]:
        """Store images with the labels of `PREDICTIONS`; returns their ids."""
        images = [self._image(number, **changes) for number in numbers]
        self.store.record(Batch(images[0].writer, kept=tuple(images)))
        return [f"{image.writer}-{image.sequence}" for image in images]

    def _image(self, number: int, **changes: Any) -> KeptImage:
        stable_label, candidate_label = PREDICTIONS[number]
        fields = {
            "at_ms": now_ms(),
            "expires_at_ms": now_ms() + 60_000,
            "digest": self.image_cipher.digest(str(number).encode()),
            "live_label": stable_label,
            "label": candidate_label,
            "encrypted": self.image_cipher.encrypt(JPEG),
        }
        return kept_image(number, **fields | changes)


class ReviewPlane(LocalReviews):
    """With the control plane of the store, over a cluster without applications."""

    def __init__(self, home: Home) -> None:
        super().__init__(home, open_store(home.database_url))
        experiments = Experiments(home.folder("experiments"))
        self.control = ControlPlane(FakeCluster({"applications": []}), self.store, experiments)
        self.reads = Reads(home)
        self.sessions = home.folder("sessions")

    def close(self) -> None:
        """Close the store."""
        self.store.close()
