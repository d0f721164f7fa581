from __future__ import annotations

import asyncio
import logging
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.recording.recorder import MAX_KEPT, MAX_KEPT_PER_BATCH, Recorder
from serve_app.recording.spool import Spool
from tests.factories import exposure, kept_image, pair
from tests.unit.recording.fakes import DeliveryResult, FakeStore, run, wait_until

RULE = '{"kind":"single","stable":"v1"}'


def record(recorder: Recorder, count: int = 1) -> None:
    for _ in range(count):
        recorder.record(exposure(recorder.next_sequence(), writer=recorder.writer))


def record_pairs(recorder: Recorder, count: int = 1) -> None:
    for _ in range(count):
        recorder.record_pair(pair(recorder.pairs.recorded + 1, writer=recorder.writer))


def test_a_writer_has_a_random_id_and_numbers_exposures_from_1(tmp_path: Path) -> None:
    one, other = (Recorder(FakeStore().deliver, Spool(tmp_path)) for _ in range(2))
    assert len(bytes.fromhex(one.writer)) == 6
    assert one.writer != other.writer
    assert [one.next_sequence() for _ in range(3)] == [1, 2, 3]


def test_a_partial_batch_is_delivered_after_the_interval(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path), batch_size=3, interval_s=0.5)
        recorder.start()
        record(recorder, 2)
        await wait_until(lambda: recorder.delivered == 2)
        assert [time_s for time_s, _ in store.attempts] == [0.5]

    run(scenario())


def test_a_full_batch_is_delivered_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path), batch_size=3, interval_s=0.5)
        recorder.start()
        record(recorder, 7)
        await wait_until(lambda: recorder.delivered == 7)
        assert [(time_s, len(batch.exposures)) for time_s, batch in store.attempts] == [
            (0.0, 3),
            (0.0, 3),
            (0.5, 1),
        ]

    run(scenario())


def test_empty_buffers_cause_no_delivery(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path))
        recorder.start()
        await asyncio.sleep(600)
        await recorder.close(timeout_s=1)
        assert store.attempts == []

    run(scenario())


def test_nothing_is_delivered_before_start(tmp_path: Path) -> None:
    """A recorder is created before the event loop of its replica runs."""

    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path))
        recorder.record_adoption("9f31c0aa", RULE, at_ms=5)
        record(recorder)
        await asyncio.sleep(60)
        assert store.attempts == []
        recorder.start()
        await wait_until(lambda: recorder.delivered == 1)

    run(scenario())


@pytest.mark.parametrize(
    "result",
    [
        DeliveryResult.REJECTED,
        DeliveryResult.HANGING,
        DeliveryResult.CANCELLED,
        DeliveryResult.RESPONSE_LOST,
    ],
)
def test_a_failed_batch_is_retried_unchanged(tmp_path: Path, result: DeliveryResult) -> None:
    """Exposures that arrive meanwhile go to the next batch."""

    async def scenario() -> None:
        store = FakeStore([result, result])
        recorder = Recorder(store.deliver, Spool(tmp_path), batch_size=10)
        recorder.start()
        record(recorder, 2)
        await wait_until(lambda: len(store.attempts) == 1)
        record(recorder)
        await wait_until(lambda: recorder.delivered == 3)

        first, second, third, last = (batch for _, batch in store.attempts)
        assert first is second is third
        assert [e.sequence for e in first.exposures] == [1, 2]
        assert [e.sequence for e in last.exposures] == [3]

    run(scenario())


def test_a_hanging_delivery_times_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore([DeliveryResult.HANGING])
        recorder = Recorder(store.deliver, Spool(tmp_path), interval_s=0.5, timeout_s=2.0)
        recorder.start()
        record(recorder)
        await wait_until(lambda: recorder.delivered == 1)
        first_s, second_s = (time_s for time_s, _ in store.attempts)
        assert second_s - first_s == pytest.approx(2.0 + 0.5)

    run(scenario())


