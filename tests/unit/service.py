"""The real data plane and its HTTP application in this process, with fake pools instead of Ray."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from copy import deepcopy
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
from models.synthetic import synthesize
from serve_app.data_plane.card_cache import CardCache
from serve_app.data_plane.plane import REPLICAS_MAX_AGE_S, DataPlane
from serve_app.data_plane.pools import (
    PoolResponse,
    Prediction,
    Replica,
    Unavailable,
    WrongInputSize,
)
from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.http.data.application import application
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.privacy.prediction_ids import PredictionIdCodec
from serve_app.privacy.pseudonyms import Pseudonymizer
from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.feedback import FeedbackSink
from serve_app.recording.recorder import Recorder
from serve_app.recording.records import Exposure, Feedback, KeptImage, ShadowPair
from serve_app.recording.spool import Spool
from serve_app.rules.parse import ingress_config
from serve_app.rules.plan import Pool
from serve_app.rules.rule import Rule
from serve_app.trace import Trace

KEY = bytes(range(32))
MODEL = "animals"
PAGES = ("/", "/docs", "/openapi.json")  # not in the OpenAPI document
T = TypeVar("T")

# Results of a candidate that count as failures, with the code of the exposure or pair.
CANDIDATE_FAILURES: list[tuple[Any, str]] = [
    (NotReady("no replica"), "not_ready"),
    (TooSlow("15 s"), "too_slow"),
    (TimeoutError(), "too_slow"),
    (Busy("full"), "busy"),
    (Problem("it crashed"), "internal"),
    (RuntimeError("unexpected"), "internal"),
    (Unavailable("v2 cannot be loaded"), "not_ready"),
    (WrongInputSize("v2", 32), "not_ready"),
    (Prediction("v1", ("cat", "dog"), np.array([[0.5, 0.5]], np.float32), 1.0), "not_ready"),
]

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
def load_classifier(version: str) -> classifiers.Classifier:
    """The classifier of a shipped version."""
    return classifiers.load(version)


def expected_probabilities(version: str, *images: bytes) -> Floats:
    """The probabilities of a version for encoded images; float32 [n, labels]."""
    side = load_classifier(version).card.input.side
    return load_classifier(version).probabilities(np.stack([to_pixels(p, side) for p in images]))


@cache
def image(label: str = "cat", seed: int = 1, kind: str = "PNG") -> bytes:
    """An encoded synthetic image."""
    content = BytesIO()
    synthesize(label, seed).convert("RGB").save(content, kind)
    return content.getvalue()


@lru_cache(maxsize=1000)
def _probabilities(version: str, pixels: bytes, side: int) -> Floats:
    values = np.frombuffer(pixels, np.uint8).reshape(-1, side, side, 3)
    return load_classifier(version).probabilities(values)


@dataclass(frozen=True)
class Call:
    """A call of a pool; `shape` is that of the pixels."""

    pool: Pool
    version: str | None
    shape: tuple[int, ...]


class FakePools:
    """Pools of one replica each, with the predictions of real versions.

    Attributes:
        assigned: The version of each pool's replica; a pool that is missing here has no replica.
        patched_version: The version of a second replica of the stable pool, if there is one.
        calls: Calls of `classify`, oldest first.
        next_results: Responses or errors of the next calls, instead of predictions.
        overrides: By version, the result of every call: a response, an error, or an event to wait
            for before the prediction.
        input_sides: By version, the input size if it is not that of the card; a divisor of it.
        unreported_versions: Versions whose replicas are missing in `replicas`.
        replica_queries: The number of calls of `replicas`.
        rejected: The rejected configuration that each replica reports.
    """

    def __init__(self) -> None:
        self.assigned: dict[Pool, str | None] = {Pool.STABLE: "v1"}
        self.patched_version: str | None = None
        self.calls: list[Call] = []
        self.next_results: deque[PoolResponse | Exception] = deque()
        self.overrides: dict[str, PoolResponse | Exception | asyncio.Event] = {}
        self.input_sides: dict[str, int] = {}
        self.unreported_versions: set[str | None] = set()
        self.replica_queries = 0
        self.rejected: dict[str, str] | None = None

    async def classify(self, pool: Pool, version: str | None, pixels: Pixels) -> PoolResponse:
        self.calls.append(Call(pool, version, pixels.shape))
        if self.next_results:
            result = self.next_results.popleft()
            if isinstance(result, Exception):
                raise result
            return result
        name = version or self.assigned.get(pool)
        if name is None:
            return Unavailable(f"{pool.value} has no version")
        override = self.overrides.get(name)
        if isinstance(override, Exception):
            raise override
        if isinstance(override, asyncio.Event):
            await override.wait()
        elif override:
            return override
        card = load_classifier(name).card
        side = self.input_sides.get(name, card.input.side)
        if pixels.shape[1] != side:
            return WrongInputSize(name, side)
        factor = card.input.side // side
        resized = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
        probabilities = _probabilities(name, resized.tobytes(), card.input.side)
        return Prediction(name, tuple(card.labels), probabilities, 1.5)

    async def replicas(self, pool: Pool | None = None) -> list[Replica]:
        self.replica_queries += 1
        replicas = [(name, 1, version) for name, version in self.assigned.items()]
        if self.patched_version:
            replicas.append((Pool.STABLE, 2, self.patched_version))
        return [
            Replica(
                pool=name,
                replica=f"{name.value}-{number}",
                version=version,
                warm=(version,) if version else (),
                config_digest="",
                rejected=self.rejected,
                backend="onnx",
                libraries={"onnxruntime": "1.22.0"},
                answered={},
            )
            for name, number, version in replicas
            if version not in self.unreported_versions and pool in (None, name)
        ]


class Service:
    """The data plane's application and a client that checks responses against its OpenAPI document.

    Attributes:
        traces: One per request, oldest first.
        store_is_down: Whether deliveries to the store fail.
    """

    def __init__(
        self,
        folder: Path,
        registry_folder: Path = registry.SHIPPED,
        loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        """The rule is `single` with v1. To be used as a context manager.

        Args:
            folder: Of the spool.
            loop: Creates the event loop of the service.
        """
        self.pools = FakePools()
        self.pseudonymizer = Pseudonymizer(KEY)
        self.id_codec = PredictionIdCodec(KEY)
        spool = Spool(folder)
        self.recorder = Recorder(self._store, spool)
        self.feedback_sink = FeedbackSink(self._store, spool)
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
        self.app = application(
            self.plane, self.feedback_sink, MODEL, self.traces.append, self._lifespan
        )
        self._batches: list[Batch] = []
        self._runner = asyncio.Runner(loop_factory=loop)
        self._breaker_task: asyncio.Task[None] | None = None
        self.apply_rule()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def run(self, scenario: Coroutine[Any, Any, T]) -> T:
        """Run a scenario and return its result. Its unfinished tasks pause until the next `run`."""
        return self._runner.run(scenario)

    def apply_rule(self, **rule: Any) -> Rule:
        """Put a rule in force; the defaults are the kind `single` and the stable version v1."""
        content = rule if "kind" in rule else SINGLE | rule
        self.plane.apply_rule(ingress_config({"rule": content}, self.plane.versions.names()))
        return self.plane.rule

    def apply_rule_with_candidate(self, **rule: Any) -> Rule:
        """Put a rule in force, start a replica of its candidate and wait for a closed breaker."""
        candidate = self.apply_rule(**rule).candidate_replicas
        assert candidate
        if candidate.pool is Pool.STABLE:
            self.pools.patched_version = candidate.version
        else:
            self.pools.assigned[candidate.pool] = candidate.version
        self.run(self.wait_for_candidate())
        return self.plane.rule

    def stop_candidate(self) -> None:
        """Stop the candidate's replica and open the circuit breaker."""
        candidate = self.plane.rule.candidate_replicas
        assert candidate
        self.pools.unreported_versions = {candidate.version}
        self.plane.breaker.record_unreachable(candidate)

    async def wait_for_candidate(self) -> None:
        """Run the circuit breaker until it is closed."""
        if self._breaker_task is None:
            self._breaker_task = asyncio.create_task(self.plane.breaker.run())
        await wait_until(lambda: self.plane.breaker.is_closed)

    def forget_replicas(self) -> None:
        """Wait until what the plane knows of the replicas is too old to be used."""
        self.run(asyncio.sleep(REPLICAS_MAX_AGE_S))

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request and check the response against the OpenAPI document."""
        before = len(self.traces)
        response = self.run(send_request(self.app, method, path, **options))
        assert len(self.traces) == before + 1, "a request leaves exactly one trace"
        assert self.traces[-1].status == response.status_code
        check_documented(self.app, self.traces[-1].route, response)
        return response

    def classify(self, content: Any = None, media_type: str = "image/png", **headers: str) -> Any:
        """`POST /v1/classify`; `x_user_id="anna"` is the header X-User-Id."""
        return self.request(
            "POST",
            "/v1/classify",
            content=image() if content is None else content,
            headers={"content-type": media_type}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )

    def batches(self) -> list[Batch]:
        """All delivered batches. Closes the recorder."""
        self.run(self.recorder.close(timeout_s=5))
        return self._batches

    def adoptions_and_exposures(self) -> tuple[list[Adoption], list[Exposure]]:
        """The delivered adoptions and exposures. Closes the recorder."""
        batches = self.batches()
        adoptions = [adoption for batch in batches for adoption in batch.adoptions]
        return adoptions, [exposure for batch in batches for exposure in batch.exposures]

    def exposures(self) -> list[Exposure]:
        """The delivered exposures. Closes the recorder."""
        return self.adoptions_and_exposures()[1]

    def pairs(self) -> list[ShadowPair]:
        """The delivered shadow pairs. Closes the recorder."""
        return [pair for batch in self.batches() for pair in batch.pairs]

    def kept_images(self) -> list[KeptImage]:
        """The delivered kept images. Closes the recorder."""
        return [image for batch in self.batches() for image in batch.kept]

    def feedback(self) -> list[Feedback]:
        """The feedback in the store."""
        return [feedback for batch in self._batches for feedback in batch.feedback]

    async def _store(self, batch: Batch) -> None:
        if self.store_is_down:
            raise ConnectionError("the store is down")
        self._batches.append(batch)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self.recorder.start()
        yield
        await self.recorder.close(timeout_s=5)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Yield to the event loop until a condition holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def send_request(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """Send one request to an application in this process."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://animals") as client:
        return await client.request(method, path, **options)


