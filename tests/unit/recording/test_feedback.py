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
from tests.unit.recording.fakes import FakeStore, Fate, feedback, run, until


class SlowSpool(Spool):
    """Waits for an event; tells of the thread that writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.may_write = threading.Event()
        self.thread: int | None = None

    def write(self, batch: Batch) -> None:
        """See `Spool.write`."""
        self.thread = threading.get_ident()
        assert self.may_write.wait(timeout=60)
        super().write(batch)


def drained(folder: Path) -> FakeStore:
    """A store that took what a spool held."""
    store = FakeStore()
    Spool(folder).drain(store.take)
    return store


def test_feedback_is_delivered_before_it_is_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        await FeedbackSink(store.deliver, Spool(tmp_path)).accept(feedback(5))
        assert store.feedback == [feedback(5)]

    run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_a_batch_of_feedback_holds_nothing_else(tmp_path: Path) -> None:
    """It bears the desk's name, for feedback on other writers' answers comes here as well."""

    async def scenario() -> None:
        store = FakeStore()
        desk = FeedbackSink(store.deliver, Spool(tmp_path))
        for sequence in (1, 2):
            await desk.accept(feedback(5, sequence=sequence))
        one, other = store.taken
        assert one == Batch(other.writer, feedback=(feedback(5, sequence=1),))
        assert len(bytes.fromhex(one.writer)) == 6
        assert one.writer != feedback(5).writer

    run(scenario())


@pytest.mark.parametrize("fate", [Fate.REJECTED, Fate.CANCELLED])
def test_feedback_that_the_store_rejects_is_spooled_before_it_is_accepted(
    tmp_path: Path, fate: Fate
) -> None:
    async def scenario() -> None:
        await FeedbackSink(FakeStore([fate]).deliver, Spool(tmp_path)).accept(feedback(5))
        assert drained(tmp_path).feedback == [feedback(5)]

    run(scenario())


def test_a_hanging_delivery_is_given_up_after_its_timeout(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = FeedbackSink(FakeStore([Fate.HANGING]).deliver, Spool(tmp_path), timeout_s=1.5)
        await desk.accept(feedback(5))
        assert asyncio.get_running_loop().time() == pytest.approx(1.5)

    run(scenario())
    assert drained(tmp_path).feedback == [feedback(5)]


def test_after_a_failure_feedback_goes_straight_to_the_spool_for_a_while(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore([Fate.HANGING])
        desk = FeedbackSink(store.deliver, Spool(tmp_path), timeout_s=2.0, pause_s=2.0)
        loop = asyncio.get_running_loop()
        await desk.accept(feedback(1))
        await asyncio.sleep(1.5)
        before_s = loop.time()
        await desk.accept(feedback(2))
        assert (loop.time(), len(store.attempts)) == (before_s, 1)

        await asyncio.sleep(1)
        await desk.accept(feedback(3))
        await desk.accept(feedback(4))
        assert [f.at_ms for f in store.feedback] == [3, 4]

    run(scenario())
    assert [f.at_ms for f in drained(tmp_path).feedback] == [1, 2]


def test_only_one_tries_again_for_all(tmp_path: Path) -> None:
    """The others do not wait for it."""

    async def scenario() -> None:
        store = FakeStore([Fate.REJECTED], afterwards=Fate.HANGING)
        desk = FeedbackSink(store.deliver, Spool(tmp_path), timeout_s=2.0, pause_s=2.0)
        await desk.accept(feedback(1))
        await asyncio.sleep(3)
        trial = asyncio.create_task(desk.accept(feedback(2)))
        await until(lambda: len(store.attempts) == 2)
        async with asyncio.timeout(0.1):
            await desk.accept(feedback(3))
        await trial
        assert len(store.attempts) == 2

    run(scenario())
    assert [f.at_ms for f in drained(tmp_path).feedback] == [1, 2, 3]


def test_only_the_first_failure_and_the_recovery_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        desk = FeedbackSink(FakeStore([Fate.REJECTED] * 2).deliver, Spool(tmp_path))
        for at_ms in range(8):
            await desk.accept(feedback(at_ms))
            await asyncio.sleep(1)

    run(scenario())
    events = [r.message for r in caplog.records if r.message.startswith("feedback.")]
    assert events == ["feedback.spooling", "feedback.resumed"]


def test_feedback_that_neither_takes_is_an_error_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        desk = FeedbackSink(FakeStore([Fate.REJECTED]).deliver, Spool(tmp_path / "none"))
        with pytest.raises(FileNotFoundError):
            await desk.accept(feedback(5))

    run(scenario())
    assert "feedback.lost" in [r.message for r in caplog.records]


@pytest.mark.parametrize("fate", [Fate.TAKEN, Fate.REJECTED, Fate.HANGING])
def test_feedback_whose_sender_hangs_up_is_kept(tmp_path: Path, fate: Fate) -> None:
    store = FakeStore([fate])

    async def scenario() -> None:
        desk = FeedbackSink(store.deliver, Spool(tmp_path))
        accepting = asyncio.create_task(desk.accept(feedback(5)))
        await asyncio.sleep(0)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        await desk.close()

    run(scenario())
    Spool(tmp_path).drain(store.take)
    assert store.feedback == [feedback(5)]


def test_the_spool_is_written_in_a_thread_and_to_the_end(tmp_path: Path) -> None:
    """The loop goes on meanwhile, and a sender that hangs up changes nothing."""
    spool = SlowSpool(tmp_path)

    async def scenario() -> None:
        desk = FeedbackSink(FakeStore([Fate.REJECTED]).deliver, spool)
        accepting = asyncio.create_task(desk.accept(feedback(5)))
        while spool.thread is None:
            await asyncio.sleep(0.001)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        spool.may_write.set()
        await desk.close()

    asyncio.run(scenario())
    assert spool.thread != threading.get_ident()
    assert drained(tmp_path).feedback == [feedback(5)]


def test_a_delivery_does_not_run_in_the_context_of_its_request(tmp_path: Path) -> None:
    """Serve cancels the calls that it finds there when the client hangs up."""
    request: contextvars.ContextVar[str | None] = contextvars.ContextVar("request", default=None)
    seen: list[str | None] = []

    async def deliver(_: Batch) -> None:
        seen.append(request.get())

    async def scenario() -> None:
        request.set("r-1")
        await FeedbackSink(deliver, Spool(tmp_path)).accept(feedback(5))

    run(scenario())
    assert seen == [None]


def test_closing_without_anything_under_way_returns(tmp_path: Path) -> None:
    run(FeedbackSink(FakeStore().deliver, Spool(tmp_path)).close())


@settings(max_examples=25)  # each writes to the disk
@given(
    pauses_s=st.lists(st.floats(0.0, 5.0), max_size=12),
    fates=st.lists(st.sampled_from(Fate), max_size=12),
    afterwards=st.sampled_from([Fate.TAKEN, Fate.REJECTED, Fate.HANGING]),
)
def test_what_is_accepted_is_in_the_store_or_in_the_spool(
    pauses_s: list[float], fates: list[Fate], afterwards: Fate
) -> None:
    """Whatever the store does; and nobody waits for longer than one timeout."""
    store = FakeStore(fates, afterwards)
    accepted = []

    async def scenario(folder: Path) -> None:
        desk = FeedbackSink(store.deliver, Spool(folder), timeout_s=2.0)

        async def tell(at_ms: int) -> None:
            async with asyncio.timeout(2.01):
                await desk.accept(feedback(at_ms))
            on_disk = "".join(path.read_text() for path in folder.glob("*.json"))
            assert feedback(at_ms) in store.feedback or f'"at_ms":{at_ms},' in on_disk
            accepted.append(at_ms)

        async with asyncio.TaskGroup() as senders:
            for at_ms, pause_s in enumerate(pauses_s):
                senders.create_task(tell(at_ms))
                await asyncio.sleep(pause_s)

    with tempfile.TemporaryDirectory() as folder:
        run(scenario(Path(folder)))
        Spool(Path(folder)).drain(store.take)
    assert len(accepted) == len(pauses_s)
    assert [f.at_ms for f in store.feedback] == sorted(accepted)
