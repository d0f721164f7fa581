"""What a replica makes of its network's numbers, and where the network runs."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from models import classifier
from models.network import Floats
from models.preprocess import Pixels
from serve_app.data_plane.pools import Prediction, Unavailable
from serve_app.serving import networks
from serve_app.serving.networks import NetworkRunner

V1 = classifier.load("v1")
SIDE = V1.card.input.side
ONE, TWO = (np.zeros((n, SIDE, SIDE, 3), np.uint8) for n in (1, 2))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network of these tests is slow, however busy the machine is."""
    monkeypatch.setattr(networks, "INLINE_MS", 60_000.0)


@dataclass
class Network:
    """Answers once it may, and notes in which thread it ran."""

    may_end: threading.Event = field(default_factory=threading.Event)
    threads: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_end.set()

    def logits(self, pixels: Pixels) -> Floats:
        """See `Network.logits`."""
        self.threads.append(threading.get_ident())
        assert self.may_end.wait(60)
        return np.zeros((len(pixels), 2), np.float32)

    @property
    def ran_inline(self) -> list[bool]:
        return [thread == threading.get_ident() for thread in self.threads]


def ran_inline(network: Network, *batches: Pixels, background: bool = False) -> list[bool]:
    """Whether each of some batches, one after the other, ran in the event loop's thread."""

    async def play() -> None:
        runner = NetworkRunner()
        runner.set_background(background)
        for pixels in batches:
            await runner.run(replace(V1, network=network), pixels)

    asyncio.run(play())
    return network.ran_inline


def test_probabilities_are_an_answer() -> None:
    answer = asyncio.run(NetworkRunner().run(V1, TWO))
    assert isinstance(answer, Prediction)
    assert (answer.version, answer.labels) == ("v1", ("cat", "dog"))
    assert answer.probabilities == pytest.approx(V1.probabilities(TWO))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_probabilities_that_are_not_finite_are_no_answer(number: float) -> None:
    class Broken:
        """A network with a hole in its last answer."""

        def logits(self, pixels: Pixels) -> Floats:
            """See `Network.logits`."""
            logits = np.zeros((len(pixels), 2), np.float32)
            logits[-1, 0] = number
            return logits

    broken = replace(V1, network=Broken())
    assert asyncio.run(NetworkRunner().run(broken, TWO)) == Unavailable(
        "the network of v1 gave no probabilities"
    )


def test_a_lone_image_of_a_quick_network_runs_in_the_event_loop_once_that_is_known() -> None:
    assert ran_inline(Network(), ONE, ONE, ONE) == [False, True, True]


def test_a_batch_runs_in_a_thread() -> None:
    assert ran_inline(Network(), ONE, TWO, ONE) == [False, False, True]


def test_a_slow_network_runs_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "INLINE_MS", 0.0)
    assert ran_inline(Network(), ONE, ONE) == [False, False]


def test_a_network_in_the_background_runs_in_its_thread() -> None:
    """Only that thread has the low priority."""
    assert ran_inline(Network(), ONE, ONE, background=True) == [False, False]


def test_a_lone_image_waits_for_the_batch_that_runs() -> None:
    """One batch at a time, or a replica would take two processors."""
    network = Network()

    async def play() -> None:
        runner = NetworkRunner()
        quick = replace(V1, network=network)
        await runner.run(quick, ONE)
        await asyncio.gather(runner.run(quick, TWO), runner.run(quick, ONE))
        await runner.run(quick, ONE)

    asyncio.run(play())
    assert network.ran_inline == [False, False, False, True]


async def until_begun(network: Network, batches: int) -> None:
    async with asyncio.timeout(60):
        while len(network.threads) < batches:
            await asyncio.sleep(0.001)


def test_a_lone_image_does_not_run_inline_while_an_abandoned_batch_still_runs() -> None:
    """A thread cannot be cancelled."""
    network = Network()

    async def play() -> None:
        runner = NetworkRunner()
        quick = replace(V1, network=network)
        await runner.run(quick, ONE)
        network.may_end.clear()
        abandoned = asyncio.create_task(runner.run(quick, TWO))
        await until_begun(network, 2)
        abandoned.cancel()
        await asyncio.wait([abandoned])
        lone = asyncio.create_task(runner.run(quick, ONE))
        await asyncio.sleep(0)
        assert not lone.done()
        network.may_end.set()
        await lone
        await runner.run(quick, ONE)

    asyncio.run(play())
    assert network.ran_inline == [False, False, False, True]


def test_a_change_of_priority_loses_no_batch() -> None:
    network = Network()

    async def play() -> list[Prediction | Unavailable]:
        runner = NetworkRunner()
        network.may_end.clear()
        first = asyncio.create_task(runner.run(replace(V1, network=network), TWO))
        await until_begun(network, 1)
        runner.set_background(True)
        second = asyncio.create_task(runner.run(replace(V1, network=network), TWO))
        await until_begun(network, 2)
        network.may_end.set()
        return [await first, await second]

    assert [isinstance(reply, Prediction) for reply in asyncio.run(play())] == [True, True]
    assert len(set(network.threads)) == 2