def check_documented(app: FastAPI, route: str, response: httpx.Response) -> None:
    """Check the status, media type and JSON against the application's OpenAPI document.

    Args:
        route: The template of the path; empty if the application has no such path.
    """
    document = _document(app)
    item = document["paths"].get(route, {})
    is_head = response.request.method == "HEAD"
    operation = item.get("get" if is_head else response.request.method.lower())
    media_type = response.headers.get("content-type", "").split(";")[0]
    if is_head:
        assert not response.content
    elif response.is_error:
        assert media_type == "application/problem+json", response.text
        content = response.json()
        assert content["status"] == response.status_code
        assert content["type"] == f"urn:serve-app:problem:{content['code']}"
        assert content["detail"]
    if operation is None:
        # A page, no such path, or a middleware responded before routing.
        expected: tuple[int, ...] = (405,) if item else (400, 401, 404, 413)
        if response.request.method == "OPTIONS":
            expected = (204, 400, 404)
        elif response.url.path in PAGES:
            expected = (200, 400, 405)
        assert response.status_code in expected, response.status_code
        return
    where = f"{response.request.method} {route}"
    described = operation["responses"].get(str(response.status_code))
    assert described, f"{where} does not document {response.status_code}: {response.text[:200]}"
    if "content" not in described:
        assert not response.content
        return
    assert media_type in described["content"], f"{where} does not document {media_type}"
    if media_type.endswith("json") and not is_head:
        schema = described["content"][media_type].get("schema", {})
        jsonschema_rs.validate(schema | {"components": document["components"]}, response.json())


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, its models without other keys; cached by title, because it is slow."""
    if app.title not in _documents:
        _documents[app.title] = document = deepcopy(app.openapi())
        for schema in document["components"]["schemas"].values():
            schema.setdefault("additionalProperties", False)
    return _documents[app.title]


_documents: dict[str, dict[str, Any]] = {}
