"""Calls of a pool, with fake deployment handles."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from serve_app.data_plane.pools import LATE_S, Prediction
from serve_app.errors import NotReady, Problem, TooSlow
from serve_app.rules.plan import Pool
from tests.unit.recording.fakes import run

with warnings.catch_warnings():  # deprecated pydantic features in Serve's modules
    warnings.simplefilter("ignore")
    from ray.serve._private.common import DeploymentID, RequestMetadata
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
    from ray.serve.handle import DeploymentResponse

    from serve_app.serving.serve_pools import CALL_TIMEOUT_S, ServePools

PIXELS = np.zeros((1, 2, 2, 3), np.uint8)
PREDICTION = Prediction("v1", ("cat", "dog"), np.array([[0.25, 0.75]], np.float32), 1.0)
DELETED = DeploymentUnavailableError(DeploymentID("StablePool", "animals"))


@pytest.fixture(autouse=True)
def fast_collection() -> Iterator[None]:
    """Collect only the objects of a test: those of other tests are frozen meanwhile."""
    gc.freeze()
    yield
    gc.unfreeze()


class Method:
    """Responds to each call after a delay, with a prediction or an error; never if it is None.

    As in Serve's transport, the router's task is still running when the response comes.

    Attributes:
        calls: The router's task of each call, oldest first.
    """

    def __init__(self, delay_s: float | None, outcome: Any = PREDICTION) -> None:
        self.delay_s = delay_s
        self.outcome = outcome
        self.calls: list[asyncio.Task[Reply]] = []

    def remote(self, *_: Any) -> DeploymentResponse[Any]:
        self.calls.append(asyncio.create_task(self._reply()))
        metadata = RequestMetadata(request_id="r", internal_request_id="i", call_method="m")
        return DeploymentResponse(self.calls[-1], metadata, False)  # type: ignore[arg-type]

    async def _reply(self) -> Reply:
        await (asyncio.Event().wait() if self.delay_s is None else asyncio.sleep(self.delay_s))
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return Reply(self.outcome)


@dataclass
class Reply:
    """The response of a replica."""

    content: Any

    async def get_async(self) -> Any:
        return self.content


class Handle:
    """A handle with the methods `classify` and `describe`."""

    def __init__(self, classify: Method, describe: Method) -> None:
        self.classify = classify
        self.describe = describe

    def options(self, **_: str) -> Handle:
        """The same handle: serialization makes no difference here."""
        return self


def call_pool(
    classify: Method,
    describe: Method,
    act_late: Callable[[asyncio.Task[Any]], object] | None = None,
) -> tuple[Any, float]:
    """The result or error of a call, and its time in seconds."""
    handle: Any = Handle(classify, describe)
    pools = ServePools({Pool.STABLE: handle})

    async def call() -> tuple[Any, float]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: loop_errors.append(context["message"]))
        task = asyncio.create_task(pools.classify(Pool.STABLE, None, PIXELS))
        if act_late:
            loop.call_later(2 * LATE_S, act_late, task)
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        time_s = loop.time()
        await asyncio.sleep(1)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, "leftover tasks"
        return outcome, time_s

    loop_errors: list[str] = []
    outcome = run(call())
    gc.collect()
    assert loop_errors == []
    return outcome


def test_a_response_in_time_needs_no_describe_call() -> None:
    describe = Method(0.0)
    prediction, time_s = call_pool(Method(0.01), describe)
    assert np.array_equal(prediction.probabilities, PREDICTION.probabilities)
    assert time_s == pytest.approx(0.01)
    assert describe.calls == []


@pytest.mark.parametrize(
    "describe",
    [
        Method(0.0),
        Method(None),
        Method(0.0, RuntimeError("unexpected")),
        Method(0.0, asyncio.CancelledError()),  # by the other side
    ],
)
def test_a_late_response_is_awaited_while_the_pool_exists(describe: Method) -> None:
    """Even if no replica answers: one may be starting."""
    classify = Method(5.0)
    prediction, time_s = call_pool(classify, describe)
    assert prediction.version == "v1"
    assert time_s == pytest.approx(5.0)
    assert not classify.calls[0].cancelled()


def test_a_call_of_a_deleted_pool_fails_soon() -> None:
    """Serve would search for a replica until the timeout."""
    classify = Method(None)
    problem, time_s = call_pool(classify, Method(0.0, DELETED))
    assert isinstance(problem, NotReady)
    assert time_s == pytest.approx(LATE_S)
    assert classify.calls[0].cancelled()


def test_a_call_that_times_out_is_cancelled() -> None:
    classify = Method(None)
    problem, time_s = call_pool(classify, Method(0.0))
    assert isinstance(problem, TooSlow)
    assert time_s == pytest.approx(CALL_TIMEOUT_S)
    assert classify.calls[0].cancelled()


def test_a_call_of_a_cancelled_request_is_cancelled() -> None:
    classify = Method(None)
    error, time_s = call_pool(classify, Method(0.0), act_late=asyncio.Task.cancel)
    assert isinstance(error, asyncio.CancelledError)
    assert time_s == pytest.approx(2 * LATE_S)
    assert classify.calls[0].cancelled()


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (DELETED, "not_ready"),
        (BackPressureError(num_queued_requests=1, max_queued_requests=1), "busy"),
        (RuntimeError("unexpected"), "internal"),
    ],
)
@pytest.mark.parametrize("delay_s", [0.0, 5.0])
def test_errors_of_serve_become_problems(failure: Exception, code: str, delay_s: float) -> None:
    problem, _ = call_pool(Method(delay_s, failure), Method(0.0))
    assert isinstance(problem, Problem)
    assert problem.code == code


@pytest.mark.parametrize("outcome", [PREDICTION, DELETED], ids=["existing", "deleted"])
def test_many_late_calls_share_one_describe_call_at_a_time(outcome: Any) -> None:
    """The pool is already slow."""
    classify, describe = Method(None), Method(0.0, outcome)
    handle: Any = Handle(classify, describe)
    pools = ServePools({Pool.STABLE: handle})

    async def call_often() -> list[tuple[str, Any]]:
        loop = asyncio.get_running_loop()

        async def call() -> tuple[str, Any]:
            try:
                await pools.classify(Pool.STABLE, None, PIXELS)
            except Problem as exc:
                return exc.code, loop.time()
            raise AssertionError("the call succeeded")

        return await asyncio.gather(*(call() for _ in range(256)))

    problems = run(call_often())
    assert len(classify.calls) > 10
    if outcome is DELETED:
        assert {code for code, _ in problems} == {"not_ready"}
        assert max(time_s for _, time_s in problems) <= 2 * LATE_S
    else:
        assert {code for code, _ in problems} == {"too_slow"}
        longest_s = max(time_s for _, time_s in problems)
        assert len(describe.calls) <= longest_s / LATE_S + 1
