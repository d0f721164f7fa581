from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.records import Exposure, Feedback, ShadowPair
from serve_app.recording.spool import Spool
from tests.factories import exposure
from tests.unit.recording.fakes import FakeStore

WRITER = "0123456789ab"


def batch(*sequences: int) -> Batch:
    exposures = tuple(exposure(n) for n in sequences)
    return Batch(WRITER, exposures=exposures, last_sequence=max(sequences))


finite = st.floats(allow_nan=False, allow_infinity=False)
batches = st.builds(
    Batch,
    writer=st.just(WRITER),
    adoptions=st.lists(
        st.builds(Adoption, at_ms=st.integers(), rule_id=st.text(), rule=st.text()), max_size=3
    ).map(tuple),
    exposures=st.lists(
        st.builds(Exposure, confidence=st.none() | finite, latency_ms=finite, model_ms=finite),
        max_size=3,
    ).map(tuple),
    pairs=st.lists(
        st.builds(
            ShadowPair,
            probability=finite,
            confidence=st.none() | finite,
            latency_ms=st.none() | finite,
            model_ms=st.none() | finite,
        ),
        max_size=3,
    ).map(tuple),
    feedback=st.lists(st.from_type(Feedback), max_size=3).map(tuple),
    last_sequence=st.integers(),
    dropped=st.integers(),
    dropped_pairs=st.integers(),
)


@settings(max_examples=25)  # each draws dozens of rows
@given(written=st.lists(batches, max_size=8))
def test_drained_batches_are_unchanged_and_in_order(written: list[Batch]) -> None:
    store = FakeStore()
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        for one in written:
            spool.write(one)
        Spool(Path(folder)).drain(store.store)
        assert list(Path(folder).iterdir()) == []
    assert store.batches == written


def test_drain_returns_the_number_of_exposures(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(batch(1, 2))
    spool.write(batch(3))
    assert spool.drain(FakeStore().store) == 3
    assert spool.drain(FakeStore().store) == 0


def test_a_batch_without_pairs_and_feedback_is_readable(tmp_path: Path) -> None:
    """An older release of the ingress spooled it."""
    (tmp_path / f"{WRITER}-000001.json").write_text(
        f'{{"writer":"{WRITER}","adoptions":[{{"at_ms":5,"rule_id":"9f31c0aa","rule":"{{}}"}}],'
        '"exposures":[],"last_sequence":3,"dropped":1}'
    )
    store = FakeStore()
    Spool(tmp_path).drain(store.store)
    adoptions = (Adoption(5, "9f31c0aa", "{}"),)
    assert store.batches == [Batch(WRITER, adoptions, last_sequence=3, dropped=1)]


def test_a_pair_without_live_fields_is_readable(tmp_path: Path) -> None:
    (tmp_path / f"{WRITER}-000001.json").write_text(
        f'{{"writer":"{WRITER}","pairs":[{{"writer":"{WRITER}","sequence":1,"at_ms":5,'
        '"rule_id":"9f31c0aa","candidate":"v2","outcome":"shed","probability":1.0,"label":null,'
        '"confidence":null,"latency_ms":null,"model_ms":null,"error":"full"}]}'
    )
    store = FakeStore()
    Spool(tmp_path).drain(store.store)
    ((one,),) = (batch.pairs for batch in store.batches)
    assert (one.live_version, one.live_latency_ms, one.region) == (None, None, None)


def test_concurrent_writes_lose_no_batch(tmp_path: Path) -> None:
    """Feedback is written in threads, also while the recorder closes."""
    spool = Spool(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(spool.write, [batch(n) for n in range(1, 41)]))
    store = FakeStore()
    assert spool.drain(store.store) == 40
    assert store.sequences == list(range(1, 41))


def test_a_batch_file_is_private(tmp_path: Path) -> None:
    Spool(tmp_path).write(batch(1))
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_write_syncs_the_file_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut loses feedback that was accepted."""
    synced: list[tuple[bool, list[str], int]] = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        names = [path.suffix for path in tmp_path.iterdir()]
        synced.append((stat.S_ISDIR(status.st_mode), names, status.st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    Spool(tmp_path).write(batch(1))
    (path,) = tmp_path.iterdir()
    (_, draft, written), (is_folder, names, _) = synced
    assert (draft, written) == ([".tmp"], path.stat().st_size)
    assert (is_folder, names) == (True, [".json"])


def test_a_failed_write_raises_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        Spool(tmp_path).write(batch(1))
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_cannot_be_stored_keeps_its_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(batch(1))

    def fail(_: Batch) -> NoReturn:
        raise ConnectionError("the store is down")

    with pytest.raises(ConnectionError):
        spool.drain(fail)
    assert spool.drain(FakeStore().store) == 1


def test_a_draft_is_not_read(tmp_path: Path) -> None:
    """A process that dies during a write leaves a draft."""
    Spool(tmp_path).write(batch(1))
    (path,) = tmp_path.iterdir()
    path.rename(path.with_suffix(".tmp"))
    assert Spool(tmp_path).drain(FakeStore().store) == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-10],
        lambda content: b"\xff" + content,
        lambda content: b"{}",
        lambda content: content.replace(b'"sequence":1', b'"sequence":"1"'),
    ],
    ids=["empty", "cut off", "not UTF-8", "not a batch", "a string instead of a number"],
)
def test_a_damaged_file_is_renamed_and_the_others_are_stored(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path)
    spool.write(batch(1))
    (path,) = tmp_path.iterdir()
    content = damage(path.read_bytes())
    path.write_bytes(content)
    spool.write(batch(2))

    store = FakeStore()
    assert spool.drain(store.store) == 1
    assert store.sequences == [2]
    (damaged,) = tmp_path.iterdir()
    assert (damaged.suffix, damaged.read_bytes()) == (".damaged", content)
    assert [r.message for r in caplog.records] == ["spool.damaged"]


def test_two_processes_can_drain_one_folder(tmp_path: Path) -> None:
    """A file that another process has removed is not an error."""
    spool = Spool(tmp_path)
    spool.write(batch(1))
    spool.write(batch(2))
    other = FakeStore()
    mine: list[Batch] = []

    def store(one: Batch) -> None:
        mine.append(one)
        Spool(tmp_path).drain(other.store)

    assert spool.drain(store) == 1
    assert other.sequences == [1, 2]
