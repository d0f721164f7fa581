"""Predictions of a replica's networks, and the thread that a network runs in."""

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
def raise_inline_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks count as fast even on a busy machine."""
    monkeypatch.setattr(networks, "INLINE_MS", 60_000.0)


@dataclass
class Network:
    """Waits for `may_end`, and records the thread of each run."""

    may_end: threading.Event = field(default_factory=threading.Event)
    threads: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_end.set()

    def logits(self, pixels: Pixels) -> Floats:
        self.threads.append(threading.get_ident())
        assert self.may_end.wait(60)
        return np.zeros((len(pixels), 2), np.float32)

    @property
    def ran_inline(self) -> list[bool]:
        return [thread == threading.get_ident() for thread in self.threads]


def run_batches(network: Network, *batches: Pixels, background: bool = False) -> list[bool]:
    """Run batches one after the other; whether each ran in the event loop's thread."""

    async def scenario() -> None:
        runner = NetworkRunner()
        runner.set_background(background)
        for pixels in batches:
            await runner.run(replace(V1, network=network), pixels)

    asyncio.run(scenario())
    return network.ran_inline


def test_run_returns_a_prediction() -> None:
    prediction = asyncio.run(NetworkRunner().run(V1, TWO))
    assert isinstance(prediction, Prediction)
    assert (prediction.version, prediction.labels) == ("v1", ("cat", "dog"))
    assert prediction.probabilities == pytest.approx(V1.probabilities(TWO))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_non_finite_probabilities_are_unavailable(number: float) -> None:
    class Broken:
        """A network with a non-finite logit of the last image."""

        def logits(self, pixels: Pixels) -> Floats:
            logits = np.zeros((len(pixels), 2), np.float32)
            logits[-1, 0] = number
            return logits

    broken = replace(V1, network=Broken())
    assert asyncio.run(NetworkRunner().run(broken, TWO)) == Unavailable(
        "the network of v1 gave non-finite probabilities"
    )


def test_a_single_image_runs_inline_after_a_fast_run() -> None:
    assert run_batches(Network(), ONE, ONE, ONE) == [False, True, True]


def test_a_batch_runs_in_a_thread() -> None:
    assert run_batches(Network(), ONE, TWO, ONE) == [False, False, True]


def test_a_slow_network_runs_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "INLINE_MS", 0.0)
    assert run_batches(Network(), ONE, ONE) == [False, False]


def test_a_background_network_runs_in_a_thread() -> None:
    """Only the thread has the low priority."""
    assert run_batches(Network(), ONE, ONE, background=True) == [False, False]


def test_a_single_image_waits_for_a_running_batch() -> None:
    """Two at a time would use two cores."""
    network = Network()

    async def scenario() -> None:
        runner = NetworkRunner()
        fast = replace(V1, network=network)
        await runner.run(fast, ONE)
        await asyncio.gather(runner.run(fast, TWO), runner.run(fast, ONE))
        await runner.run(fast, ONE)

    asyncio.run(scenario())
    assert network.ran_inline == [False, False, False, True]


async def wait_for_batches(network: Network, batches: int) -> None:
    async with asyncio.timeout(60):
        while len(network.threads) < batches:
            await asyncio.sleep(0.001)


def test_a_single_image_does_not_run_inline_during_a_cancelled_batch() -> None:
    """A thread cannot be cancelled."""
    network = Network()

    async def scenario() -> None:
        runner = NetworkRunner()
        fast = replace(V1, network=network)
        await runner.run(fast, ONE)
        network.may_end.clear()
        cancelled = asyncio.create_task(runner.run(fast, TWO))
        await wait_for_batches(network, 2)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        single = asyncio.create_task(runner.run(fast, ONE))
        await asyncio.sleep(0)
        assert not single.done()
        network.may_end.set()
        await single
        await runner.run(fast, ONE)

    asyncio.run(scenario())
    assert network.ran_inline == [False, False, False, True]


def test_a_change_of_priority_loses_no_batch() -> None:
    network = Network()

    async def scenario() -> list[Prediction | Unavailable]:
        runner = NetworkRunner()
        network.may_end.clear()
        first = asyncio.create_task(runner.run(replace(V1, network=network), TWO))
        await wait_for_batches(network, 1)
        runner.set_background(True)
        second = asyncio.create_task(runner.run(replace(V1, network=network), TWO))
        await wait_for_batches(network, 2)
        network.may_end.set()
        return [await first, await second]

    assert all(isinstance(response, Prediction) for response in asyncio.run(scenario()))
    assert len(set(network.threads)) == 2
