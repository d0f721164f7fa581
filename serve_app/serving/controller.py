"""`Controller`: the actor of the control plane, the only writer of the store and of Serve."""

from __future__ import annotations

import asyncio

from serve_app.control_plane.chores import Chores
from serve_app.control_plane.plane import ControlPlane
from serve_app.deployment.experiments import Experiments
from serve_app.home import open_home
from serve_app.recording.spool import Spool
from serve_app.serving.logs import flush_serve_log, join_serve_log
from serve_app.serving.serve_cluster import ServeCluster
from serve_app.serving.store_metrics import StoreMetrics
from serve_app.store.retention import Retention
from serve_app.store.store import open_store


class Controller(ControlPlane):
    """The control plane as a deployment of one replica."""

    def __init__(self) -> None:
        join_serve_log()
        home = open_home()
        store = open_store(home.database_url)
        super().__init__(ServeCluster(), store, Experiments(home.folder("experiments")))
        max_bytes = home.max_database_bytes
        chores = Chores(
            self,
            store,
            Spool(home.folder("spool")),
            Retention(max_bytes=max_bytes),
            StoreMetrics(max_bytes).set_size,
        )
        self._chores = asyncio.create_task(chores.run(flush_serve_log))

    async def __del__(self) -> None:
        self._chores.cancel()
        await self.close()