def test_the_pauses_double_up_to_5_seconds_and_reset_after_a_success(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore(
            [DeliveryResult.REJECTED] * 6 + [DeliveryResult.STORED, DeliveryResult.REJECTED]
        )
        recorder = Recorder(store.deliver, Spool(tmp_path), interval_s=0.5)
        recorder.start()
        record(recorder)
        await wait_until(lambda: recorder.delivered == 1)
        record(recorder)
        await wait_until(lambda: recorder.delivered == 2)

        times_s = [time_s for time_s, _ in store.attempts]
        pauses_s = [after - before for before, after in pairwise(times_s)]
        assert pauses_s[:6] == pytest.approx([0.5, 1, 2, 4, 5, 5])
        assert pauses_s[-1] == pytest.approx(0.5)

    run(scenario())


def test_only_the_first_failure_and_the_recovery_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        store = FakeStore([DeliveryResult.REJECTED] * 5)
        recorder = Recorder(store.deliver, Spool(tmp_path))
        recorder.start()
        for delivered in (1, 2):
            record(recorder)
            await wait_until(lambda: recorder.delivered == delivered)  # noqa: B023 awaited here

    run(scenario())
    events = [r.message for r in caplog.records if r.message.startswith("recording.")]
    assert events == ["recording.stalled", "recording.resumed"]


def test_a_full_buffer_drops_and_counts_new_exposures(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path), capacity=3)
        record(recorder, 5)
        assert (recorder.recorded, recorder.waiting, recorder.dropped) == (5, 3, 2)

        recorder.start()
        await wait_until(lambda: recorder.delivered == 3)
        ((_, batch),) = store.attempts
        assert [e.sequence for e in batch.exposures] == [1, 2, 3]
        assert (batch.last_sequence, batch.dropped) == (5, 2)

        record(recorder)
        await wait_until(lambda: recorder.delivered == 4)
        assert recorder.dropped == 2

    run(scenario())


def test_pairs_and_exposures_share_a_batch(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path))
        recorder.start()
        record(recorder, 2)
        record_pairs(recorder)
        record(recorder)
        await wait_until(lambda: recorder.delivered == 3)
        (batch,) = store.batches
        assert [e.sequence for e in batch.exposures] == [1, 2, 3]
        assert [p.sequence for p in batch.pairs] == [1]
        assert (recorder.pairs.delivered, recorder.pairs.waiting) == (1, 0)

    run(scenario())


def test_pairs_are_delivered_without_exposures(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path), interval_s=0.5)
        recorder.start()
        record_pairs(recorder, 2)
        await wait_until(lambda: recorder.pairs.delivered == 2)
        assert [(time_s, len(batch.pairs)) for time_s, batch in store.attempts] == [(0.5, 2)]

    run(scenario())


def test_a_full_batch_of_either_is_delivered_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path), batch_size=3, interval_s=0.5)
        recorder.start()
        record(recorder, 4)
        record_pairs(recorder, 8)
        await wait_until(lambda: recorder.pairs.delivered == 8)
        sizes = [(at_s, len(b.exposures), len(b.pairs)) for at_s, b in store.attempts]
        assert sizes == [(0.0, 3, 3), (0.0, 1, 3), (0.5, 0, 2)]

    run(scenario())


def test_dropped_pairs_have_a_separate_count(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path), capacity=3)
        record(recorder, 3)
        record_pairs(recorder, 5)
        assert (recorder.pairs.recorded, recorder.pairs.waiting) == (5, 3)
        assert (recorder.pairs.dropped, recorder.dropped) == (2, 0)

        recorder.start()
        await wait_until(lambda: recorder.pairs.delivered == 3)
        ((_, batch),) = store.attempts
        assert [p.sequence for p in batch.pairs] == [1, 2, 3]
        assert (batch.dropped_pairs, batch.dropped) == (2, 0)

    run(scenario())


def test_kept_images_are_delivered_in_small_batches_after_the_interval(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path), interval_s=0.5)
        recorder.start()
        for number in range(1, MAX_KEPT_PER_BATCH + 3):
            recorder.record_kept(kept_image(number))
        record(recorder)
        await wait_until(lambda: recorder.kept.delivered == MAX_KEPT_PER_BATCH + 2)
        sizes = [(at_s, len(b.exposures), len(b.kept)) for at_s, b in store.attempts]
        assert sizes == [(0.5, 1, MAX_KEPT_PER_BATCH), (1.0, 0, 2)]

    run(scenario())


