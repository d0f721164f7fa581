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

from serve_app.domain import Exposure, Feedback, ShadowPair
from serve_app.recording.batch import Adoption, Batch
from serve_app.recording.spool import Spool
from tests.unit.recording.fakes import FakeStore, exposure

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
def test_batches_come_back_as_they_were_and_in_order(written: list[Batch]) -> None:
    store = FakeStore()
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        for one in written:
            spool.write(one)
        Spool(Path(folder)).drain(store.take)
        assert list(Path(folder).iterdir()) == []
    assert store.taken == written


def test_draining_tells_how_many_exposures_there_were(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(batch(1, 2))
    spool.write(batch(3))
    assert spool.drain(FakeStore().take) == 3
    assert spool.drain(FakeStore().take) == 0


def test_a_batch_of_an_older_ingress_has_neither_pairs_nor_feedback(tmp_path: Path) -> None:
    """What it spooled is read by the program that replaced it."""
    (tmp_path / f"{WRITER}-000001.json").write_text(
        f'{{"writer":"{WRITER}","adoptions":[{{"at_ms":5,"rule_id":"9f31c0aa","rule":"{{}}"}}],'
        '"exposures":[],"last_sequence":3,"dropped":1}'
    )
    store = FakeStore()
    Spool(tmp_path).drain(store.take)
    adoptions = (Adoption(5, "9f31c0aa", "{}"),)
    assert store.taken == [Batch(WRITER, adoptions, last_sequence=3, dropped=1)]


def test_a_pair_of_an_older_ingress_says_nothing_of_the_live_answer(tmp_path: Path) -> None:
    (tmp_path / f"{WRITER}-000001.json").write_text(
        f'{{"writer":"{WRITER}","pairs":[{{"writer":"{WRITER}","sequence":1,"at_ms":5,'
        '"rule_id":"9f31c0aa","candidate":"v2","outcome":"shed","probability":1.0,"label":null,'
        '"confidence":null,"latency_ms":null,"model_ms":null,"error":"full"}]}'
    )
    store = FakeStore()
    Spool(tmp_path).drain(store.take)
    ((one,),) = (taken.pairs for taken in store.taken)
    assert (one.live_version, one.live_latency_ms, one.region) == (None, None, None)


def test_threads_may_write_at_once(tmp_path: Path) -> None:
    """Feedback is written in threads of its own, also while the recorder closes."""
    spool = Spool(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(spool.write, [batch(n) for n in range(1, 41)]))
    store = FakeStore()
    assert spool.drain(store.take) == 40
    assert store.sequences == list(range(1, 41))


def test_nobody_else_can_read_a_batch(tmp_path: Path) -> None:
    Spool(tmp_path).write(batch(1))
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_batch_is_on_disk_before_its_name_and_its_name_before_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut takes feedback whose sender was thanked."""
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


def test_what_cannot_be_written_is_told_and_leaves_no_file(
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
        raise ConnectionError("the store is away")

    with pytest.raises(ConnectionError):
        spool.drain(fail)
    assert spool.drain(FakeStore().take) == 1


def test_an_unfinished_file_is_not_read(tmp_path: Path) -> None:
    """A process that dies while it writes leaves a draft, never half a batch."""
    Spool(tmp_path).write(batch(1))
    (path,) = tmp_path.iterdir()
    path.rename(path.with_suffix(".tmp"))
    assert Spool(tmp_path).drain(FakeStore().take) == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-10],
        lambda content: b"\xff" + content,
        lambda content: b"{}",
        lambda content: content.replace(b'"sequence":1', b'"sequence":"1"'),
    ],
    ids=["empty", "cut off", "not UTF-8", "not a batch", "a text for a number"],
)
def test_a_damaged_file_is_put_aside_and_the_others_are_stored(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path)
    spool.write(batch(1))
    (path,) = tmp_path.iterdir()
    content = damage(path.read_bytes())
    path.write_bytes(content)
    spool.write(batch(2))

    store = FakeStore()
    assert spool.drain(store.take) == 1
    assert store.sequences == [2]
    (aside,) = tmp_path.iterdir()
    assert (aside.suffix, aside.read_bytes()) == (".damaged", content)
    assert [r.message for r in caplog.records] == ["spool.damaged"]


def test_two_processes_may_drain_one_folder(tmp_path: Path) -> None:
    """The file that another one removed meanwhile is no error."""
    spool = Spool(tmp_path)
    spool.write(batch(1))
    spool.write(batch(2))
    other = FakeStore()
    mine: list[Batch] = []

    def store(one: Batch) -> None:
        mine.append(one)
        Spool(tmp_path).drain(other.take)

    assert spool.drain(store) == 1
    assert other.sequences == [1, 2]
