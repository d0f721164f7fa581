"""`Ingress`: a replica that serves the HTTP API of the data plane."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app.control_plane.cluster import IngressReplica
from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.plane import DataPlane
from serve_app.deployment.experiments import Experiments
from serve_app.deployment.last_good_config import LastGoodConfig
from serve_app.deployment.names import CONTROL_PLANE, CONTROLLER
from serve_app.home import open_home
from serve_app.http.data.application import application
from serve_app.privacy.illegal_ids import IllegalIds
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.privacy.prediction_ids import PredictionIdCodec
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.recording.batch import Batch
from serve_app.recording.feedback import FeedbackSink
from serve_app.recording.recorder import Recorder
from serve_app.recording.spool import Spool
from serve_app.rules.parse import ingress_config
from serve_app.rules.plan import Pool
from serve_app.serving.garbage import collect_less_often, freeze
from serve_app.serving.logs import join_serve_log
from serve_app.serving.reconfigure import Reconfiguration
from serve_app.serving.serve_pools import ServePools
from serve_app.serving.telemetry import Telemetry

CLOSE_TIMEOUT_S = 1.0

logger = logging.getLogger(__name__)


class Ingress:
    """Serves requests under the rule in its `user_config`."""

    def __init__(
        self,
        stable: DeploymentHandle[Any],
        candidate: DeploymentHandle[Any],
        registry_folder: str,
        cors_origins: Collection[str],
        illegal_ids: Collection[str],
    ) -> None:
        join_serve_log()
        collect_less_often()
        home = open_home()
        context = serve.get_replica_context()
        self._model = context.app_name
        self._cors_origins = cors_origins
        self._replica = context.replica_id.unique_id
        last_good = LastGoodConfig(home.folder("accepted"), context.app_name, context.deployment)
        self._reconfiguration = Reconfiguration(last_good, self._apply_rule)
        self._experiments = Experiments(home.folder("experiments"))
        spool = Spool(home.folder("spool"))
        self._recorder = Recorder(_deliver, spool)
        self._feedback_sink = FeedbackSink(_deliver, spool)
        self._telemetry = Telemetry(self._recorder)
        self._plane = DataPlane(
            ServePools({Pool.STABLE: stable, Pool.CANDIDATE: candidate}),
            self._recorder,
            Pseudonymizer(home.hash_key, IllegalIds(illegal_ids)),
            PredictionIdCodec(home.hash_key),
            ImageCipher(home.image_key),
            CardCache(Path(registry_folder)),
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        return application(
            self._plane,
            self._feedback_sink,
            self._model,
            self._telemetry.record_trace,
            self._run_background_tasks,
            self._cors_origins,
        )

    async def reconfigure(self, user_config: Any) -> None:
        """Apply a rule; runs in the event loop. See `Reconfiguration`."""
        await self._reconfiguration.reconfigure(user_config)
        self._report_rejection()

    async def check_health(self) -> None:
        """Serve's health check. A rejected rule is tried again."""
        self._report_rejection()
        self._reconfiguration.retry()

    async def describe(self) -> IngressReplica:
        """The state of the replica."""
        has_candidate = self._plane.has_rule and self._plane.rule.candidate is not None
        return IngressReplica(
            replica=self._replica,
            config_digest=self._reconfiguration.config_digest,
            rejected=self._reconfiguration.rejection_content,
            candidate_ready=self._plane.breaker.ready or not has_candidate,
        )

    def _report_rejection(self) -> None:
        if self._reconfiguration.rejection:
            self._plane.reject(self._reconfiguration.rejection)

    async def _apply_rule(self, user_config: Any) -> None:
        rule = ingress_config(user_config, self._plane.versions.names())
        self._experiments.check(rule)
        self._plane.apply_rule(rule)
        try:
            self._experiments.claim(rule)
        except Exception:
            logger.exception("experiment_claim.failed")

    @contextlib.asynccontextmanager
    async def _run_background_tasks(self, _: FastAPI) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._telemetry.run(self._plane)),
            asyncio.create_task(self._warm_up()),
        ]
        async with self._plane.background_tasks():
            yield
        for task in tasks:
            task.cancel()
        await self._feedback_sink.close()
        await self._recorder.close(CLOSE_TIMEOUT_S)
        self._telemetry.write(self._plane)

    async def _warm_up(self) -> None:
        await self._plane.warm_up()
        freeze()


async def _deliver(batch: Batch) -> None:
    # The check for existence is a call of Serve's controller that blocks the event loop.
    controller = serve.get_deployment_handle(CONTROLLER, CONTROL_PLANE, _check_exists=False)
    await controller.record.remote(batch)