def test_kept_images_beyond_the_buffer_are_dropped_and_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        recorder = Recorder(FakeStore().deliver, Spool(tmp_path))
        for number in range(MAX_KEPT + 3):
            recorder.record_kept(kept_image(number))
        recorder.kept.drop()
        counts = recorder.kept
        assert (counts.recorded, counts.waiting, counts.dropped) == (MAX_KEPT + 4, MAX_KEPT, 4)

    run(scenario())


def test_undelivered_images_are_spooled_unchanged(tmp_path: Path) -> None:
    store = FakeStore(default_result=DeliveryResult.REJECTED)

    async def scenario() -> None:
        recorder = Recorder(store.deliver, Spool(tmp_path))
        recorder.record_kept(kept_image(1))
        await recorder.close(timeout_s=1)
        assert recorder.kept.spooled == 1

    run(scenario())
    Spool(tmp_path).drain(store.store)
    assert [batch.kept for batch in store.batches] == [(kept_image(1),)]


def test_an_adoption_is_delivered_without_exposures(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path))
        recorder.start()
        recorder.record_adoption("9f31c0aa", RULE, at_ms=5)
        await wait_until(lambda: bool(store.batches))
        (batch,) = store.batches
        ((at_ms, rule_id, rule),) = [(a.at_ms, a.rule_id, a.rule) for a in batch.adoptions]
        assert (at_ms, rule_id, rule) == (5, "9f31c0aa", RULE)
        assert batch.exposures == ()

    run(scenario())


