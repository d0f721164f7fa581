"""Calls of a pool, over handles that are not Ray's."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from serve_app.data_plane.pools import LATE_S, Prediction
from serve_app.domain import Pool
from serve_app.errors import NotReady, Problem, TooSlow
from tests.unit.recording.fakes import run

with warnings.catch_warnings():  # Serve's modules use what pydantic will take away
    warnings.simplefilter("ignore")
    from ray.serve._private.common import DeploymentID, RequestMetadata
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
    from ray.serve.handle import DeploymentResponse

    from serve_app.serving.serve_pools import CALL_TIMEOUT_S, ServePools

PIXELS = np.zeros((1, 2, 2, 3), np.uint8)
ANSWER = Prediction("v1", ("cat", "dog"), np.array([[0.25, 0.75]], np.float32), 1.0)
DELETED = DeploymentUnavailableError(DeploymentID("StablePool", "animals"))


class Method:
    """Replies to each call after a time, with an answer or an error; never, if the time is None.

    As with Serve's own transport, a call is sent and answered while its router still assigns it.

    Attributes:
        calls: What the router does for each, oldest first.
    """

    def __init__(self, after_s: float | None, outcome: Any = ANSWER) -> None:
        self.after_s = after_s
        self.outcome = outcome
        self.calls: list[asyncio.Task[Reply]] = []

    def remote(self, *_: Any) -> DeploymentResponse[Any]:
        """The response is Serve's own."""
        self.calls.append(asyncio.create_task(self._reply()))
        of = RequestMetadata(request_id="r", internal_request_id="i", call_method="m")
        return DeploymentResponse(self.calls[-1], of, False)  # type: ignore[arg-type]

    async def _reply(self) -> Reply:
        await (asyncio.Event().wait() if self.after_s is None else asyncio.sleep(self.after_s))
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return Reply(self.outcome)


@dataclass
class Reply:
    """What a replica sends."""

    content: Any

    async def get_async(self) -> Any:
        return self.content


class Handle:
    """A pool that replies to `classify` and `describe`."""

    def __init__(self, classify: Method, describe: Method) -> None:
        self.classify = classify
        self.describe = describe

    def options(self, **_: str) -> Handle:
        """The same pool: how a call is serialised makes no difference here."""
        return self


def asked(
    classify: Method, describe: Method, then: Callable[[asyncio.Task[Any]], object] | None = None
) -> tuple[Any, float]:
    """What a call comes to, and after how many seconds."""
    handle: Any = Handle(classify, describe)
    pools = ServePools({Pool.STABLE: handle})

    async def ask() -> tuple[Any, float]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
        task = asyncio.create_task(pools.classify(Pool.STABLE, None, PIXELS))
        if then:
            loop.call_later(2 * LATE_S, then, task)
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        after_s = loop.time()
        await asyncio.sleep(1)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, "something of it stays"
        return outcome, after_s

    complaints: list[str] = []
    outcome = run(ask())
    gc.collect()
    assert complaints == []
    return outcome


def test_an_answer_in_time_asks_nothing_else() -> None:
    describe = Method(0.0)
    answer, after_s = asked(Method(0.01), describe)
    assert np.array_equal(answer.probabilities, ANSWER.probabilities)
    assert after_s == pytest.approx(0.01)
    assert describe.calls == []


@pytest.mark.parametrize(
    "describe",
    [
        Method(0.0),
        Method(None),
        Method(0.0, RuntimeError("no one knows this one")),
        Method(0.0, asyncio.CancelledError()),  # by the other side
    ],
)
def test_a_late_answer_is_waited_for_while_its_pool_is_there(describe: Method) -> None:
    """Also where no replica answers: one may be on its way."""
    classify = Method(5.0)
    answer, after_s = asked(classify, describe)
    assert answer.version == "v1"
    assert after_s == pytest.approx(5.0)
    assert not classify.calls[0].cancelled()


def test_nobody_waits_for_a_pool_that_is_deleted() -> None:
    """Serve would look for a replica for as long."""
    classify = Method(None)
    problem, after_s = asked(classify, Method(0.0, DELETED))
    assert isinstance(problem, NotReady)
    assert after_s == pytest.approx(LATE_S)
    assert classify.calls[0].cancelled()


def test_a_call_ends_when_its_time_is_up_and_is_no_load_any_more() -> None:
    classify = Method(None)
    problem, after_s = asked(classify, Method(0.0))
    assert isinstance(problem, TooSlow)
    assert after_s == pytest.approx(CALL_TIMEOUT_S)
    assert classify.calls[0].cancelled()


def test_a_call_that_nobody_waits_for_is_no_load_any_more() -> None:
    classify = Method(None)
    left, after_s = asked(classify, Method(0.0), then=asyncio.Task.cancel)
    assert isinstance(left, asyncio.CancelledError)
    assert after_s == pytest.approx(2 * LATE_S)
    assert classify.calls[0].cancelled()


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (DELETED, "not_ready"),
        (BackPressureError(num_queued_requests=1, max_queued_requests=1), "busy"),
        (RuntimeError("no one knows this one"), "internal"),
    ],
)
@pytest.mark.parametrize("after_s", [0.0, 5.0])
def test_a_failure_is_told_in_our_words(failure: Exception, code: str, after_s: float) -> None:
    problem, _ = asked(Method(after_s, failure), Method(0.0))
    assert isinstance(problem, Problem)
    assert problem.code == code


@pytest.mark.parametrize("outcome", [ANSWER, DELETED], ids=["there", "deleted"])
def test_many_late_calls_ask_no_more_than_one_does(outcome: Any) -> None:
    """They ask a pool that is slow already."""
    classify, describe = Method(None), Method(0.0, outcome)
    handle: Any = Handle(classify, describe)
    pools = ServePools({Pool.STABLE: handle})

    async def ask() -> list[tuple[str, Any]]:
        loop = asyncio.get_running_loop()

        async def one() -> tuple[str, Any]:
            try:
                await pools.classify(Pool.STABLE, None, PIXELS)
            except Problem as exc:
                return exc.code, loop.time()
            raise AssertionError("nobody answers")

        return await asyncio.gather(*(one() for _ in range(256)))

    told = run(ask())
    assert len(classify.calls) > 10
    if outcome is DELETED:
        assert {code for code, _ in told} == {"not_ready"}
        assert max(after_s for _, after_s in told) <= 2 * LATE_S
    else:
        assert {code for code, _ in told} == {"too_slow"}
        took_s = max(after_s for _, after_s in told)
        assert len(describe.calls) <= took_s / LATE_S + 1
