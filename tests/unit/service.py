"""A data plane in this process: the real thing, over pools that are not Ray's."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import jsonschema_rs
import numpy as np
from fastapi import FastAPI

from models import classifier as classifiers
from models import registry
from models.network import Floats
from models.preprocess import Pixels, to_pixels
from models.synthetic import draw
from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.plane import DataPlane
from serve_app.data_plane.pools import (
    PoolResponse,
    Prediction,
    Replica,
    Unavailable,
    WrongInputSize,
)
from serve_app.domain import Exposure, Feedback, KeptImage, Pool, ShadowPair
from serve_app.http.data_plane import application
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.privacy.prediction_ids import PredictionIdCodec
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.feedback import FeedbackSink
from serve_app.recording.recorder import Recorder
from serve_app.recording.spool import Spool
from serve_app.rules.parse import ingress_config
from serve_app.rules.rule import Rule
from serve_app.trace import Trace

KEY = bytes(range(32))
MODEL = "animals"
T = TypeVar("T")

# A rule of each kind, stable v1 and candidate v2.
SINGLE: dict[str, Any] = {"kind": "single", "stable": "v1"}
PARALLEL: dict[str, Any] = {
    "kind": "canary_parallel",
    "stable": "v1",
    "candidate": "v2",
    "weight": 0.3,
    "experiment": "koala-canary",
}
ROLLING: dict[str, Any] = {
    "kind": "canary_rolling",
    "stable": "v1",
    "candidate": "v2",
    "replicas": 1,
    "of": 4,
    "experiment": "koala-rolling",
}
AB: dict[str, Any] = {
    "kind": "ab_test",
    "control": "v1",
    "treatment": "v2",
    "experiment": "koala-preference",
}
SHADOW: dict[str, Any] = {"kind": "shadow", "stable": "v1", "candidate": "v2"}


@cache
def loaded(version: str) -> classifiers.Classifier:
    """A shipped version, ready to answer."""
    return classifiers.load(version)


def expected(version: str, *images: bytes) -> Floats:
    """What a version says of encoded images, without any service; float32 [n, labels]."""
    side = loaded(version).card.input.side
    return loaded(version).probabilities(np.stack([to_pixels(p, side) for p in images]))


@cache
def image(label: str = "cat", seed: int = 1, kind: str = "PNG") -> bytes:
    """An encoded synthetic image."""
    content = BytesIO()
    draw(label, seed).convert("RGB").save(content, kind)
    return content.getvalue()


@lru_cache(maxsize=1000)
def _probabilities(version: str, pixels: bytes, side: int) -> Floats:
    values = np.frombuffer(pixels, np.uint8).reshape(-1, side, side, 3)
    return loaded(version).probabilities(values)


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
        patched: The version of a second replica of the stable pool, if there is one.
        calls: Oldest first.
        script: What the next calls meet instead of their answer: a reply, or an error.
        fates: What every call meets that a version should answer: a reply, an error, or an
            event that it waits for before it is answered.
        sides: The size that a version takes, where it is not the one of its card but its half.
        hidden: The versions whose replicas do not tell of themselves.
        looks: How often somebody asked for the replicas.
        rejected: What each replica says that it rejected.
    """

    def __init__(self) -> None:
        self.assigned: dict[Pool, str | None] = {Pool.STABLE: "v1"}
        self.patched: str | None = None
        self.calls: list[Call] = []
        self.script: deque[PoolResponse | Exception] = deque()
        self.fates: dict[str, PoolResponse | Exception | asyncio.Event] = {}
        self.sides: dict[str, int] = {}
        self.hidden: set[str | None] = set()
        self.looks = 0
        self.rejected: dict[str, str] | None = None

    async def classify(self, pool: Pool, version: str | None, pixels: Pixels) -> PoolResponse:
        """See `Pools.classify`."""
        self.calls.append(Call(pool, version, pixels.shape))
        if self.script:
            scripted = self.script.popleft()
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        name = version or self.assigned.get(pool)
        if name is None:
            return Unavailable(f"{pool.value} holds no version")
        fate = self.fates.get(name)
        if isinstance(fate, Exception):
            raise fate
        if isinstance(fate, asyncio.Event):
            await fate.wait()
        elif fate:
            return fate
        card = loaded(name).card
        side = self.sides.get(name, card.input.side)
        if pixels.shape[1] != side:
            return WrongInputSize(name, side)
        times = card.input.side // side
        whole = pixels.repeat(times, axis=1).repeat(times, axis=2)
        probabilities = _probabilities(name, whole.tobytes(), card.input.side)
        return Prediction(name, tuple(card.labels), probabilities, 1.5)

    async def replicas(self, pool: Pool | None = None) -> list[Replica]:
        """See `Pools.replicas`."""
        self.looks += 1
        held = [(one, 1, version) for one, version in self.assigned.items()]
        if self.patched:
            held.append((Pool.STABLE, 2, self.patched))
        return [
            Replica(
                pool=one,
                replica=f"{one.value}-{number}",
                version=version,
                warm=(version,) if version else (),
                rejected=self.rejected,
                backend="onnx",
                libraries={"onnxruntime": "1.22.0"},
                answered={},
            )
            for one, number, version in held
            if version not in self.hidden and pool in (None, one)
        ]