def test_adoptions_are_never_dropped(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore()
        recorder = Recorder(store.deliver, Spool(tmp_path), capacity=1)
        record(recorder, 2)
        for at_ms in range(10):
            recorder.record_adoption("9f31c0aa", RULE, at_ms)
        recorder.start()
        await wait_until(lambda: bool(store.batches))
        assert [a.at_ms for a in store.batches[0].adoptions] == list(range(10))

    run(scenario())


def test_close_delivers_waiting_exposures(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeStore([DeliveryResult.REJECTED])
        recorder = Recorder(store.deliver, Spool(tmp_path), batch_size=10)
        recorder.start()
        record(recorder, 25)
        await recorder.close(timeout_s=5)
        assert store.sequences == list(range(1, 26))
        assert (recorder.delivered, recorder.waiting, recorder.spooled) == (25, 0, 0)

    run(scenario())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("result", [DeliveryResult.REJECTED, DeliveryResult.HANGING])
def test_close_spools_undelivered_entries_after_its_timeout(
    tmp_path: Path, result: DeliveryResult
) -> None:
    store = FakeStore([DeliveryResult.STORED], default_result=result)

    async def scenario() -> None:
        recorder = Recorder(store.deliver, Spool(tmp_path), batch_size=10)
        recorder.start()
        record(recorder, 25)
        record_pairs(recorder, 12)
        recorder.record_adoption("9f31c0aa", RULE, at_ms=5)
        await wait_until(lambda: len(store.attempts) == 2)
        before_s = asyncio.get_running_loop().time()
        await recorder.close(timeout_s=3)
        assert asyncio.get_running_loop().time() - before_s == pytest.approx(3)
        assert (recorder.delivered, recorder.waiting, recorder.spooled) == (10, 0, 15)
        pairs = recorder.pairs
        assert (pairs.delivered, pairs.waiting, pairs.spooled) == (10, 0, 2)

    run(scenario())
    assert Spool(tmp_path).drain(store.store) == 15
    assert store.sequences == list(range(1, 26))
    assert store.pair_sequences == list(range(1, 13))
    assert [a.at_ms for batch in store.batches for a in batch.adoptions] == [5]


def test_a_cancelled_close_still_spools(tmp_path: Path) -> None:
    """Serve may kill a replica while it closes."""
    store = FakeStore(default_result=DeliveryResult.HANGING)

    async def scenario() -> None:
        recorder = Recorder(store.deliver, Spool(tmp_path))
        recorder.start()
        record(recorder, 2)
        closing = asyncio.create_task(recorder.close(timeout_s=60))
        await wait_until(lambda: len(store.attempts) == 1)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    run(scenario())
    Spool(tmp_path).drain(store.store)
    assert store.sequences == [1, 2]


def test_entries_recorded_after_close_are_dropped_and_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        recorder = Recorder(FakeStore().deliver, Spool(tmp_path))
        recorder.start()
        await recorder.close(timeout_s=1)
        record(recorder)
        record_pairs(recorder)
        assert (recorder.dropped, recorder.waiting) == (1, 0)
        assert (recorder.pairs.dropped, recorder.pairs.waiting) == (1, 0)

    run(scenario())


def test_a_failing_spool_is_an_error(tmp_path: Path) -> None:
    """The loss must not go unnoticed."""

    async def scenario() -> None:
        recorder = Recorder(
            FakeStore(default_result=DeliveryResult.REJECTED).deliver, Spool(tmp_path / "none")
        )
        record(recorder)
        with pytest.raises(FileNotFoundError):
            await recorder.close(timeout_s=1)
        assert recorder.waiting == 1

    run(scenario())


# Actions of an ingress: n exposures, n pairs, a new rule, or a pause in seconds.
exposures = st.tuples(st.just("exposures"), st.integers(1, 12))
pairs = st.tuples(st.just("pairs"), st.integers(1, 12))
adoption = st.just("adoption")
pause = st.floats(0.0, 8.0)


@given(
    actions=st.lists(exposures | pairs | adoption | pause, max_size=25),
    results=st.lists(st.sampled_from(DeliveryResult), max_size=25),
    default_result=st.sampled_from(
        [DeliveryResult.STORED, DeliveryResult.REJECTED, DeliveryResult.HANGING]
    ),
)
def test_everything_recorded_is_stored_or_counted_as_dropped(
    actions: list[tuple[str, int] | str | float],
    results: list[DeliveryResult],
    default_result: DeliveryResult,
) -> None:
    """With any results of the store. Adoptions arrive before, or with, the entries after them."""
    store = FakeStore(results, default_result)
    adopted: list[int] = []  # at_ms of an adoption is its index
    adoptions_before: dict[
        int, int
    ] = {}  # sequence number of an exposure to the number of adoptions before it
    adoptions_before_pair: dict[int, int] = {}

    async def scenario(folder: Path) -> Recorder:
        recorder = Recorder(store.deliver, Spool(folder), capacity=20, batch_size=5)
        recorder.start()
        for action in actions:
            match action:
                case ("exposures", int(count)):
                    for _ in range(count):
                        record(recorder)
                        adoptions_before[recorder.recorded] = len(adopted)
                case ("pairs", int(count)):
                    for _ in range(count):
                        record_pairs(recorder)
                        adoptions_before_pair[recorder.pairs.recorded] = len(adopted)
                case str():
                    adopted.append(len(adopted))
                    recorder.record_adoption("9f31c0aa", RULE, at_ms=adopted[-1])
                case float(seconds):
                    await asyncio.sleep(seconds)
            for counts in (recorder, recorder.pairs):
                assert counts.recorded == counts.delivered + counts.dropped + counts.waiting
        await recorder.close(timeout_s=2)
        for counts in (recorder, recorder.pairs):
            assert counts.waiting == 0
            assert counts.recorded == counts.delivered + counts.dropped + counts.spooled
        return recorder

    with tempfile.TemporaryDirectory() as folder:
        recorder = run(scenario(Path(folder)))
        Spool(Path(folder)).drain(store.store)

    assert len(store.sequences) == recorder.recorded - recorder.dropped
    assert len(store.pair_sequences) == recorder.pairs.recorded - recorder.pairs.dropped
    delivered_adoptions: list[int] = []
    for batch in dict.fromkeys(store.batches):
        assert max(len(batch.exposures), len(batch.pairs)) <= 5
        delivered_adoptions += [adoption.at_ms for adoption in batch.adoptions]
        assert all(
            adoptions_before[e.sequence] <= len(delivered_adoptions) for e in batch.exposures
        )
        assert all(
            adoptions_before_pair[p.sequence] <= len(delivered_adoptions) for p in batch.pairs
        )
    assert delivered_adoptions == adopted
