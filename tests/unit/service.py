"""A data plane in this process: the real thing, over pools that are not Ray's."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import numpy as np
from fastapi import FastAPI

from models import classifier as classifiers
from models import registry
from models.drawings import draw
from models.network import Floats
from models.preprocess import Pixels, to_pixels
from serve_app.data_plane.plane import DataPlane
from serve_app.data_plane.pools import Answer, CannotAnswer, OtherSide, Replica, Reply
from serve_app.data_plane.versions import Versions
from serve_app.domain import Exposure, Pool
from serve_app.http.data_plane import application
from serve_app.identity import Identity
from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.recorder import Recorder
from serve_app.recording.spool import Spool
from serve_app.rules.parse import ingress_config
from serve_app.trace import Trace

KEY = bytes(range(32))
MODEL = "animals"


@cache
def loaded(version: str) -> classifiers.Classifier:
    """A shipped version, ready to answer."""
    return classifiers.load(version)


def expected(version: str, *pictures: bytes) -> Floats:
    """What a version says of encoded pictures, without any service; float32 [n, labels]."""
    side = loaded(version).card.input.side
    return loaded(version).probabilities(np.stack([to_pixels(p, side) for p in pictures]))


@cache
def picture(label: str = "cat", seed: int = 1, kind: str = "PNG") -> bytes:
    """An encoded drawing."""
    content = BytesIO()
    draw(label, seed).convert("RGB").save(content, kind)
    return content.getvalue()


@dataclass(frozen=True)
class Call:
    """One call of a pool; `shape` is that of its pixels."""

    pool: Pool
    version: str | None
    shape: tuple[int, ...]


class FakePools:
    """Pools of one replica each. Every answer is that of a real version.

    Attributes:
        assigned: The version of each pool's replica; a pool without one has no replica.
        calls: Oldest first.
        script: What the next calls meet instead of their answer: a reply, or an error.
        rejected: What each replica says that it refused.
    """

    def __init__(self) -> None:
        self.assigned: dict[Pool, str | None] = {Pool.STABLE: "v1"}
        self.calls: list[Call] = []
        self.script: deque[Reply | Exception] = deque()
        self.rejected: dict[str, str] | None = None

    async def classify(self, pool: Pool, version: str | None, pixels: Pixels) -> Reply:
        """See `Pools.classify`."""
        self.calls.append(Call(pool, version, pixels.shape))
        if self.script:
            scripted = self.script.popleft()
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        name = version or self.assigned.get(pool)
        if name is None:
            return CannotAnswer(f"{pool.value} holds no version")
        side = loaded(name).card.input.side
        if pixels.shape[1] != side:
            return OtherSide(side)
        return Answer(
            name, tuple(loaded(name).card.labels), loaded(name).probabilities(pixels), 1.5
        )

    async def replicas(self) -> list[Replica]:
        """See `Pools.replicas`."""
        return [
            Replica(
                pool=pool,
                replica=f"{pool.value}-1",
                version=version,
                warm=(version,) if version else (),
                rejected=self.rejected,
                backend="onnx",
                libraries={"onnxruntime": "1.22.0"},
            )
            for pool, version in self.assigned.items()
        ]


class Service:
    """The data plane's application, its memory, and a client that reads its OpenAPI document.

    Attributes:
        traces: One for each request that was answered.
    """

    def __init__(self, folder: Path, registry_folder: Path = registry.SHIPPED) -> None:
        self.pools = FakePools()
        self.identity = Identity(KEY)
        self.recorder = Recorder(self._take, Spool(folder))
        self.plane = DataPlane(self.pools, self.recorder, self.identity, Versions(registry_folder))
        self.traces: list[Trace] = []
        self.app = application(self.plane, MODEL, self.traces.append, self._beside)
        self._batches: list[Batch] = []
        self.obey()

    def obey(self, **rule: Any) -> None:
        """Put a rule in force; by default `single` with v1."""
        config = {"rule": {"kind": "single", "stable": "v1", **rule}}
        self.plane.obey(ingress_config(config, self.plane.versions.names()))

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; what comes back must be as the OpenAPI document says."""
        asked = len(self.traces)
        response = asyncio.run(ask(self.app, method, path, **options))
        assert len(self.traces) == asked + 1, "a request leaves exactly one trace"
        assert self.traces[-1].status == response.status_code
        check_documented(self.app, self.traces[-1].route, response)
        return response

    def classify(self, content: Any = None, media_type: str = "image/png", **headers: str) -> Any:
        """`POST /v1/classify`; `x_user_id="anna"` is the header X-User-Id."""
        return self.ask(
            "POST",
            "/v1/classify",
            content=picture() if content is None else content,
            headers={"content-type": media_type}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )

    def recorded(self) -> tuple[list[Adoption], list[Exposure]]:
        """Everything that was recorded; nothing can be recorded afterwards."""
        asyncio.run(self.recorder.close(timeout_s=5))
        adoptions = [adoption for batch in self._batches for adoption in batch.adoptions]
        return adoptions, [exposure for batch in self._batches for exposure in batch.exposures]

    def exposures(self) -> list[Exposure]:
        """See `recorded`."""
        return self.recorded()[1]

    async def _take(self, batch: Batch) -> None:
        self._batches.append(batch)

    @contextlib.asynccontextmanager
    async def _beside(self, _: FastAPI) -> AsyncIterator[None]:
        self.recorder.start()
        yield
        await self.recorder.close(timeout_s=5)


async def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """One request to an application in this process."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://animals") as client:
        return await client.request(method, path, **options)


def check_documented(app: FastAPI, route: str, response: httpx.Response) -> None:
    """Status, media type and JSON are as the application's OpenAPI document says.

    Args:
        route: The path's template; empty if the application has no such path.
    """
    document = _document(app)
    item = document["paths"].get(route, {})
    operation = item.get(response.request.method.lower())
    media_type = response.headers.get("content-type", "").split(";")[0]
    if response.is_error:
        assert media_type == "application/problem+json", response.text
        content = response.json()
        assert content["status"] == response.status_code
        assert content["type"] == f"urn:serve-app:problem:{content['code']}"
        assert content["detail"]
    if operation is None:
        # Either there is no such path, or `Envelope` refused the request before it was known.
        assert response.status_code in ((405,) if item else (400, 404))
        return
    where = f"{response.request.method} {route}"
    described = operation["responses"].get(str(response.status_code))
    assert described, f"{where} does not document {response.status_code}: {response.text[:200]}"
    if "content" not in described:
        assert not response.content
        return
    assert media_type in described["content"], f"{where} does not document {media_type}"
    if media_type.endswith("json"):
        schema = described["content"][media_type].get("schema", {})
        jsonschema_rs.validate(
            schema | {"components": document.get("components", {})}, response.json()
        )


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once for all applications of one title: it takes a while."""
    if app.title not in _documents:
        _documents[app.title] = app.openapi()
    return _documents[app.title]


_documents: dict[str, dict[str, Any]] = {}