class Service:
    """The data plane's application, its memory, and a client that reads its OpenAPI document.

    Attributes:
        traces: One for each request that was answered.
        store_is_down: Whether it takes nothing.
    """

    def __init__(
        self,
        folder: Path,
        registry_folder: Path = registry.SHIPPED,
        loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        """Under the rule `single` with v1; to be closed.

        Args:
            folder: Of the spool.
            loop: Makes the event loop that everything here runs in.
        """
        self.pools = FakePools()
        self.pseudonymizer = Pseudonymizer(KEY)
        self.id_codec = PredictionIdCodec(KEY)
        spool = Spool(folder)
        self.recorder = Recorder(self._take, spool)
        self.desk = FeedbackSink(self._take, spool)
        self.image_cipher = ImageCipher(KEY)
        self.plane = DataPlane(
            self.pools,
            self.recorder,
            self.pseudonymizer,
            self.id_codec,
            self.image_cipher,
            CardCache(registry_folder),
        )
        self.traces: list[Trace] = []
        self.store_is_down = False
        self.app = application(self.plane, self.desk, MODEL, self.traces.append, self._beside)
        self._batches: list[Batch] = []
        self._runner = asyncio.Runner(loop_factory=loop)
        self._watching: asyncio.Task[None] | None = None
        self.apply_rule()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def run(self, scenario: Coroutine[Any, Any, T]) -> T:
        """What a scenario returns. What it leaves under way stands still until the next one."""
        return self._runner.run(scenario)

    def apply_rule(self, **rule: Any) -> Rule:
        """Put a rule in force; without a kind it is `single`, by default with v1."""
        content = rule if "kind" in rule else SINGLE | rule
        self.plane.apply_rule(ingress_config({"rule": content}, self.plane.versions.names()))
        return self.plane.rule

    def try_out(self, **rule: Any) -> Rule:
        """Put a rule in force whose candidate has a replica, and is known to have it."""
        candidate = self.apply_rule(**rule).candidate_replicas
        assert candidate
        if candidate.pool is Pool.STABLE:
            self.pools.patched = candidate.version
        else:
            self.pools.assigned[candidate.pool] = candidate.version
        self.run(self.look())
        return self.plane.rule

    def take_down(self) -> None:
        """The candidate's replica is gone, and the data plane has noticed."""
        candidate = self.plane.rule.candidate_replicas
        assert candidate
        self.pools.hidden = {candidate.version}
        self.plane.breaker.record_unreachable(candidate)

    async def look(self) -> None:
        """Let the data plane watch until it has found the candidate."""
        if self._watching is None:
            self._watching = asyncio.create_task(self.plane.breaker.run())
        await until(lambda: self.plane.breaker.is_closed)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; what comes back must be as the OpenAPI document says."""
        asked = len(self.traces)
        response = self.run(ask(self.app, method, path, **options))
        assert len(self.traces) == asked + 1, "a request leaves exactly one trace"
        assert self.traces[-1].status == response.status_code
        check_documented(self.app, self.traces[-1].route, response)
        return response

    def classify(self, content: Any = None, media_type: str = "image/png", **headers: str) -> Any:
        """`POST /v1/classify`; `x_user_id="anna"` is the header X-User-Id."""
        return self.ask(
            "POST",
            "/v1/classify",
            content=image() if content is None else content,
            headers={"content-type": media_type}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )

    def batches(self) -> list[Batch]:
        """Everything that was recorded; nothing can be recorded afterwards."""
        self.run(self.recorder.close(timeout_s=5))
        return self._batches

    def recorded(self) -> tuple[list[Adoption], list[Exposure]]:
        """See `batches`."""
        batches = self.batches()
        adoptions = [adoption for batch in batches for adoption in batch.adoptions]
        return adoptions, [exposure for batch in batches for exposure in batch.exposures]

    def exposures(self) -> list[Exposure]:
        """See `batches`."""
        return self.recorded()[1]

    def pairs(self) -> list[ShadowPair]:
        """See `batches`."""
        return [pair for batch in self.batches() for pair in batch.pairs]

    def kept(self) -> list[KeptImage]:
        """See `batches`."""
        return [image for batch in self.batches() for image in batch.kept]

    def feedback(self) -> list[Feedback]:
        """What the store has taken of it."""
        return [feedback for batch in self._batches for feedback in batch.feedback]

    async def _take(self, batch: Batch) -> None:
        if self.store_is_down:
            raise ConnectionError("the store is away")
        self._batches.append(batch)

    @contextlib.asynccontextmanager
    async def _beside(self, _: FastAPI) -> AsyncIterator[None]:
        self.recorder.start()
        yield
        await self.recorder.close(timeout_s=5)


async def until(condition: Callable[[], bool]) -> None:
    """Let everything else go on until something holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


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
        # Either there is no such path, or a middleware rejected the request before it was known.
        assert response.status_code in ((405,) if item else (400, 404, 413))
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
