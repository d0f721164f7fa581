"""`Classifier`: a replica of a pool. It has one assigned version and keeps others warm."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections import Counter
from functools import cache, partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from ray import serve
from ray.serve.schema import ReplicaRank

from models import classifier as classifiers
from models import registry
from models.classifier import Backend
from models.errors import BadVersion, ModelsError
from models.preprocess import Pixels
from serve_app.data_plane.pools import PoolResponse, Replica, Unavailable, WrongInputSize
from serve_app.deployment.last_good_config import LastGoodConfig
from serve_app.errors import BadConfig
from serve_app.home import open_home
from serve_app.rules.parse import pool_config
from serve_app.rules.plan import Pool
from serve_app.serving.faults import run_with_faults
from serve_app.serving.garbage import collect_less_often
from serve_app.serving.logs import join_serve_log
from serve_app.serving.networks import NetworkRunner, one_thread
from serve_app.serving.reconfigure import Reconfiguration
from serve_app.serving.router import VERSION

WARM_VERSIONS = 2  # including the assigned one
LIBRARIES = {
    "onnx": ("onnxruntime", "numpy", "pillow"),
    "torch": ("torch", "torchvision", "numpy", "pillow"),
}

logger = logging.getLogger(__name__)


class Classifier:
    """Predicts with its assigned version, or with the version of the call's model id."""

    def __init__(self, backend: Backend, registry_folder: str) -> None:
        join_serve_log()
        collect_less_often()
        self._backend = backend
        self._folder = Path(registry_folder)
        self._assigned: classifiers.Classifier | None = None
        self._warm: list[str] = []
        self._loading = asyncio.Lock()
        self._image_counts: Counter[str] = Counter()
        self._networks = NetworkRunner()
        self._loader = one_thread("loader", low_priority=True)
        self._context = serve.get_replica_context()
        last_good = LastGoodConfig(
            open_home().folder("accepted"), self._context.app_name, self._context.deployment
        )
        self._reconfiguration = Reconfiguration(last_good, self._assign)

    async def reconfigure(self, user_config: Any, rank: ReplicaRank) -> None:
        """Load the assigned version, then swap it for the present one. See `Reconfiguration`."""
        self._rank = rank.rank
        await self._reconfiguration.reconfigure(user_config)

    async def check_health(self) -> None:
        """Serve's health check. A version that could not be loaded is tried again."""
        self._reconfiguration.retry()

    async def classify(self, pixels: Pixels) -> PoolResponse:
        """Classify images, uint8 [n, side, side, 3]; expected failures are returned, not raised."""
        version = serve.get_multiplexed_model_id()
        if version and (self._assigned is None or version != self._assigned.card.version):
            try:
                classifier = await self._keep_warm(version)
            except ModelsError as exc:
                # The error names files; the message is for clients.
                logger.warning("version.unavailable", extra={"version": version, "why": str(exc)})
                return Unavailable(f"version {version} cannot be loaded: try again in a minute")
        elif self._assigned is None:
            return Unavailable("the replica has not loaded a version yet: try again in a minute")
        else:
            classifier = self._assigned
        card = classifier.card
        if pixels.shape[1] != card.input.side:
            return WrongInputSize(card.version, card.input.side)
        self._image_counts[card.version] += len(pixels)
        if card.faults:
            run = partial(self._networks.run, classifier, pixels)
            return await run_with_faults(card.faults, run, pixels)
        return await self._networks.run(classifier, pixels)

    def record_routing_stats(self) -> dict[str, str]:
        """The assigned version, for `VersionRouter`."""
        return {VERSION: self._assigned.card.version} if self._assigned else {}

    async def describe(self) -> Replica:
        """The state of the replica."""
        return Replica(
            pool=Pool(self._context.deployment),
            replica=self._context.replica_id.unique_id,
            version=self._assigned.card.version if self._assigned else None,
            warm=tuple(self._warm),
            config_digest=self._reconfiguration.config_digest,
            rejected=self._reconfiguration.rejection_content,
            backend=self._backend,
            libraries=_libraries(self._backend),
            answered=dict(self._image_counts),
        )

    async def _assign(self, user_config: Any) -> None:
        config = pool_config(user_config, registry.names(self._folder))
        version = config.version_of_rank(self._rank)
        try:
            self._assigned = await self._keep_warm(version)
        except ModelsError as exc:
            raise BadConfig("version", f"{version} cannot be loaded: {exc}") from exc
        self._networks.set_background(config.background)

    async def _keep_warm(self, version: str) -> classifiers.Classifier:
        """Load a version if necessary; unloads the least recently used one."""
        async with self._loading:
            assigned = [self._assigned.card.version] if self._assigned else []
            for name in (*assigned, version):  # touch the assigned one, so that it is not unloaded
                classifier: classifiers.Classifier = await self._load(name)
                self._warm = [*(other for other in self._warm if other != name), name]
            del self._warm[:-WARM_VERSIONS]
            return classifier

    @serve.multiplexed(max_num_models_per_replica=WARM_VERSIONS)  # type: ignore[untyped-decorator]
    async def _load(self, version: str) -> classifiers.Classifier:
        # Loading at low priority does not slow the version that is serving.
        thread = self._loader if self._assigned else None
        return await asyncio.get_running_loop().run_in_executor(
            thread, _load_and_run, version, self._backend, self._folder
        )


def _load_and_run(version: str, backend: Backend, folder: Path) -> classifiers.Classifier:
    """Load a version and run it once, because the first run is slow."""
    classifier = classifiers.load(version, backend, folder)
    if classifier.card.faults and classifier.card.faults.load_fails:
        raise BadVersion(f"{version} is a test version: loading it fails on purpose")
    side = classifier.card.input.side
    classifier.probabilities(np.zeros((1, side, side, 3), np.uint8))
    return classifier


@cache
def _libraries(backend: Backend) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for library in LIBRARIES[backend]:
        try:
            versions[library] = installed(library)
        except PackageNotFoundError:
            continue
    return versions
