from __future__ import annotations

import asyncio
import contextvars
import logging
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.recording.batch import Batch
from serve_app.recording.feedback import FeedbackSink
from serve_app.recording.spool import Spool
from tests.factories import feedback
from tests.unit.recording.fakes import DeliveryResult, FakeStore, run, wait_until


class SlowSpool(Spool):
    """Waits for an event before it writes, and records its thread."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.can_write = threading.Event()
        self.thread: int | None = None

    def write(self, batch: Batch) -> None:
        self.thread = threading.get_ident()
        assert self.can_write.wait(timeout=60)
        super().write(batch)


def drain(folder: Path) -> FakeStore:
    """A store with the drain batches of a spool."""
    store = FakeStore()
    Spool(folder).drain(store.store)
    return store


def test_accept_returns_after_the_delivery(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        await FeedbackSink(store.deliver, Spool(tmp_path)).accept(feedback(5))
        assert store.feedback == [feedback(5)]

    run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_a_feedback_batch_has_one_entry_and_its_own_writer_id(tmp_path: Path) -> None:
    """The feedback may be on a prediction of another ingress process."""

    async def scenario() -> None:
        store = FakeStore()
        sink = FeedbackSink(store.deliver, Spool(tmp_path))
        for sequence in (1, 2):
            await sink.accept(feedback(5, sequence=sequence))
        one, other = store.batches
        assert one == Batch(other.writer, feedback=(feedback(5, sequence=1),))
        assert len(bytes.fromhex(one.writer)) == 6
        assert one.writer != feedback(5).writer

    run(scenario())


@pytest.mark.parametrize("result", [DeliveryResult.REJECTED, DeliveryResult.CANCELLED])
def test_accept_spools_feedback_if_the_delivery_fails(
    tmp_path: Path, result: DeliveryResult
) -> None:
    async def scenario() -> None:
        await FeedbackSink(FakeStore([result]).deliver, Spool(tmp_path)).accept(feedback(5))
        assert drain(tmp_path).feedback == [feedback(5)]

    run(scenario())


def test_a_hanging_delivery_times_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink = FeedbackSink(
            FakeStore([DeliveryResult.HANGING]).deliver, Spool(tmp_path), timeout_s=1.5
        )
        await sink.accept(feedback(5))
        assert asyncio.get_running_loop().time() == pytest.approx(1.5)

    run(scenario())
    assert drain(tmp_path).feedback == [feedback(5)]


def test_feedback_is_spooled_without_delivery_during_the_pause(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore([DeliveryResult.HANGING])
        sink = FeedbackSink(store.deliver, Spool(tmp_path), timeout_s=2.0, pause_s=2.0)
        loop = asyncio.get_running_loop()
        await sink.accept(feedback(1))
        await asyncio.sleep(1.5)
        before_s = loop.time()
        await sink.accept(feedback(2))
        assert (loop.time(), len(store.attempts)) == (before_s, 1)

        await asyncio.sleep(1)
        await sink.accept(feedback(3))
        await sink.accept(feedback(4))
        assert [f.at_ms for f in store.feedback] == [3, 4]

    run(scenario())
    assert [f.at_ms for f in drain(tmp_path).feedback] == [1, 2]


def test_only_one_delivery_is_tried_after_the_pause(tmp_path: Path) -> None:
    """Other feedback is spooled meanwhile."""

    async def scenario() -> None:
        store = FakeStore([DeliveryResult.REJECTED], default_result=DeliveryResult.HANGING)
        sink = FeedbackSink(store.deliver, Spool(tmp_path), timeout_s=2.0, pause_s=2.0)
        await sink.accept(feedback(1))
        await asyncio.sleep(3)
        retry = asyncio.create_task(sink.accept(feedback(2)))
        await wait_until(lambda: len(store.attempts) == 2)
        async with asyncio.timeout(0.1):
            await sink.accept(feedback(3))
        await retry
        assert len(store.attempts) == 2

    run(scenario())
    assert [f.at_ms for f in drain(tmp_path).feedback] == [1, 2, 3]


def test_only_the_first_failure_and_the_recovery_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        sink = FeedbackSink(FakeStore([DeliveryResult.REJECTED] * 2).deliver, Spool(tmp_path))
        for at_ms in range(8):
            await sink.accept(feedback(at_ms))
            await asyncio.sleep(1)

    run(scenario())
    events = [r.message for r in caplog.records if r.message.startswith("feedback.")]
    assert events == ["feedback.spooled", "feedback.resumed"]


def test_a_failing_store_and_spool_raise_and_log_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        sink = FeedbackSink(FakeStore([DeliveryResult.REJECTED]).deliver, Spool(tmp_path / "none"))
        with pytest.raises(FileNotFoundError):
            await sink.accept(feedback(5))

    run(scenario())
    assert "feedback.lost" in [r.message for r in caplog.records]


@pytest.mark.parametrize(
    "result", [DeliveryResult.STORED, DeliveryResult.REJECTED, DeliveryResult.HANGING]
)
def test_feedback_of_a_cancelled_caller_is_stored_or_spooled(
    tmp_path: Path, result: DeliveryResult
) -> None:
    store = FakeStore([result])

    async def scenario() -> None:
        sink = FeedbackSink(store.deliver, Spool(tmp_path))
        task = asyncio.create_task(sink.accept(feedback(5)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sink.close()

    run(scenario())
    Spool(tmp_path).drain(store.store)
    assert store.feedback == [feedback(5)]


def test_the_spool_is_written_in_a_thread_after_a_cancellation_too(tmp_path: Path) -> None:
    """The event loop is not blocked."""
    spool = SlowSpool(tmp_path)

    async def scenario() -> None:
        sink = FeedbackSink(FakeStore([DeliveryResult.REJECTED]).deliver, spool)
        task = asyncio.create_task(sink.accept(feedback(5)))
        while spool.thread is None:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        spool.can_write.set()
        await sink.close()

    asyncio.run(scenario())
    assert spool.thread != threading.get_ident()
    assert drain(tmp_path).feedback == [feedback(5)]


def test_a_delivery_runs_in_an_empty_context(tmp_path: Path) -> None:
    """Serve cancels what runs in the context of a request when its client disconnects."""
    request: contextvars.ContextVar[str | None] = contextvars.ContextVar("request", default=None)
    seen: list[str | None] = []

    async def deliver(_: Batch) -> None:
        seen.append(request.get())

    async def scenario() -> None:
        request.set("r-1")
        await FeedbackSink(deliver, Spool(tmp_path)).accept(feedback(5))

    run(scenario())
    assert seen == [None]


def test_close_without_pending_feedback_returns(tmp_path: Path) -> None:
    run(FeedbackSink(FakeStore().deliver, Spool(tmp_path)).close())


@settings(max_examples=25)  # each writes to the disk
@given(
    pauses_s=st.lists(st.floats(0.0, 5.0), max_size=12),
    results=st.lists(st.sampled_from(DeliveryResult), max_size=12),
    default_result=st.sampled_from(
        [DeliveryResult.STORED, DeliveryResult.REJECTED, DeliveryResult.HANGING]
    ),
)
def test_accepted_feedback_is_in_the_store_or_the_spool(
    pauses_s: list[float], results: list[DeliveryResult], default_result: DeliveryResult
) -> None:
    """With any results of the store; and `accept` returns within one timeout."""
    store = FakeStore(results, default_result)
    accepted = []

    async def scenario(folder: Path) -> None:
        sink = FeedbackSink(store.deliver, Spool(folder), timeout_s=2.0)

        async def accept(at_ms: int) -> None:
            async with asyncio.timeout(2.01):
                await sink.accept(feedback(at_ms))
            on_disk = "".join(path.read_text() for path in folder.glob("*.json"))
            assert feedback(at_ms) in store.feedback or f'"at_ms":{at_ms},' in on_disk
            accepted.append(at_ms)

        async with asyncio.TaskGroup() as senders:
            for at_ms, pause_s in enumerate(pauses_s):
                senders.create_task(accept(at_ms))
                await asyncio.sleep(pause_s)

    with tempfile.TemporaryDirectory() as folder:
        run(scenario(Path(folder)))
        Spool(Path(folder)).drain(store.store)
    assert len(accepted) == len(pauses_s)
    assert [f.at_ms for f in store.feedback] == sorted(accepted)
