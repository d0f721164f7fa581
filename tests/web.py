"""An ASGI application on a real port, for browsers and commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

START_S = STOP_S = 20.0


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an application in a thread, on a free port of loopback; its URL."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, "127.0.0.1", 0, log_config=None, access_log=False, ws="none", lifespan="off"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    (listening,) = server.servers
    yield "http://{}:{}".format(*listening.sockets[0].getsockname())
    server.should_exit = True
    thread.join(STOP_S)
